//! A verdict that could not be "no" would be none: every case here is one thing gone wrong.

use super::*;

/// A generation `g` that was ordered, written in one step, stored and read.
fn fine() -> Facts {
    let generation = Generation {
        status: "succeeded".to_owned(),
        error: None,
        ends: 1,
        pdf_key: Some("g.pdf".to_owned()),
        page_count: Some(3),
        used: BTreeMap::from([("outline".to_owned(), Some("r1".to_owned()))]),
    };
    Facts {
        orders: vec![order("k", &["g"])],
        generations: BTreeMap::from([("g".to_owned(), generation)]),
        proposals: vec!["g.pdf".to_owned()],
        creates: vec![create("r1", 10_000)],
        deliveries: vec![delivery("w1", true)],
        ..Facts::default()
    }
}

fn order(key: &str, ids: &[&str]) -> Order {
    Order {
        key: key.to_owned(),
        ids: ids.iter().map(|&id| id.to_owned()).collect(),
    }
}

fn create(response: &str, at_ms: u64) -> Create {
    Create {
        response: response.to_owned(),
        at_ms,
        by: Some(Seat::First),
        generation: "g".to_owned(),
        step: "outline".to_owned(),
        fate: Fate::Sound,
    }
}

fn delivery(webhook: &str, is_taken: bool) -> Delivery {
    Delivery {
        webhook: webhook.to_owned(),
        generation: "g".to_owned(),
        status: "succeeded".to_owned(),
        body: "{}".to_owned(),
        is_signed: true,
        is_taken,
    }
}

fn changed(change: impl FnOnce(&mut Facts)) -> Audit {
    let mut facts = fine();
    change(&mut facts);
    audit(&facts)
}

fn row(facts: &mut Facts) -> &mut Generation {
    facts.generations.get_mut("g").expect("it is there")
}

fn only(findings: &[Finding]) -> &str {
    assert_eq!(findings.len(), 1, "{findings:?}");
    &findings[0].how
}

#[test]
fn what_went_well_is_clean() {
    let audit = audit(&fine());
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!((audit.accepted, audit.succeeded), (1, 1));
    assert_eq!((audit.responses.created, audit.responses.used), (1, 1));
}

#[test]
fn an_order_that_was_never_accepted_is_not_lost_but_counted() {
    let audit = changed(|facts| facts.orders.push(order("k2", &[])));
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!((audit.accepted, audit.never_accepted), (1, 1));
}

#[test]
fn whatever_does_not_end_with_a_pdf_is_lost() {
    let lost = |change: fn(&mut Facts), how: &str| {
        let audit = changed(|facts| {
            change(facts);
            // Told as it is.
            facts.deliveries[0].status = row(facts).status.clone();
        });
        assert!(only(&audit.lost).contains(how), "{audit:?}");
        assert_eq!(audit.succeeded, 0);
        assert!(!audit.is_clean());
    };
    lost(
        |facts| row(facts).status = "running".to_owned(),
        "still running",
    );
    lost(
        |facts| {
            row(facts).status = "failed".to_owned();
            row(facts).error = Some("document_unreadable".to_owned());
        },
        "failed: document_unreadable",
    );
    lost(|facts| row(facts).pdf_key = None, "without a PDF");
    lost(|facts| facts.proposals.clear(), "not in the bucket");
    lost(
        |facts| drop(facts.unreadable.insert("g".to_owned(), "half".to_owned())),
        "cannot be read: half",
    );
    let audit = changed(|facts| facts.generations.clear());
    assert!(only(&audit.lost).contains("not in the database"));
}

#[test]
fn an_end_that_is_not_told_as_it_is_is_lost() {
    let lost = |change: fn(&mut Facts), how: &str| {
        let audit = changed(change);
        assert!(only(&audit.lost).contains(how), "{audit:?}");
        assert!(!audit.is_clean());
    };
    lost(|facts| facts.deliveries.clear(), "never told");
    lost(|facts| facts.deliveries[0].is_taken = false, "never told");
    lost(|facts| facts.deliveries[0].is_signed = false, "signature");
    lost(
        |facts| facts.deliveries[0].status = "failed".to_owned(),
        "succeeded, and told of as \"failed\"",
    );
}

#[test]
fn a_webhook_may_come_again_if_it_is_the_same() {
    let audit = changed(|facts| {
        facts.deliveries.insert(0, delivery("w1", false));
        facts.deliveries.push(delivery("w1", true));
    });
    assert!(audit.is_clean(), "{audit:?}");
    let webhooks = Webhooks {
        deliveries: 3,
        refused: 1,
        told: 1,
        told_again: 1,
    };
    assert_eq!(audit.webhooks, webhooks);
    let duplicated = |change: fn(&mut Facts), how: &str| {
        let audit = changed(change);
        assert!(only(&audit.duplicated).contains(how), "{audit:?}");
    };
    duplicated(
        |facts| facts.deliveries.push(delivery("w2", true)),
        "2 different webhooks",
    );
    duplicated(
        |facts| {
            facts.deliveries.push(delivery("w1", true));
            facts.deliveries[1].body.push(' ');
        },
        "2 different webhooks",
    );
    duplicated(
        |facts| {
            facts.deliveries.push(delivery("w1", true));
            facts.deliveries[1].generation = "h".to_owned();
        },
        "a webhook of no generation",
    );
}

