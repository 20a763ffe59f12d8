//! The report of the main job: its figures are those of `results.json`, and the page needs nothing beside itself.

use std::path::{Path, PathBuf};

use loadtests::cgroup::CpuTime;
use loadtests::command_line::REPLICATIONS;
use loadtests::hardware::Hardware;
use loadtests::histogram::Latencies;
use loadtests::measurement::{
    Cell, Experience, Load, Mark, Measurement, Observer, Repetition, Role, SCHEMA_VERSION,
    ServiceUse, VcpuLimit,
};
use loadtests::pipeline::{self, CalibratedFrom, Results};
use loadtests::report::{ResultsFile, figures, html, markdown, sections};
use loadtests::requirements::Requirements;
use loadtests::terraform::parse_sizing;

/// A grid as a run leaves it; only its shape matters here.
fn measurement() -> Measurement {
    let cell = |workers: u32, vcpu: f64, ratio: f64| {
        let expected_per_hour = f64::from(workers) * 400.0;
        let cpu_s_per_generation = 0.06 + 0.001 / f64::from(workers);
        let repetition = Repetition {
            window_s: 4.5,
            throughput_per_hour: expected_per_hour * ratio,
            cpu_s_per_generation,
        };
        Cell {
            workers,
            vcpu,
            memory_mib: 512,
            vcpu_limit: VcpuLimit::Modelled,
            role: if (workers == 6) == (vcpu < 1.0) {
                Role::HeldOut
            } else {
                Role::Calibration
            },
            generations: 60,
            failures: 0,
            censored: 0,
            window_s: 13.5,
            throughput_per_hour: expected_per_hour * ratio,
            throughput_per_hour_std_err: expected_per_hour * 0.004,
            repetitions: vec![repetition; 3],
            throughput_ci95_share: Some(0.01),
            expected_per_hour,
            cpu_s_per_generation,
            cpu_split_per_generation: CpuTime {
                user_s: cpu_s_per_generation * 0.8,
                system_s: cpu_s_per_generation * 0.2,
            },
            cpu_utilization: 0.1,
            memory_idle_kib: 48_000,
            memory_mean_kib: 48_000 + u64::from(workers) * 140,
            memory_max_kib: 49_000 + u64::from(workers) * 150,
            memory_peak_kib: None,
            memory_per_generation_kib: None,
            db_ms_per_generation: 15.0,
            db_transactions_per_generation: 280.0,
            overhead_ms: 40.0,
            poll_lag_ms: 20.0,
            idle_gap_ms: 5.0,
            openai_polls_per_generation: 180.0,
            host_cpu_utilization: 0.4,
            load_generator_cpu: 0.2,
            services: ServiceUse::default(),
            observer: Observer::default(),
            experience: Experience {
                arrivals_s: vec![0.0],
                window_s: (0.0, 13.5),
                wait: Latencies::default(),
                sojourn: Latencies::default(),
                worker_utilization: 1.0,
            },
            marks: vec![],
            speedup_max: 200.0,
        }
    };
    Measurement {
        schema_version: SCHEMA_VERSION,
        hardware: Hardware::unknown(),
        load: Load {
            generation_s: 900.0,
            calls_per_generation: 5,
            speedup: 100.0,
            client_poll_s: 5.0,
            openai_poll_s: 5.0,
            repetitions_min: 3,
            repetitions_max: 5,
            seed: 42,
        },
        cells: [
            (1, 0.25, 0.996),
            (6, 0.25, 0.991),
            (24, 0.25, 0.987),
            (1, 2.0, 0.998),
            (6, 2.0, 0.994),
            (24, 2.0, 0.99),
        ]
        .map(|(workers, vcpu, ratio)| cell(workers, vcpu, ratio))
        .to_vec(),
        open_runs: vec![],
        complete: true,
        incomplete_because: None,
    }
}

pub(crate) fn results() -> Results {
    concluded(measurement())
}

/// What follows from `measurement`.
fn concluded(measurement: Measurement) -> Results {
    let sizing_file = Path::new("terraform/environments/proposal.tfvars");
    let sizing = parse_sizing(sizing_file, super::PROPOSAL).expect("the committed sizing");
    let requirements =
        Requirements::parse(Path::new("slo.toml"), super::SLO).expect("the committed requirements");
    let committed = serde_json::from_str(include_str!("../../results/calibration.json"))
        .expect("the committed calibration");
    pipeline::conclude(
        "cargo sizing".to_owned(),
        measurement,
        pipeline::Question {
            sizing_file,
            sizing: &sizing,
            requirements: &requirements,
            deployment_score: None,
            replications: REPLICATIONS,
            committed: &committed,
        },
    )
    .expect("a measurement that is complete")
}

