//! The report of the main job.

use simulator::precision::is_lower_bound;
use simulator::prices::seed_table;
use simulator::replications::Replications;
use simulator::scenario::Fleet;
use simulator::slo::Failure;

use super::costs::costs;
use super::fidelity::fidelity;
use super::measured::{calibration, measurement};
use super::plan::plan;
use crate::judgement::Judgement;
use crate::measurement::Mark;
use crate::pipeline::{CalibratedFrom, Results};
use crate::reference::recorded;
use crate::report::document::{Block, Document, Table, Tile};
use crate::report::figures::Figure;
use crate::report::wording::{
    about, arrivals, bottleneck, candidate_in_words, fargate_usd, fleet_in_words,
    generation_length, interval, mean_losses, percent, seconds, slo, spare, wait_p95,
};
use crate::review::Language;
use crate::simulation::{lost_by_cause, over};
use crate::stats::count_u64_as_f64;

/// Sizings that a plan shows when nobody says otherwise.
const PLAN_ROWS: usize = 5;

/// The report of the main job, with its figures.
pub fn results(results: &Results, figures: &[Figure]) -> Document {
    let mut document = Document {
        title: format!("Does {} hold?", results.sizing_file.display()),
        blocks: vec![],
    };
    document.blocks.push(Block::Tiles(tiles(results)));
    verdicts(&mut document, results);
    borrowed_calibration(&mut document, results);
    marked_cells(&mut document, results);
    document.heading("What one task carries");
    document.figure(figures, "capacity");
    document.figure(figures, "cost-per-thousand");
    document.heading("What the fleet does: simulated");
    document.figure(figures, "day");
    document.figure(figures, "waits");
    document.figure(figures, "losses");
    fleets(&mut document, results);
    document.heading("What it costs");
    document.figure(figures, "cost-waterfall");
    costs(&mut document, results);
    document.figure(figures, "cost-against-capacity");
    document.heading("The cheapest sizings that hold");
    plan(&mut document, &results.plan, PLAN_ROWS);
    document.heading("What one task does: measured");
    measurement(&mut document, &results.measurement);
    document.figure(figures, "measured-against-predicted");
    document.heading("What one generation costs: calibrated");
    if results.measurement.load.repetitions_min < 2
        && results.calibrated_from == CalibratedFrom::ThisRun
    {
        document.paragraph(
            "A smoke run: one repetition of few cells tells memory and CPU of a generation only roughly; the full run \
             is what to quote."
                .to_owned(),
        );
    }
    calibration(&mut document, &results.calibration);
    document.heading("How well the simulator predicts what was measured");
    if results.calibrated_from == CalibratedFrom::Committed {
        document.paragraph(
            "The cost of a generation is the committed calibration's here, and nothing of this run's: none of its cells \
             is a calibration cell of what is compared."
                .to_owned(),
        );
    }
    fidelity(&mut document, &results.fidelity);
    if let Some(stacks) = &results.stacks {
        stacks.add(&mut document, Language::En);
        crate::reference::table::add(&mut document, recorded::comparison());
    }
    document.heading("How to get these numbers again");
    provenance(&mut document, results);
    document
}

/// The four numbers to read first.
fn tiles(results: &Results) -> Vec<Tile> {
    let asked = results.queued.scenario.workload.arrivals.mean_per_hour();
    let (proposed, queued) = (&results.proposed, &results.queued);
    let stated = seed_table().total().as_usd();
    let fleet = &queued.scenario.fleet;
    let mut tiles = vec![
        Tile {
            number: format!(
                "{:.1} of {asked:.0}",
                proposed.replications.throughput_per_hour.mean
            ),
            says: "generations an hour get an answer as proposed, each request held open"
                .to_owned(),
            pass: Some(proposed.verdict.pass),
        },
        Tile {
            number: format!(
                "{:.1} of {asked:.0}",
                queued.replications.throughput_per_hour.mean
            ),
            says: format!(
                "with the same tasks and a queue; one in twenty waits {}",
                wait_p95(&queued.replications)
            ),
            pass: Some(queued.verdict.pass),
        },
    ];
    if let Ok(cost) = simulator::cost::monthly(fleet, fleet.tasks.desired.into()) {
        tiles.push(Tile {
            number: format!("${}", cost.total()),
            says: format!("a month for the list that the review adds up to ${stated:.0}"),
            pass: None,
        });
    }
    tiles.extend(results.cheapest().map(|cheapest| Tile {
        number: format!("${}", cheapest.cost_usd_month),
        says: format!(
            "a month holds the same load: {}",
            crate::plural(cheapest.fleet.workers.into(), "worker")
                + &format!(
                    " on {} vCPU, {} GiB",
                    cheapest.fleet.vcpu, cheapest.fleet.memory_gib
                )
        ),
        pass: Some(true),
    }));
    tiles
}

