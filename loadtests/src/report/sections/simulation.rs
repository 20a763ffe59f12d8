//! The report of `sizing simulate` over several runs or cases.

use simulator::platform::Platform;
use simulator::precision::Doubt;
use simulator::replications::Replications;
use simulator::slo::{Failure, Slo, judge_replications};

use super::outcome::{OCCASIONAL, outcome};
use crate::report::document::{Block, Document, Table};
use crate::report::wording::{arrivals, interval, slo};
use crate::simulation::{FIGURES, Simulation, over};

/// What no platform but Fargate is simulated with.
const LEFT_OUT: &str = "Left out: what a platform's own scheduler does. Instances are started, scaled and stopped as ECS \
                        does it, within the platform's limits.";

/// The report of one simulation: that of its run when there is one, else its figures over the runs, case by case.
pub fn simulation(simulation: &Simulation) -> Document {
    let mid = simulation.mid();
    let single = simulation.cases.len() == 1 && mid.outcomes.len() == 1;
    let mut document = if single {
        outcome(&simulation.scenario, &mid.outcomes[0])
    } else {
        several(simulation)
    };
    for finding in &simulation.findings {
        document.paragraph(format!("Finding {}: {}.", finding.key, finding.text));
    }
    add_assumed(&mut document, simulation.scenario.fleet.platform);
    if simulation.scenario.fleet.platform.offer().is_some() {
        document.paragraph(LEFT_OUT);
    }
    for doubt in &simulation.doubts {
        document.paragraph(format!("Doubt about {}: {}.", doubt.key, doubt.text));
    }
    document
}

/// One workload on several platforms, side by side.
pub fn platforms(simulations: &[Simulation]) -> Document {
    let mut document = Document {
        title: "The same workload on each platform".into(),
        blocks: vec![],
    };
    let Some(first) = simulations.first() else {
        return document;
    };
    let scenario = &first.scenario;
    let case = if first.cases.len() > 1 {
        "; the likeliest case of what is assumed"
    } else {
        ""
    };
    document.paragraph(format!("{}; {}{case}.", arrivals(scenario), slo(scenario)));
    for simulation in simulations {
        let name = simulation.scenario.fleet.platform.name();
        document
            .blocks
            .extend(judged(Some(name), simulation.mid(), &scenario.slo));
    }
    document.table(side_by_side(simulations));
    for simulation in simulations {
        let platform = simulation.scenario.fleet.platform;
        if simulation.findings.is_empty() && platform.offer().is_none() {
            continue;
        }
        document
            .blocks
            .push(Block::Subheading(platform.name().to_owned()));
        for finding in &simulation.findings {
            document.paragraph(format!("{}.", finding.text));
        }
        add_assumed(&mut document, platform);
    }
    if simulations
        .iter()
        .any(|simulation| simulation.scenario.fleet.platform.offer().is_some())
    {
        document.paragraph(LEFT_OUT);
    }
    add_doubts(&mut document, simulations);
    document
}

fn add_assumed(document: &mut Document, platform: Platform) {
    if let Some(offer) = platform.offer() {
        document.paragraph(format!("Assumed: {}.", offer.note.trim_end_matches('.')));
    }
}

fn side_by_side(simulations: &[Simulation]) -> Table {
    let mut table = Table::new([
        "platform",
        "vCPU",
        "GiB",
        "wait, 95 %, s",
        "lost",
        "lost by cause",
        "USD/month",
        "against it",
    ]);
    for simulation in simulations {
        let fleet = &simulation.scenario.fleet;
        let runs = simulation.mid();
        let fatal: Vec<_> = simulation
            .findings
            .iter()
            .filter(|finding| finding.fatal)
            .map(|finding| finding.key.replace('_', " "))
            .collect();
        table.row([
            fleet.platform.name().to_owned(),
            fleet.vcpu.to_string(),
            fleet.memory_gib.to_string(),
            interval(runs.wait_p95_s, 1),
            interval(runs.lost, 0),
            causes(runs).replace('_', " "),
            interval(runs.cost_usd_month, 2),
            fatal.join(", "),
        ]);
    }
    table
}

/// Each doubt once, with the platforms whose runs give it.
fn add_doubts(document: &mut Document, simulations: &[Simulation]) {
    let mut told: Vec<(&Doubt, Vec<&str>)> = Vec::new();
    for simulation in simulations {
        let name = simulation.scenario.fleet.platform.name();
        for doubt in &simulation.doubts {
            match told.iter_mut().find(|(known, _)| *known == doubt) {
                Some((_, names)) => names.push(name),
                None => told.push((doubt, vec![name])),
            }
        }
    }
    for (doubt, names) in told {
        let on = if names.len() == simulations.len() {
            "every platform".to_owned()
        } else {
            names.join(", ")
        };
        document.paragraph(format!(
            "Doubt about {} on {on}: {}.",
            doubt.key, doubt.text
        ));
    }
}

