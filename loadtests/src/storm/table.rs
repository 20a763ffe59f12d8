//! A storm as part of a report.

use std::collections::BTreeMap;

use super::audit::{Finding, MARGIN_MS, Webhooks};
use super::run::Storm;
use super::schedule::{Fault, Reach, Seat, Service, Strike, Trouble};
use super::weather::Struck;
use crate::plural;
use crate::report::document::{Block, Document, Table};

/// Findings of one kind that are listed; all are in `storm.json`.
const FINDINGS_MAX: usize = 10;

/// Adds the verdict, what it rests on, and what happened.
pub fn add(document: &mut Document, storm: &Storm) {
    let audit = &storm.audit;
    document.blocks.push(Block::Verdict {
        pass: audit.is_clean() && storm.is_whole(),
        text: verdict(storm),
    });
    document.paragraph(format!(
        "Seed {} at commit {}, {} provider; the same again: {}",
        storm.size.seed, storm.hardware.commit, storm.hardware.provider, storm.command
    ));
    let findings = [
        ("Lost", &audit.lost),
        ("Duplicated", &audit.duplicated),
        ("Double-billed", &audit.double_billed),
    ];
    for (name, found) in findings.into_iter().filter(|(_, found)| !found.is_empty()) {
        document.heading(name);
        document.table(listed(found));
        if found.len() > FINDINGS_MAX {
            let rest = found.len() - FINDINGS_MAX;
            document.paragraph(format!("and {rest} more in storm.json."));
        }
    }
    document.heading("Where the responses went");
    document.table(responses(storm));
    if audit.responses.cut_off + audit.responses.interrupted > 0 {
        document.paragraph(format!(
            "The API of OpenAI has no idempotency keys: a create whose answer is lost is asked for again. Each of \
             these was created by the very backend that was disturbed, at most {} ms from the disturbance; {MARGIN_MS} \
             ms are allowed.",
            audit.responses.farthest_ms
        ));
    }
    document.paragraph(told(&audit.webhooks));
    document.heading("What was done to the backends");
    document.table(struck(&storm.struck));
    document.heading("What clients met");
    let mut table = Table::new(["Answer", "Times"]);
    for (answer, times) in &storm.answers {
        table.row([answer.clone(), times.to_string()]);
    }
    document.table(table);
}

/// Adds every event in order: for the file, where a failure is looked into.
pub fn add_events(document: &mut Document, storm: &Storm) {
    document.heading("Everything that happened");
    let mut table = Table::new(["Planned, ms", "Late, ms", "Lasted, ms", "What"]);
    let began_ms = storm.struck.first().map(|first| {
        // The first one is the least late.
        first.began_ms.saturating_sub(first.event.at_ms)
    });
    for one in &storm.struck {
        let since_ms = one.began_ms.saturating_sub(began_ms.unwrap_or_default());
        table.row([
            one.event.at_ms.to_string(),
            since_ms.saturating_sub(one.event.at_ms).to_string(),
            one.over_ms.saturating_sub(one.began_ms).to_string(),
            in_words(&one.event.strike),
        ]);
    }
    document.table(table);
}

/// The sentence to read when nothing else is.
pub fn verdict(storm: &Storm) -> String {
    let audit = &storm.audit;
    let waited = storm
        .waited_ms
        .map_or_else(String::new, |(median, longest)| {
            format!(
                ", each within {:.1} s (median {:.1} s; {:.1} s without faults)",
                crate::stats::count_u64_as_f64(longest) / 1000.0,
                crate::stats::count_u64_as_f64(median) / 1000.0,
                storm.size.generation().as_secs_f64(),
            )
        });
    let whole = if storm.is_whole() {
        String::new()
    } else {
        format!(
            " Only {} of {} generations were ordered and {} accepted before the time was over.",
            storm.ordered, storm.size.generations, audit.accepted
        )
    };
    format!(
        "lost {}, duplicated {}, double-billed {}: {} accepted, {} succeeded in {:.0} s{waited}, through {}.{whole}",
        audit.lost.len(),
        audit.duplicated.len(),
        audit.double_billed.len(),
        audit.accepted,
        audit.succeeded,
        storm.took_s,
        plural(
            u64::try_from(storm.struck.len()).unwrap_or(u64::MAX),
            "fault"
        ),
    )
}