#[test]
fn whatever_is_there_twice_is_duplicated() {
    let duplicated = |change: fn(&mut Facts), how: &str| {
        let audit = changed(change);
        assert!(only(&audit.duplicated).contains(how), "{audit:?}");
        assert!(!audit.is_clean());
    };
    fn twice(facts: &mut Facts) {
        let other = facts.generations["g"].clone();
        facts.generations.insert("h".to_owned(), other);
        facts.deliveries.push(Delivery {
            generation: "h".to_owned(),
            ..delivery("w2", true)
        });
    }
    duplicated(
        |facts| {
            twice(facts);
            facts.orders[0].ids.insert("h".to_owned());
        },
        "a further generation of one order: h",
    );
    duplicated(twice, "no client was told of");
    duplicated(|facts| row(facts).ends = 2, "ended 2 times");
    duplicated(
        |facts| facts.proposals.push("stray.pdf".to_owned()),
        "no generation knows of",
    );
}

/// A second response, `r0`, created at 10,000 ms by the first backend; then what is said of it.
fn extra(change: impl FnOnce(&mut Facts)) -> Audit {
    changed(|facts| {
        facts.creates[0].at_ms = 20_000;
        facts.creates.insert(0, create("r0", 10_000));
        change(facts);
    })
}

fn interruption(at_ms: u64, thawed_at_ms: Option<u64>) -> Interruption {
    Interruption {
        of: Seat::First,
        at_ms,
        thawed_at_ms,
        creating: BTreeSet::from([("g".to_owned(), "outline".to_owned())]),
    }
}

#[test]
fn a_response_without_use_or_explanation_is_double_billed() {
    let audit = extra(|_| {});
    assert!(
        only(&audit.double_billed).contains("r0 at 10000 ms by first"),
        "{audit:?}"
    );
    let responses = audit.responses;
    assert_eq!((responses.used, responses.unexplained), (1, 1));
    // Also when the generation never came to use any.
    let audit = changed(|facts| facts.generations.clear());
    assert_eq!(audit.double_billed.len(), 1);
}

#[test]
fn what_openai_spoiled_is_explained() {
    for fate in [Fate::Garbled, Fate::Incomplete, Fate::Failed, Fate::Lost] {
        let audit = extra(|facts| facts.creates[0].fate = fate);
        assert!(audit.is_clean(), "{audit:?}");
        assert_eq!(audit.responses.spoiled, 1);
    }
    // Whoever cancels has asked for it before.
    let audit = extra(|facts| facts.creates[0].fate = Fate::Cancelled);
    assert_eq!(audit.double_billed.len(), 1);
}

#[test]
fn a_broken_path_explains_what_its_own_backend_created_meanwhile() {
    let outage =
        |of, from_ms, to_ms| extra(|facts| facts.outages.push(Outage { of, from_ms, to_ms }));
    // Around it, as long after it as may be, and as long before.
    let (late_ms, early_ms) = (10_000 + MARGIN_MS, 10_000 - MARGIN_MS);
    for (from_ms, to_ms, away_ms) in [
        (9_000, 11_000, 0),
        (late_ms, 20_000, MARGIN_MS),
        (5_000, early_ms, MARGIN_MS),
    ] {
        let audit = outage(Seat::First, from_ms, to_ms);
        assert!(audit.is_clean(), "{from_ms} to {to_ms}: {audit:?}");
        assert_eq!(audit.responses.cut_off, 1);
        assert_eq!(audit.responses.farthest_ms, away_ms);
        assert_eq!(
            outage(Seat::Second, from_ms, to_ms).double_billed.len(),
            1,
            "of the other one"
        );
    }
    for (from_ms, to_ms) in [(late_ms + 1, 20_000), (5_000, early_ms - 1)] {
        let audit = outage(Seat::First, from_ms, to_ms);
        assert_eq!(audit.double_billed.len(), 1, "{from_ms} to {to_ms}");
    }
}

#[test]
fn a_kill_explains_one_create_of_a_step_that_was_being_created() {
    let audit = extra(|facts| facts.interruptions.push(interruption(10_100, None)));
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(audit.responses.interrupted, 1);
    let audit = extra(|facts| {
        facts.interruptions.push(interruption(10_100, None));
        facts.creates.insert(0, create("r00", 9_950));
    });
    assert_eq!(audit.double_billed.len(), 1, "one kill, two creates");
    let audit = extra(|facts| {
        facts.interruptions.push(interruption(10_100, None));
        facts.interruptions[0].creating.clear();
    });
    assert_eq!(audit.double_billed.len(), 1, "another step");
    let audit = extra(|facts| {
        facts.interruptions.push(interruption(10_100, None));
        facts.interruptions[0].of = Seat::Second;
    });
    assert_eq!(audit.double_billed.len(), 1, "another backend");
    let audit = extra(|facts| facts.interruptions.push(interruption(15_000, None)));
    assert_eq!(audit.double_billed.len(), 1, "long afterwards");
}

#[test]
fn a_frozen_create_may_leave_when_its_backend_thaws() {
    let audit = extra(|facts| {
        facts.interruptions.push(interruption(4_000, Some(9_900)));
    });
    assert!(audit.is_clean(), "{audit:?}");
}

#[test]
fn what_a_broken_path_explains_leaves_the_freeze_to_the_create_that_leaves_with_the_thaw() {
    let audit = changed(|facts| {
        facts.creates = vec![create("r00", 10_500), create("r0", 20_010)];
        facts.creates.push(create("r1", 21_000));
        facts.interruptions.push(interruption(11_000, Some(20_000)));
        facts.outages.push(Outage {
            of: Seat::First,
            from_ms: 10_000,
            to_ms: 10_600,
        });
    });
    assert!(audit.is_clean(), "{audit:?}");
    let responses = audit.responses;
    assert_eq!((responses.cut_off, responses.interrupted), (1, 1));
    assert_eq!(responses.farthest_ms, 10);
}