fn verdicts(document: &mut Document, results: &Results) {
    let scenario = &results.queued.scenario;
    document.paragraph(format!(
        "Judged: {}. Asked: {}. Generations take {}; {}.",
        fleet_in_words(&scenario.fleet),
        arrivals(scenario),
        generation_length(scenario),
        slo(scenario),
    ));
    document.blocks.push(verdict(
        "As proposed (each request stays open): ",
        &results.proposed,
    ));
    document.blocks.push(verdict(
        "The same tasks with this backend (queued): ",
        &results.queued,
    ));
    document.blocks.push(match results.cheapest() {
        Some(cheapest) => Block::Verdict {
            pass: true,
            text: format!(
                "Cheapest sizing that holds with the proposal's NAT gateways, cache and database: {}.{}",
                candidate_in_words(cheapest),
                spare(&cheapest.fleet)
            ),
        },
        None => Block::Verdict {
            pass: false,
            text: "No sizing in the search holds; the table of the plan says why.".to_owned(),
        },
    });
}

/// Says so when the run could not tell what a generation costs.
fn borrowed_calibration(document: &mut Document, results: &Results) {
    if results.calibrated_from == CalibratedFrom::ThisRun {
        return;
    }
    let calibration = &results.calibration;
    document.paragraph(format!(
        "In no cell of this run did the backend alone set the pace (the grid below says why), so it does not say \
         what a generation costs. The verdicts rest on the committed loadtests/results/calibration.json instead, \
         measured at commit {} on {}. For figures of this machine run again while it does nothing else.",
        calibration.commit, calibration.cpu_model,
    ));
}

/// How many cells are marked: what a reader of the verdicts should know before the grid says it.
fn marked_cells(document: &mut Document, results: &Results) {
    let cells = &results.measurement.cells;
    let marked = cells.iter().filter(|cell| !cell.is_valid()).count();
    if marked == 0 {
        return;
    }
    // That CPU bounds a cell is a finding about its shape. Others are marked for what no speed-up mends.
    let speedup_max = cells
        .iter()
        .filter(|cell| !cell.marks.contains(&Mark::CpuBound))
        .map(|cell| cell.speedup_max)
        .fold(f64::INFINITY, f64::min);
    let remedy = if speedup_max < results.measurement.load.speedup {
        format!(
            " --speedup {:.0} would keep those that CPU does not bound within the bounds of compressed time.",
            speedup_max.floor().max(1.0)
        )
    } else {
        String::new()
    };
    document.paragraph(format!(
        "{marked} of {} measured cells are marked: their throughput is taken for no capacity. The grid below \
         says why, and what is taken from each.{remedy}",
        cells.len(),
    ));
}

/// The three verdicts in a line, for whoever must scroll to find them.
pub fn in_a_line(results: &Results) -> String {
    let word = |judgement: &Judgement| {
        if judgement.verdict.pass {
            "PASS"
        } else {
            "FAIL"
        }
    };
    let cheapest = results.cheapest().map_or_else(
        || "no sizing of the search holds".to_owned(),
        |cheapest| format!("cheapest that holds ${} a month", cheapest.cost_usd_month),
    );
    format!(
        "Verdict: {} as proposed, {} with this backend, {cheapest}.",
        word(&results.proposed),
        word(&results.queued),
    )
}

fn verdict(prefix: &str, judgement: &Judgement) -> Block {
    let replications = &judgement.replications;
    let reasons: Vec<_> = judgement
        .verdict
        .failures
        .iter()
        .map(Failure::to_string)
        .collect();
    let mut text = format!(
        "{prefix}{} generations/h done, wait p95 {}, bottleneck {}, {} tasks on average: Fargate ${:.2} a month, \
         all of it ${}.",
        interval(replications.throughput_per_hour, 1),
        wait_p95(replications),
        bottleneck(replications),
        interval(replications.tasks_mean, 2),
        fargate_usd(replications),
        interval(replications.cost_usd_month, 2),
    );
    if !reasons.is_empty() {
        text.push_str(&format!(" Misses: {}.", reasons.join("; ")));
    }
    if is_lower_bound(&replications.outcomes, 95) {
        let waiting = over(replications, |run| count_u64_as_f64(run.censored_waits));
        text.push_str(&format!(
            " It does not carry the load: {:.0} generations still waited when the day ended, so waits grow without \
             end.",
            waiting.mean
        ));
    }
    Block::Verdict {
        pass: judgement.verdict.pass,
        text,
    }
}

