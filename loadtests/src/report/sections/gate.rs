//! The report of the gate: a sizing, and the one it replaces beside it.

use std::path::Path;

use simulator::replications::Interval;

use crate::gate::{Age, Candidate, CostLine, CounterExample, GateResult, Headroom, Nearest};
use crate::report::document::{Block, Document, Table};
use crate::report::wording::{
    arrivals, autoscaling, generation_length, interval, mean_losses, percent, seconds, slo, spare,
    tasks,
};
use crate::terraform::Settings;
use simulator::scenario::Mode;

/// The report of the gate.
pub fn gate(result: &GateResult) -> Document {
    let after = &result.after;
    let mut document = Document {
        title: format!("Sizing gate: {}", after.file.display()),
        blocks: vec![],
    };
    let scenario = &after.scenario;
    document.paragraph(format!(
        "Asked by {}: {}. Generations take {}; {}.",
        result.slo_file.display(),
        arrivals(scenario),
        generation_length(scenario),
        slo(scenario)
    ));
    if let Some(source) = settings(after) {
        document.paragraph(source);
    }
    document.blocks.push(verdict(after));
    if !after.causes.is_empty() {
        document.table(causes(after));
    }
    if let Some(before) = &result.before {
        document.paragraph(baseline(before, result));
        if !before.causes.is_empty() {
            document.table(causes(before));
        }
    }
    if let Some(example) = &result.counter_example {
        document.paragraph(counter_example(example, after.tasks_mean));
    }
    if !result.pass {
        document.paragraph(nearest(result.nearest.as_ref()));
    }
    document.table(figures(result));
    document.table(costs(after, result.before.as_ref()));
    for warning in &after.warnings {
        document.paragraph(format!("Warning, {}: {}", warning.name, warning.remedy));
    }
    let spare = spare(&after.scenario.fleet);
    if !spare.is_empty() {
        document.paragraph(format!("Note:{spare}"));
    }
    document.paragraph(calibration(result));
    let source = &result.calibration;
    document.paragraph(source.vcpu.statement(&source.cpu_model));
    document
}

fn wait_p95(candidate: &Candidate) -> String {
    let wait = seconds(candidate.wait_p95_s);
    if candidate.wait_p95_is_lower_bound {
        format!("at least {wait}")
    } else {
        wait
    }
}

/// Where the values come from that the file does not have: a copy under another name has other ones.
fn settings(after: &Candidate) -> Option<String> {
    let mode = match after.mode {
        Mode::Queue => "queue",
        Mode::Sync => "sync",
    };
    match &after.settings {
        Settings::Within => None,
        Settings::File(file) => Some(format!(
            "What it does not state comes from {}; generation_mode is \"{mode}\".",
            file.display()
        )),
        Settings::Defaults => Some(format!(
            "No settings file belongs to it, so what it does not state has the default of terraform/settings.tf; \
             generation_mode is \"{mode}\". --settings FILE names one."
        )),
    }
}

fn verdict(after: &Candidate) -> Block {
    let keys: Vec<_> = after
        .causes
        .iter()
        .map(|cause| cause.key.as_str())
        .collect();
    let text = if keys.is_empty() {
        format!(
            "the sizing holds: wait p95 {}, {} lost, ${} a month.",
            wait_p95(after),
            interval(after.lost, 1),
            interval(after.total_usd(), 2),
        )
    } else {
        format!("the sizing does not hold: {}.", keys.join(", "))
    };
    Block::Verdict {
        pass: after.pass,
        text,
    }
}

/// How the sizing that is replaced does, and by which rules.
fn baseline(before: &Candidate, result: &GateResult) -> String {
    let own = result
        .before_slo_file
        .as_ref()
        .map_or_else(String::new, |own| {
            format!(
                " Its own stage is held to {}: `cargo sizing gate --sizing {}` does that.",
                own.display(),
                before.file.display()
            )
        });
    format!(
        "Before, {}, under the same load and held to the same SLO, {}: {}.{own}",
        before.file.display(),
        result.slo_file.display(),
        if before.pass {
            "it holds"
        } else {
            "it does not hold"
        },
    )
}

fn causes(candidate: &Candidate) -> Table {
    let mut table = Table::new(["cause", "what is wrong"]);
    for cause in &candidate.causes {
        table.row([cause.key.clone(), cause.text.clone()]);
    }
    table
}

fn counter_example(example: &CounterExample, tasks_mean: Interval) -> String {
    format!(
        "Counter-example (seed {}): at {}, minute {} of the simulated day, {}. Then {} waited, {} ran on {}; the \
         tasks of all runs are {} on average.",
        example.seed,
        example.time,
        example.minute,
        example.text,
        example.queued,
        example.running,
        crate::plural(example.tasks, "task"),
        interval(tasks_mean, 2),
    )
}

fn nearest(nearest: Option<&Nearest>) -> String {
    let Some(nearest) = nearest else {
        return "Nearest sizing that would pass: none within three changed variables. `cargo sizing plan` searches \
                further."
            .to_owned();
    };
    let changes: Vec<_> = nearest
        .changes
        .iter()
        .map(|change| {
            format!(
                "{} = {} (now {})",
                change.variable,
                shown(&change.to),
                shown(&change.from)
            )
        })
        .collect();
    format!(
        "Nearest sizing that would pass, of those with the fewest variables changed the cheapest: {}; then ${} a \
         month, wait p95 {}. `cargo sizing plan` changes more of them, and finds cheaper ones.",
        changes.join(", "),
        interval(nearest.cost_usd_month, 2),
        seconds(nearest.wait_p95_s),
    )
}

fn shown(value: &hcl::Value) -> String {
    match value {
        hcl::Value::String(text) => format!("\"{text}\""),
        other => other.to_string(),
    }
}

