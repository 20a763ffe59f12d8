//! What holds whatever clients do and whatever goes wrong.

use proptest::prelude::*;

use super::*;

/// What a client may do in a property.
#[derive(Clone, Debug)]
enum Step {
    Create {
        blocking: bool,
    },
    Poll(usize),
    Cancel(usize),
    Wait(u16),
    /// The clock is read backwards.
    Back(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any::<bool>().prop_map(|blocking| Step::Create { blocking }),
        5 => (0_usize..8).prop_map(Step::Poll),
        1 => (0_usize..8).prop_map(Step::Cancel),
        3 => (0_u16..900).prop_map(Step::Wait),
        1 => (0_u16..900).prop_map(Step::Back),
    ];
    prop::collection::vec(step, 1..60)
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let action = prop_oneof![
        Just(Action::RateLimited {
            retry_after_ms: 10.0
        }),
        Just(Action::ServerError { status: 500 }),
        Just(Action::Stall { ms: 300.0 }),
        Just(Action::Garbage),
        Just(Action::Incomplete {
            reason: "content_filter".to_owned()
        }),
        Just(Action::Failed {
            code: "server_error".to_owned()
        }),
        Just(Action::Expired),
        Just(Action::NeverEnds),
    ];
    let on = prop_oneof![Just(Call::Create), Just(Call::Poll)];
    let when = prop_oneof![
        (1_u64..5).prop_map(When::Nth),
        (2_u64..4).prop_map(When::Every),
        (0.0..0.5).prop_map(When::Probability),
    ];
    prop::collection::vec(
        (on, when, action).prop_map(|(on, when, action)| Fault::new(on, when, action)),
        0..4,
    )
}

/// Plays steps; gives each reply and the ids that were given out.
fn play(script: Script, steps: &[Step]) -> (Client, Vec<Answer>, Vec<String>) {
    let mut client = Client::new(script);
    let (mut answers, mut ids) = (Vec::new(), Vec::<String>::new());
    for step in steps {
        let named = |index: usize| {
            ids.get(index)
                .cloned()
                .unwrap_or_else(|| "resp_unknown".to_owned())
        };
        let answer = match *step {
            Step::Create { blocking } => {
                let answer =
                    client.post(&json!({"model": "m", "input": "w", "background": !blocking}));
                if !answer.id().is_empty() {
                    ids.push(answer.id());
                }
                answer
            }
            Step::Poll(index) => client.poll(&named(index)),
            Step::Cancel(index) => client.cancel(&named(index)),
            Step::Wait(by) => {
                client.wait(ms(by.into()));
                continue;
            }
            Step::Back(by) => {
                client.now -= ms(by.into());
                continue;
            }
        };
        answers.push(answer);
    }
    (client, answers, ids)
}

fn is_terminal(status: &str) -> bool {
    matches!(status, "completed" | "incomplete" | "failed" | "cancelled")
}