fn told(webhooks: &Webhooks) -> String {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    format!(
        "Their receiver was told of the end of {} by webhook, signed, and of {} of them more than once, in the same \
         words: at least once is what is promised. It was called {}, and refused or did not answer {} of the calls.",
        plural(count(webhooks.told), "generation"),
        webhooks.told_again,
        plural(count(webhooks.deliveries), "time"),
        webhooks.refused,
    )
}

fn listed(findings: &[Finding]) -> Table {
    let mut table = Table::new(["What", "How"]);
    for finding in findings.iter().take(FINDINGS_MAX) {
        table.row([finding.what.clone(), finding.how.clone()]);
    }
    table
}

fn responses(storm: &Storm) -> Table {
    let counts = &storm.audit.responses;
    let mut table = Table::new(["Responses that OpenAI was asked for", "Count"]);
    for (name, count) in [
        ("used by a step", counts.used),
        ("spoiled by OpenAI, as scripted", counts.spoiled),
        ("answer lost on a broken path", counts.cut_off),
        (
            "killed or frozen within the create call",
            counts.interrupted,
        ),
        ("none of it: double-billed", counts.unexplained),
        ("all", counts.created),
    ] {
        table.row([name.to_owned(), count.to_string()]);
    }
    table
}

fn struck(struck: &[Struck]) -> Table {
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for one in struck {
        let (times, lasted_ms) = kinds.entry(kind(&one.event.strike)).or_default();
        *times += 1;
        *lasted_ms += one.over_ms.saturating_sub(one.began_ms);
    }
    let mut table = Table::new(["Fault", "Times", "Together, s"]);
    for (kind, (times, lasted_ms)) in kinds {
        let lasted_s = crate::stats::count_u64_as_f64(lasted_ms) / 1000.0;
        table.row([kind, times.to_string(), format!("{lasted_s:.1}")]);
    }
    table
}

/// What a strike is, whomever it meets.
fn kind(strike: &Strike) -> String {
    match strike {
        Strike::Kill(_) => "kill -9".to_owned(),
        Strike::Stop(_) => "SIGTERM".to_owned(),
        Strike::Freeze(_) => "SIGSTOP, SIGCONT".to_owned(),
        Strike::Network { service, fault, .. } => {
            let what = match fault {
                Fault::Refuse => "refuses",
                Fault::CutAfter { .. } => "cut in mid-answer",
                Fault::Stall => "stalls",
                Fault::Delay { .. } => "late",
            };
            format!("{}: {what}", name(*service))
        }
        Strike::OpenAi(trouble) => {
            let what = match trouble {
                Trouble::RateLimits => "429",
                Trouble::ServerErrors => "500 and 503",
                Trouble::Garbage => "garbage",
                Trouble::Failed => "responses fail",
                Trouble::Incomplete => "responses end incomplete",
                Trouble::Lost => "responses are lost",
            };
            format!("OpenAI answers: {what}")
        }
    }
}

fn in_words(strike: &Strike) -> String {
    let whose = |seat: &Seat| format!("{}, the {} backend", kind(strike), seat.name());
    match strike {
        Strike::Kill(seat) | Strike::Stop(seat) | Strike::Freeze(seat) => whose(seat),
        Strike::Network { reach, fault, .. } => {
            let detail = match fault {
                Fault::CutAfter { bytes } => format!(" after {bytes} bytes"),
                Fault::Delay { delay_ms } => format!(" by {delay_ms} ms"),
                Fault::Refuse | Fault::Stall => String::new(),
            };
            let whom = match reach {
                Reach::One(seat) => format!("the {} backend", seat.name()),
                Reach::Both => "both backends".to_owned(),
            };
            format!("{}{detail}, for {whom}", kind(strike))
        }
        Strike::OpenAi(_) => kind(strike),
    }
}

fn name(service: Service) -> &'static str {
    match service {
        Service::Postgres => "Postgres",
        Service::Redis => "Redis",
        Service::S3 => "S3",
        Service::OpenAi => "way to OpenAI",
    }
}