fn figures(result: &GateResult) -> Table {
    let candidates: Vec<&Candidate> = result.before.iter().chain([&result.after]).collect();
    let mut header = vec![String::new()];
    if result.before.is_some() {
        header.push("before".to_owned());
    }
    header.push(
        if result.before.is_some() {
            "after"
        } else {
            "figure"
        }
        .to_owned(),
    );
    let mut table = Table::new(header);
    let mut row = |what: &str, value: &dyn Fn(&Candidate) -> String| {
        let mut cells = vec![what.to_owned()];
        cells.extend(candidates.iter().map(|candidate| value(candidate)));
        table.rows.push(cells);
    };
    row("file", &|c| match (&result.before, c.file.file_name()) {
        // The paths are said above, and two of them are wider than a terminal.
        (Some(before), Some(name)) if before.file.file_name() != result.after.file.file_name() => {
            Path::new(name).display().to_string()
        }
        _ => c.file.display().to_string(),
    });
    row("verdict", &|c| {
        if c.pass { "pass" } else { "FAIL" }.to_owned()
    });
    row("task", &|c| {
        format!("{} vCPU, {} GiB", c.sizing.vcpu(), c.sizing.memory_gib())
    });
    row("workers per task", &|c| {
        c.sizing.generation_workers.to_string()
    });
    row("tasks", &|c| tasks(&c.scenario.fleet));
    row("autoscaling", &|c| autoscaling(&c.scenario.fleet));
    row("requests", &|c| match c.mode {
        Mode::Queue => "queued".to_owned(),
        Mode::Sync => "stay open".to_owned(),
    });
    row("capacity, generations/h", &capacity);
    row("bottleneck", &|c| c.bottleneck.clone());
    row("done, generations/h", &|c| {
        interval(c.throughput_per_hour, 1)
    });
    row("wait p95", &wait_p95);
    row("lost per run", &|c| mean_losses(&c.lost_by_cause));
    row("workers busy", &|c| percent(c.worker_utilization));
    row("CPU used", &|c| percent(c.cpu_utilization));
    row("tasks, mean", &|c| interval(c.tasks_mean, 2));
    row("USD/month", &|c| interval(c.total_usd(), 2));
    let mut cells = vec!["headroom".to_owned()];
    cells.extend(result.before.iter().map(|_| String::new()));
    cells.push(headroom(&result.headroom));
    table.rows.push(cells);
    table
}

fn capacity(candidate: &Candidate) -> String {
    let ran = interval(candidate.capacity_per_hour, 1);
    let tasks = &candidate.scenario.fleet.tasks;
    if tasks.min == tasks.max {
        ran
    } else {
        format!(
            "{ran} ({:.1} with {} tasks)",
            candidate.capacity_per_hour_at_tasks_max, tasks.max
        )
    }
}

fn headroom(headroom: &Headroom) -> String {
    match (headroom.load_factor, headroom.load_per_hour) {
        (Some(factor), Some(rate)) => format!(
            "waits and losses hold to {}{} times the load ({} generations/h)",
            if headroom.at_least { "at least " } else { "" },
            interval(factor, 2),
            interval(rate, 1),
        ),
        _ => "not defined for arrivals at given instants".to_owned(),
    }
}

fn costs(after: &Candidate, before: Option<&Candidate>) -> Table {
    let mut table = match before {
        Some(_) => Table::new(["USD/month", "before", "after"]),
        None => Table::new(["line", "USD/month"]),
    };
    let usd = |lines: &[CostLine], name: &str| {
        lines
            .iter()
            .find(|line| line.line == name)
            .map_or_else(|| "0.00".to_owned(), |line| interval(line.usd, 2))
    };
    let mut names: Vec<&str> = after
        .cost_usd_month
        .iter()
        .map(|line| line.line.as_str())
        .collect();
    // What only the old sizing pays stands before the total.
    for line in before.into_iter().flat_map(|before| &before.cost_usd_month) {
        if !names.contains(&line.line.as_str()) {
            names.insert(names.len().saturating_sub(1), &line.line);
        }
    }
    for name in names {
        let mut cells = vec![name.replace('_', " ")];
        cells.extend(before.map(|before| usd(&before.cost_usd_month, name)));
        cells.push(usd(&after.cost_usd_month, name));
        table.rows.push(cells);
    }
    table
}

fn calibration(result: &GateResult) -> String {
    let source = &result.calibration;
    let file = source.file.as_ref().map_or_else(
        || "measured now".to_owned(),
        |file| {
            format!(
                "from {}, measured at commit {}",
                file.display(),
                source.commit
            )
        },
    );
    let age = match &source.age {
        Age::Current if source.file.is_none() => String::new(),
        Age::Current => " It is current: the backend has not changed since.".to_owned(),
        Age::Stale { changed } => format!(
            " It is stale: {} of the backend changed since ({}{}); `cargo sizing gate --measure` measures again.",
            crate::plural(changed.len() as u64, "file"),
            changed
                .iter()
                .take(3)
                .cloned()
                .collect::<Vec<_>>()
                .join(", "),
            if changed.len() > 3 { ", ..." } else { "" },
        ),
        Age::Unknown { reason } => {
            format!(" Whether it is that of the backend as it stands cannot be told: {reason}.")
        }
    };
    let workers = result.after.sizing.generation_workers;
    let beyond = match source.workers_max {
        Some(most) if f64::from(workers) > most => format!(
            " It was measured with up to {most:.0} workers in a task; {workers}, as here, are an extrapolation: \
             `cargo sizing measure --workers {workers}` measures them."
        ),
        _ => String::new(),
    };
    let n = result.after.wait_p95_s.n;
    format!(
        "The cost of one generation is {file}.{age}{beyond} Figures are means over {n} simulated days with their 95 % \
         intervals."
    )
}
