//! The trace of a run tells the same story as its outcome.

use std::collections::BTreeMap;

use simulator::outcome::LossCause;
use simulator::trace::{Happening, TraceEvent};
use simulator::{Scenario, simulate, simulate_traced};

#[test]
fn the_trace_adds_up_to_the_outcome_and_changes_nothing() {
    for text in [
        include_str!("../../scenarios/fastapi.toml"),
        include_str!("../../scenarios/proposal-sync.toml"),
        include_str!("../../scenarios/proposal.toml"),
    ] {
        let scenario = Scenario::from_toml(text).expect("the example scenarios are valid");
        let mut events: Vec<TraceEvent> = Vec::new();
        let traced = simulate_traced(&scenario, &mut |event| events.push(event)).expect("valid");
        assert_eq!(traced, simulate(&scenario).expect("valid"));
        assert!(events.is_sorted_by_key(|event| event.at_ns));

        let (mut submitted, mut completed, mut requeued) = (0, 0, 0);
        let mut lost: BTreeMap<LossCause, u64> = BTreeMap::new();
        let (mut serving, mut open) = (0_u64, BTreeMap::new());
        for event in &events {
            match event.what {
                Happening::Submitted { generation } => {
                    assert_eq!(generation, submitted);
                    submitted += 1;
                    open.insert(generation, event.at_ns);
                }
                Happening::Started { .. } => {}
                Happening::Requeued { generation, .. } => {
                    assert!(open.contains_key(&generation));
                    requeued += 1;
                }
                Happening::Completed { generation } => {
                    assert!(open.remove(&generation).is_some());
                    completed += 1;
                }
                Happening::Lost { generation, cause } => {
                    assert!(open.remove(&generation).is_some());
                    *lost.entry(cause).or_default() += 1;
                }
                Happening::TaskServes { .. } => serving += 1,
                Happening::TaskStopped { .. } => serving -= 1,
            }
        }
        assert_eq!(
            (submitted, completed, requeued),
            (traced.submitted, traced.completed, traced.requeued)
        );
        assert_eq!(lost, traced.lost);
        assert_eq!(open.len() as u64, traced.in_flight_at_end);
        assert!(serving >= u64::from(traced.tasks_at_end));
    }
}

#[test]
fn an_event_is_one_flat_line_of_json() {
    let event = TraceEvent {
        at_ns: 7,
        what: Happening::Lost {
            generation: 3,
            cause: LossCause::Oom,
        },
    };
    let json = serde_json::to_string(&event).expect("an event is plain data");
    assert_eq!(
        json,
        r#"{"at_ns":7,"event":"lost","generation":3,"cause":"oom"}"#
    );
}