/// Writes the report of [`results`] below the target folder and returns the page's path.
pub(crate) fn written() -> PathBuf {
    let results = results();
    let figures = figures::of_results(&results);
    let page = html::render(&sections::results(&results, &figures));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report.html");
    std::fs::write(&path, page).expect("a writable target folder");
    path
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex: Vec<u8> = rest.by_ref().take(2).collect();
            let hex = std::str::from_utf8(&hex).expect("ASCII");
            bytes.push(u8::from_str_radix(hex, 16).expect("two hexadecimal digits"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// The cells of one line of comma-separated values.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cells.last_mut().expect("never empty").push(other),
        }
    }
    cells
}

#[test]
fn the_page_holds_the_figures_of_results_json_and_needs_nothing_else() {
    let results = results();
    let figures = figures::of_results(&results);
    let file = ResultsFile {
        results: &results,
        figures: &figures,
    };
    let json: serde_json::Value = serde_json::to_value(&file).expect("serialises");
    let page = html::render(&sections::results(&results, &figures));

    let listed = json["figures"].as_array().expect("figures");
    assert_eq!(listed.len(), 8, "every figure is made");
    for figure in listed {
        let id = figure["id"].as_str().expect("a name");
        let start = format!("download=\"{id}.csv\" href=\"data:text/csv;charset=utf-8,");
        let (_, rest) = page
            .split_once(&start)
            .unwrap_or_else(|| panic!("{id} is not in the page"));
        let csv = decoded(rest.split('"').next().expect("the end of the link"));
        let rows = figure["rows"].as_array().expect("rows");
        assert!(!rows.is_empty(), "{id} has no data");
        let lines: Vec<&str> = csv.trim_end().split("\r\n").collect();
        assert_eq!(lines.len(), rows.len() + 1, "{id}");
        for (line, row) in lines.iter().skip(1).zip(rows) {
            let row = row.as_array().expect("cells");
            let cells = cells(line);
            assert_eq!(cells.len(), row.len(), "{id}: {line}");
            for (cell, value) in cells.iter().zip(row) {
                match value.as_f64() {
                    Some(number) => {
                        let read = cell.parse::<f64>().map(f64::to_bits);
                        assert_eq!(read, Ok(number.to_bits()), "{id}: {line}");
                    }
                    None => assert_eq!(Some(cell.as_str()), value.as_str(), "{id}: {line}"),
                }
            }
        }
        assert!(page.contains(&format!("id=\"figure-{id}\"")), "{id}");
    }
    let done = json["proposed"]["replications"]["throughput_per_hour"]["mean"]
        .as_f64()
        .expect("a number");
    assert!(
        page.contains(&format!("<b>{done:.1} of ")),
        "the first tile is the proposal's throughput"
    );

    assert!(page.len() < 1_500_000, "{} bytes", page.len());
    for outside in [
        "src=\"http",
        "href=\"http",
        "url(http",
        "<script",
        "@import",
    ] {
        assert!(
            !page.contains(outside),
            "the page reaches outside by {outside}"
        );
    }
    assert!(!page.contains("#0102"), "a colour was not replaced");
    assert_eq!(
        page.matches("role=\"img\"").count(),
        16,
        "each figure is drawn for two widths"
    );
}

#[test]
fn a_run_that_tells_no_cost_is_judged_by_the_committed_one_and_says_so() {
    let mut busy = measurement();
    for cell in &mut busy.cells {
        cell.marks = vec![Mark::HostSaturated];
    }
    let borrowed = concluded(busy);
    assert_eq!(borrowed.calibrated_from, CalibratedFrom::Committed);
    let text = |results: &Results| {
        markdown::render(&sections::results(results, &figures::of_results(results)))
    };
    let notice = "verdicts rest on the committed";
    assert!(text(&borrowed).contains(notice));
    let own = results();
    assert_eq!(own.calibrated_from, CalibratedFrom::ThisRun);
    assert!(!text(&own).contains(notice));
}

#[test]
fn a_wait_that_the_end_of_the_day_cut_short_is_said_to_be_one() {
    let results = results();
    let page = markdown::render(&sections::results(&results, &figures::of_results(&results)));
    assert!(page.contains("wait p95 at least "), "{page}");
    assert!(
        page.contains("generations still waited when the day ended"),
        "{page}"
    );
    // The sizing that holds leaves nobody waiting.
    let pass = page
        .lines()
        .find(|line| line.contains("Cheapest sizing that holds with"))
        .expect("the search finds one");
    assert!(!pass.contains("at least"), "{pass}");
}