fn fleets(document: &mut Document, results: &Results) {
    let mut table = Table::new(["", "as proposed (sync)", "this backend (queue)"]);
    let sides = [&results.proposed.replications, &results.queued.replications];
    let mut row = |what: &str, value: &dyn Fn(&Replications) -> String| {
        table.row([what.to_owned(), value(sides[0]), value(sides[1])]);
    };
    row("submitted", &|runs| {
        interval(over(runs, |run| count_u64_as_f64(run.submitted)), 0)
    });
    row("completed per hour", &|runs| {
        interval(runs.throughput_per_hour, 1)
    });
    row("unfinished at the end", &|runs| {
        interval(over(runs, |run| count_u64_as_f64(run.in_flight_at_end)), 0)
    });
    row("lost", &|runs| mean_losses(&lost_by_cause(runs)));
    row("wait mean", &|runs| seconds(runs.wait_mean_s));
    row("wait p95", &wait_p95);
    row("tasks", &|runs| interval(runs.tasks_mean, 2));
    row("scale-outs", &|runs| {
        interval(over(runs, |run| count_u64_as_f64(run.scale_out_count)), 1)
    });
    row("scale-ins", &|runs| {
        interval(over(runs, |run| count_u64_as_f64(run.scale_in_count)), 1)
    });
    row("worker use", &|runs| {
        percent(over(runs, |run| run.worker_utilization))
    });
    row("CPU use", &|runs| {
        percent(over(runs, |run| run.cpu_utilization))
    });
    row("bottleneck", &bottleneck);
    document.paragraph(format!(
        "Means over {} of {}, from seed {} on; ± is half of the 95 % interval.",
        crate::plural(sides[1].outcomes.len() as u64, "simulated run"),
        results.queued.scenario.horizon,
        results.queued.scenario.seed,
    ));
    document.table(table);
    document.paragraph(explanation(&results.queued.scenario.fleet, sides[1]));
}

/// What a reader of the table should not have to find out alone.
fn explanation(fleet: &Fleet, runs: &Replications) -> String {
    let first = runs.outcomes.first();
    let capacity: Vec<_> = first
        .into_iter()
        .flat_map(|outcome| &outcome.capacity_per_hour)
        .map(|(resource, per_hour)| format!("{resource} {}", about(*per_hour)))
        .collect();
    format!(
        "What {} on average could carry, in generations per hour, were each resource the only bound (CPU \
         up to the {} % at which it scales out): {}. CPU use stays at {} even while {} of the workers are busy, so an alarm on CPU says nothing about the queue.",
        tasks_mean_in_words(runs),
        fleet.autoscaling.cpu_target_percent,
        capacity.join(", "),
        percent(over(runs, |run| run.cpu_utilization)),
        percent(over(runs, |run| run.worker_utilization)),
    )
}

fn tasks_mean_in_words(runs: &Replications) -> String {
    let tasks = interval(runs.tasks_mean, 2);
    format!("{tasks} {}", if tasks == "1.00" { "task" } else { "tasks" })
}

fn provenance(document: &mut Document, results: &Results) {
    let hardware = &results.measurement.hardware;
    let load = &results.measurement.load;
    document.paragraph(format!(
        "Measured on {}, {} cores, {} MiB, Linux {}; provider {} with PostgreSQL {}, Redis {} and {}; \
         commit {}; seeds: scripted OpenAI {}, simulation from {} on.",
        hardware.cpu_model,
        hardware.cpu_cores,
        hardware.memory_mib,
        hardware.kernel,
        hardware.provider,
        hardware.postgres,
        hardware.redis,
        hardware.s3,
        hardware.commit,
        load.seed,
        results.queued.scenario.seed,
    ));
    document.blocks.push(Block::Code(format!(
        "HARNESS_PROVIDER={} {}\n# the sizing as proposed\n\
         cargo sizing simulate --scenario target/sizing/proposed.toml --replications {runs}\n\
         # the same tasks with this backend\n\
         cargo sizing simulate --scenario target/sizing/queued.toml --replications {runs}",
        hardware.provider,
        results.command,
        runs = results.queued.replications.outcomes.len(),
    )));
}