/// Whether these runs keep the promise; none where nothing is promised.
fn judged(name: Option<&str>, runs: &Replications, slo: &Slo) -> Option<Block> {
    if *slo == Slo::default() {
        return None;
    }
    let verdict = judge_replications(runs, slo);
    let failures: Vec<_> = verdict.failures.iter().map(Failure::to_string).collect();
    let text = if failures.is_empty() {
        "the SLO is met".to_owned()
    } else {
        failures.join("; ")
    };
    Some(Block::Verdict {
        pass: verdict.pass,
        text: match name {
            Some(name) => format!("{name}: {text}."),
            None => format!("{text}."),
        },
    })
}

fn several(simulation: &Simulation) -> Document {
    let scenario = &simulation.scenario;
    let runs = simulation.mid().outcomes.len();
    let mut document = Document {
        title: format!(
            "{} simulated with {} from seed {} on",
            scenario.horizon,
            crate::plural(runs as u64, "run"),
            scenario.seed
        ),
        blocks: vec![],
    };
    document.paragraph(format!("{}; {}.", arrivals(scenario), slo(scenario)));
    let named = simulation.cases.len() > 1;
    for (case, runs) in &simulation.cases {
        let name = named.then(|| case.name());
        document.blocks.extend(judged(name, runs, &scenario.slo));
    }
    document.table(figures(simulation));
    document.table(bills(simulation));
    document
}

fn header(simulation: &Simulation, what: &str) -> Vec<String> {
    let cases = simulation.cases.iter();
    let names = cases.map(|(case, _)| match simulation.cases.len() {
        1 => "mean".to_owned(),
        _ => case.to_string(),
    });
    [what.to_owned()].into_iter().chain(names).collect()
}

fn figures(simulation: &Simulation) -> Table {
    let mut table = Table::new(header(simulation, ""));
    let mut row = |name: &str, cell: &dyn Fn(&Replications) -> String| {
        let cells = simulation.cases.iter().map(|(_, runs)| cell(runs));
        table
            .rows
            .push([name.to_owned()].into_iter().chain(cells).collect());
    };
    row("submitted, generations", &|runs| {
        let submitted = |run: &simulator::Outcome| crate::stats::count_u64_as_f64(run.submitted);
        interval(over(runs, submitted), 0)
    });
    for (name, figure) in FIGURES {
        let (label, factor) = labelled(name);
        row(label, &|runs| {
            interval(over(runs, |run| figure(run) * factor), 2)
        });
    }
    for (name, figure) in OCCASIONAL {
        let has = |run: &simulator::Outcome| figure(run).is_some();
        let mut all = simulation.cases.iter().flat_map(|(_, runs)| &runs.outcomes);
        if all.any(has) {
            row(name, &|runs| {
                interval(over(runs, |run| figure(run).unwrap_or(0.0)), 1)
            });
        }
    }
    row("lost by cause, all runs", &causes);
    row("bottleneck", &|runs| {
        runs.outcomes[0].bottleneck.to_string()
    });
    table
}

/// What a figure of [`FIGURES`] is called beside its unit, and its factor to that unit.
fn labelled(name: &'static str) -> (&'static str, f64) {
    match name {
        "throughput_per_hour" => ("completed per hour, generations", 1.0),
        "wait_mean_s" => ("wait, mean, s", 1.0),
        "wait_p95_s" => ("wait, 95 %, s", 1.0),
        "sojourn_mean_s" => ("sojourn, mean, s", 1.0),
        "sojourn_p95_s" => ("sojourn, 95 %, s", 1.0),
        "probability_of_wait" => ("have to wait, %", 100.0),
        "lost" => ("lost per run, generations", 1.0),
        "worker_utilization" => ("workers busy, %", 100.0),
        "tasks_mean" => ("tasks, mean", 1.0),
        "cost_usd_month" => ("bill, USD/month", 1.0),
        other => (other, 1.0),
    }
}

/// Losses of all runs together.
fn causes(runs: &Replications) -> String {
    let mut total = std::collections::BTreeMap::new();
    for (cause, count) in runs.outcomes.iter().flat_map(|run| &run.lost) {
        *total.entry(*cause).or_insert(0_u64) += count;
    }
    let words: Vec<_> = total
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(cause, count)| format!("{count} {cause}"))
        .collect();
    if words.is_empty() {
        "0".to_owned()
    } else {
        words.join(", ")
    }
}

fn bills(simulation: &Simulation) -> Table {
    let mut table = Table::new(header(simulation, "USD/month"));
    let lines: Vec<_> = simulation.mid().outcomes[0]
        .cost_usd_month
        .lines()
        .map(|(line, _)| line)
        .collect();
    for line in lines {
        let cells = simulation.cases.iter().map(|(_, runs)| {
            let bills = runs.outcomes.iter();
            let amounts: Vec<f64> = bills
                .map(|run| run.cost_usd_month.get(line).as_usd())
                .collect();
            interval(simulator::replications::Interval::of(&amounts), 2)
        });
        let name = line.to_string().replace('_', " ");
        table.rows.push([name].into_iter().chain(cells).collect());
    }
    let totals = simulation
        .cases
        .iter()
        .map(|(_, runs)| interval(runs.cost_usd_month, 2));
    table
        .rows
        .push(["total".to_owned()].into_iter().chain(totals).collect());
    table
}
