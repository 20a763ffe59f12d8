//! What each fault does, and what it leaves on the bill.

use super::*;

#[test]
fn refused_creates_are_not_billed_and_lost_answers_are() {
    for (action, status, created) in [
        (
            Action::RateLimited {
                retry_after_ms: 1.0,
            },
            429,
            0,
        ),
        (Action::ServerError { status: 503 }, 503, 0),
        (Action::Stall { ms: 60_000.0 }, 200, 1),
        (Action::Garbage, 200, 1),
        (Action::Expired, 200, 1),
        (Action::NeverEnds, 200, 1),
    ] {
        let mut client = Client::new(second().fault(Call::Create, When::Nth(1), action.clone()));
        assert_eq!(client.create().status, status, "{action:?}");
        assert_eq!(client.billing().responses_created, created, "{action:?}");
        assert_eq!(client.state.stats().faults, 1);
        assert_eq!(client.create().status, 200, "the second is as usual");
    }
}

#[test]
fn responses_end_as_faults_on_their_creation_say() {
    let reason = "content_filter".to_owned();
    let code = "server_error".to_owned();
    for on in [Call::Create, Call::Poll] {
        let incomplete = Action::Incomplete {
            reason: reason.clone(),
        };
        let mut client = Client::new(second().fault(on, When::Always, incomplete));
        let id = client.create().id();
        let answer = client.wait(ms(1000)).poll(&id);
        if on == Call::Create {
            assert_eq!(answer.status_text(), "incomplete");
            assert_eq!(answer.json["incomplete_details"], json!({"reason": reason}));
            assert_eq!(answer.json["output"][0]["status"], "incomplete");
            assert_eq!(client.billing().responses_incomplete, 1);
        } else {
            assert_eq!(
                answer.status_text(),
                "completed",
                "it had ended before the poll"
            );
        }

        let mut client =
            Client::new(second().fault(on, When::Always, Action::Failed { code: code.clone() }));
        let id = client.create().id();
        if on == Call::Create {
            client.wait(ms(1000));
        }
        let answer = client.poll(&id);
        assert_eq!(answer.status_text(), "failed");
        assert_eq!(answer.json["error"]["code"], code);
        assert_eq!(
            (&answer.json["output"], &answer.json["usage"]),
            (&json!([]), &Value::Null)
        );
        let billing = client.wait(ms(5000)).billing();
        assert_eq!((billing.responses_failed, billing.output_tokens), (1, 0));
    }
}

#[test]
fn an_expired_response_is_not_found_but_paid() {
    for on in [Call::Create, Call::Poll] {
        let mut client = Client::new(second().fault(on, When::Nth(1), Action::Expired));
        let id = client.create().id();
        for _ in 0..3 {
            assert_eq!(client.poll(&id).status, 404);
            client.wait(ms(1000));
        }
        let billing = client.billing();
        assert_eq!(
            (billing.responses_created, billing.responses_completed),
            (1, 1)
        );
        assert_eq!(client.state.remembered(), 0);
    }
}

#[test]
fn a_never_ending_response_ends_only_by_cancelling() {
    for on in [Call::Create, Call::Poll] {
        let mut client = Client::new(second().fault(on, When::Nth(1), Action::NeverEnds));
        let id = client.create().id();
        client.poll(&id);
        assert_eq!(client.wait(FOREVER).poll(&id).status_text(), "in_progress");
        assert_eq!(client.cancel(&id).status_text(), "cancelled");
    }
}

#[test]
fn garbage_is_no_json_and_tells_nobody_the_end() {
    let mut client = Client::new(second().fault(Call::Poll, When::Nth(1), Action::Garbage));
    let id = client.create().id();
    let answer = client.wait(ms(1000)).poll(&id);
    assert_eq!((answer.status, answer.json), (200, Value::Null));
    assert_eq!(client.state.stats().completions_seen, 0);
    assert_eq!(client.wait(ms(40)).poll(&id).status_text(), "completed");
    let stats = client.state.stats();
    assert_eq!(stats.completions_seen, 1);
    assert!((stats.completion_lag_ms_total - 40.0).abs() < 1e-6);
    assert!((stats.scripted_latency_ms_total - 1000.0).abs() < 1e-6);
}

#[test]
fn a_refusal_by_the_limits_tells_when_to_come_back() {
    let limits = RateLimits {
        requests_per_minute: 2,
        tokens_per_minute: 1_000_000,
    };
    let mut client = Client::new(second().rate_limits(limits).speedup(10.0));
    assert_eq!(
        client.create().header("x-ratelimit-remaining-requests"),
        Some("1")
    );
    assert_eq!(
        client.create().header("x-ratelimit-reset-requests"),
        Some("6s")
    );
    let refused = client.create();
    assert_eq!(
        (refused.status, refused.header("retry-after-ms")),
        (429, Some("3000"))
    );
    assert_eq!(refused.json["error"]["code"], "rate_limit_exceeded");
    assert_eq!(client.billing().responses_created, 2);
    assert_eq!(client.wait(ms(3000)).create().status, 200);
    assert_eq!(client.state.stats().rate_limited, 1);
}

#[test]
fn a_fault_on_a_poll_does_not_overturn_what_a_blocking_create_was_told() {
    for action in [
        Action::NeverEnds,
        Action::Failed {
            code: "server_error".to_owned(),
        },
        Action::Incomplete {
            reason: "content_filter".to_owned(),
        },
    ] {
        let mut client = Client::new(second().fault(Call::Poll, When::Nth(1), action));
        let told = client.post(&json!({"model": "m", "input": "w"}));
        client.poll(&told.id());
        assert_eq!(client.wait(ms(1000)).poll(&told.id()).json, told.json);
        assert_eq!(client.billing().responses_completed, 1);
    }
}

#[test]
fn the_journal_keeps_every_create_with_what_became_of_it() {
    let failed = Action::Failed {
        code: "server_error".to_owned(),
    };
    let script = second()
        .fault(Call::Create, When::Nth(2), Action::Garbage)
        .fault(Call::Create, When::Nth(3), Action::Expired)
        .fault(
            Call::Create,
            When::Nth(4),
            Action::ServerError { status: 500 },
        )
        .fault(Call::Create, When::Nth(5), failed)
        .fault(Call::Poll, When::Nth(2), Action::Expired);
    let mut client = Client::new(script);
    assert_eq!(client.create().status, 200);
    assert_eq!(client.state.journal(), [], "nobody has asked for it yet");
    let mut client = Client::new(client.state.script);
    client.state.keep_journal();
    let body = json!({"model": "gpt-5", "input": "Write.", "background": true, "metadata": {"step": "one"}});
    let first = client.post(&body).id();
    for _ in 2..=7 {
        client.wait(ms(1)).create();
    }
    let ids: Vec<_> = client.state.journal().into_iter().map(|it| it.id).collect();
    client.poll(&first);
    client.cancel(&ids[4]);
    client.poll(&ids[5]);
    // What is over when it is cancelled stays what it was.
    client.wait(ms(2000)).cancel(&first);
    let journal = client.state.journal();
    let fates: Vec<_> = journal.iter().map(|created| created.fate).collect();
    let expected = [
        Fate::Sound,
        Fate::Garbled,
        Fate::Lost,
        Fate::Failed,
        Fate::Cancelled,
        Fate::Lost,
    ];
    assert_eq!(fates, expected);
    assert_eq!(journal[0].id, first);
    assert_eq!(journal[0].at, START);
    assert_eq!(journal[0].api_key, "key");
    assert_eq!(journal[0].metadata, [("step".to_owned(), "one".to_owned())]);
    assert_eq!(client.billing().responses_created, 6);
}