proptest! {
    #[test]
    fn the_same_seed_and_calls_give_the_same_replies(seed: u64, faults in faults(), steps in steps()) {
        let script = Script { faults, ..second() }
            .seed(seed)
            .latency(Latency::LogNormal { median_ms: 700.0, sigma: 0.8 });
        let (_, first, _) = play(script.clone(), &steps);
        let (_, second, _) = play(script, &steps);
        for (first, second) in first.iter().zip(&second) {
            prop_assert_eq!(&first.reply, &second.reply);
        }
    }

    #[test]
    fn a_response_ends_exactly_once_and_never_changes_again(faults in faults(), steps in steps()) {
        let (_, answers, ids) = play(Script { faults, ..second() }, &steps);
        for id in ids {
            // The answer to a blocking create that never ends does not arrive.
            let shown: Vec<&Value> = answers
                .iter()
                .filter(|answer| answer.reply.delay < FOREVER && answer.id() == id)
                .map(|answer| &answer.json)
                .collect();
            let ended: Vec<&Value> = shown
                .iter()
                .copied()
                .filter(|json| is_terminal(json["status"].as_str().unwrap_or_default()))
                .collect();
            prop_assert!(ended.windows(2).all(|pair| pair[0] == pair[1]));
            // A blocking create is answered when it ends, which is after the polls that came meanwhile.
            let background = shown.first().is_some_and(|json| json["background"] == true);
            let first = shown.iter().position(|json| is_terminal(json["status"].as_str().unwrap_or_default()));
            if let Some(first) = first.filter(|_| background) {
                prop_assert_eq!(shown.len() - first, ended.len());
            }
        }
    }

    #[test]
    fn the_bill_counts_every_create_once(faults in faults(), steps in steps()) {
        let (mut client, answers, _) = play(Script { faults, ..second() }, &steps);
        let accepted = answers.iter().filter(|answer| answer.status == 200).count();
        client.now = client.now.max(START) + ms(60_000_000);
        let billing = client.billing();
        let stats = client.state.stats();
        let ended = billing.responses_completed
            + billing.responses_incomplete
            + billing.responses_failed
            + billing.responses_cancelled;
        prop_assert!(ended <= billing.responses_created);
        prop_assert!(billing.responses_created <= stats.creates);
        prop_assert!(stats.completions_seen <= ended);
        prop_assert!(accepted as u64 <= stats.creates + stats.polls + stats.cancels);
        prop_assert_eq!(client.billing(), billing, "looking changes nothing");
    }

    #[test]
    fn without_faults_all_that_was_created_ends(steps in steps()) {
        let (mut client, _, ids) = play(second(), &steps);
        client.now = client.now.max(START) + ms(60_000_000);
        let billing = client.billing();
        prop_assert_eq!(billing.responses_created, ids.len() as u64);
        prop_assert_eq!(billing.responses_completed + billing.responses_cancelled, ids.len() as u64);
        for id in ids {
            let answer = client.poll(&id);
            prop_assert!(is_terminal(answer.status_text()));
        }
    }

    #[test]
    fn time_never_goes_back(latency_ms in 1_u32..2000, back_ms in 1_u64..1_000_000) {
        let script = second().latency(Latency::Fixed { ms: f64::from(latency_ms) });
        let mut client = Client::new(script);
        let id = client.create().id();
        let ended = client.wait(ms(u64::from(latency_ms))).poll(&id).json;
        client.now -= ms(back_ms);
        prop_assert_eq!(client.poll(&id).json, ended);
        let created_at = client.create().json["created_at"].as_u64();
        prop_assert!(created_at >= Some(START.as_secs()));
    }

    #[test]
    fn the_lag_is_the_time_from_the_end_to_the_first_poll_after_it(
        latency_ms in 1_u32..5000, poll_ms in 1_u64..700, speedup in 1_u32..50,
    ) {
        let script = second()
            .latency(Latency::Fixed { ms: f64::from(latency_ms * speedup) })
            .speedup(f64::from(speedup));
        let mut client = Client::new(script);
        let id = client.create().id();
        while client.wait(ms(poll_ms)).poll(&id).status_text() != "completed" {}
        client.wait(ms(poll_ms)).poll(&id);
        let lag_ms = (client.now - START).as_millis() as f64 - poll_ms as f64 - f64::from(latency_ms);
        let stats = client.state.stats();
        prop_assert_eq!(stats.completions_seen, 1);
        prop_assert!((stats.completion_lag_ms_total - lag_ms).abs() < 1e-3);
        prop_assert!(lag_ms < poll_ms as f64);
        prop_assert!((stats.scripted_latency_ms_total - f64::from(latency_ms)).abs() < 1e-3);
    }

    #[test]
    fn no_path_and_no_body_breaks_it(method in "GET|POST|DELETE", path in "(/v1)?(/responses)?[/a-z_]{0,20}", body: Vec<u8>) {
        let mut client = Client::new(second());
        let answer = client.call(&method, &path, &body);
        prop_assert!((400..500).contains(&answer.status));
        prop_assert!(answer.json["error"]["message"].is_string());
    }
}
