//! Both pages in a real browser: no console errors, every figure with data, the keyboard, a telephone's width, axe-core.
#![expect(clippy::print_stderr, reason = "a measured time is said")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::webdriver::Browser;

const TELEPHONE: u32 = 390;
const DESK: u32 = 1280;
const ANSWERS: u32 = 20;
const TAB: &str = "\u{e004}";

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(work);
}

/// Keeps pictures of the page where `PAGE_SCREENSHOTS` names a folder, for people to look at.
async fn pictures(browser: &Browser, name: &str) {
    let Some(folder) = std::env::var_os("PAGE_SCREENSHOTS") else {
        return;
    };
    for width in [TELEPHONE, DESK] {
        for dark in [false, true] {
            browser.screen(width, dark).await;
            let scheme = if dark { "dark" } else { "light" };
            let file =
                std::path::Path::new(&folder).join(format!("{name}-{width}-{scheme}.png.base64"));
            std::fs::write(file, browser.screenshot().await).expect("a writable folder");
        }
    }
}

async fn no_horizontal_scroll(browser: &Browser) {
    browser.screen(TELEPHONE, false).await;
    let widths = browser
        .run("return [document.documentElement.scrollWidth, window.innerWidth]")
        .await;
    // A telephone zooms out of a page that is too wide: its window then is as wide as the page.
    let telephone = serde_json::json!([TELEPHONE, TELEPHONE]);
    assert_eq!(widths, telephone, "the page is wider than a telephone");
    let wide = "return [...document.querySelectorAll('body *')].filter((e) => !e.closest('.scroll, pre, svg') && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 120))";
    let wide = browser.run(wide).await;
    assert_eq!(wide.as_array().map(Vec::len), Some(0), "{wide}");
}

async fn accessible(browser: &Browser) {
    for (width, dark) in [(TELEPHONE, false), (DESK, false), (DESK, true)] {
        browser.screen(width, dark).await;
        if let Some(findings) = browser.accessibility().await {
            assert!(
                findings.is_empty(),
                "{width} px, dark {dark}: {findings:#?}"
            );
        }
    }
}

#[test]
fn the_report_reads_well_in_a_browser() {
    block_on(async {
        let Some(browser) = Browser::start().await else {
            return;
        };
        let page = super::report::written();
        browser.screen(DESK, false).await;
        browser.open(&format!("file://{}", page.display())).await;
        pictures(&browser, "report").await;
        for width in [TELEPHONE, DESK] {
            browser.screen(width, false).await;
            let drawn = "return [...document.querySelectorAll('figure')].map((f) => [...f.querySelectorAll('svg')].filter((s) => s.getBoundingClientRect().width > 200).map((s) => s.querySelectorAll('rect, circle, polyline, polygon, path').length))";
            let drawn = browser.run(drawn).await;
            let figures = drawn.as_array().expect("a list");
            assert_eq!(figures.len(), 8, "{drawn}");
            for figure in figures {
                // One of the two drawings is shown, with marks in it.
                assert_eq!(figure.as_array().map(Vec::len), Some(1), "{drawn}");
                assert!(figure[0].as_u64() > Some(1), "{drawn}");
            }
        }
        no_horizontal_scroll(&browser).await;
        accessible(&browser).await;
        let errors = browser.console_errors().await;
        assert!(errors.is_empty(), "{errors:#?}");
        browser.stop().await;
    });
}

/// A running `sizing serve`.
struct Served {
    process: Child,
    url: String,
}

impl Served {
    fn start() -> Served {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sizing"))
            .args(["serve", "--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary was built for this test");
        let mut line = String::new();
        let output = process.stdout.take().expect("standard output is piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://127.0.0.1:"))
            .unwrap_or_else(|| panic!("an address: {line}"))
            .to_owned();
        Served { process, url }
    }

    /// CPU time that it has used, in milliseconds.
    fn cpu_ms(&self) -> f64 {
        let pid = i32::try_from(self.process.id()).expect("a process id");
        let stat = procfs::process::Process::new(pid)
            .and_then(|process| process.stat())
            .expect("a running process");
        let ticks = u32::try_from(stat.utime + stat.stime).expect("a short life");
        let per_second = u32::try_from(procfs::ticks_per_second()).expect("a few hundred");
        f64::from(ticks) / f64::from(per_second) * 1000.0
    }

    /// Ends it as Ctrl-C does, and returns its exit code.
    fn interrupt(mut self) -> Option<i32> {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -INT {pid}");
        self.process.wait().expect("it ends").code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_occupied_port_is_named_and_ctrl_c_ends_the_page_cleanly() {
    let served = Served::start();
    let port = served
        .url
        .trim_end_matches('/')
        .rsplit(':')
        .next()
        .expect("a port");
    let stderr = super::stderr_of(2, &["serve", "--port", port]);
    assert!(
        stderr.contains(port) && stderr.contains("--port"),
        "{stderr}"
    );
    assert_eq!(served.interrupt(), Some(0));
}

#[test]
fn a_what_if_is_answered_while_one_still_looks() {
    block_on(async {
        let served = Served::start();
        let ask = "stage=growth&users=10000&mode=queue&task_cpu=1024&task_memory_mib=2048&tasks_min=2&tasks_desired=2&tasks_max=6&autoscaling_metric=queue_depth&alb_idle_timeout_s=120&deregistration_delay_s=60&stop_timeout_s=120&nat_gateways=2&cache_mode=elasticache&db_instance_class=db.t4g.micro&db_multi_az=true&cloudfront_enabled=false&waf_enabled=false&region=us-east-1&generation_workers=";
        let client = reqwest::Client::new();
        let mut times_ms = Vec::new();
        let cpu_before = served.cpu_ms();
        for workers in 16..16 + ANSWERS {
            let began = std::time::Instant::now();
            let response = client
                .get(format!("{}answer?{ask}{workers}", served.url))
                .send()
                .await
                .expect("an answer");
            assert_eq!(response.status(), 200);
            let answer: serde_json::Value = response.json().await.expect("JSON");
            assert!(answer["capacity_per_hour"].as_f64() > Some(0.0), "{answer}");
            times_ms.push(began.elapsed().as_millis());
        }
        times_ms.sort_unstable();
        let p95 = times_ms[times_ms.len() * 95 / 100 - 1];
        let cpu_ms = (served.cpu_ms() - cpu_before) / f64::from(ANSWERS);
        eprintln!(
            "Growth: p50 {} ms, p95 {p95} ms, {cpu_ms:.0} ms of CPU an answer",
            times_ms[times_ms.len() / 2]
        );
        // The promise is 200 ms. Other work on the machine stretches the time, but not the CPU time, on which an idle
        // machine has two cores to spend.
        assert!(cpu_ms < 200.0, "{cpu_ms} ms of CPU an answer, {times_ms:?}");
        let refused = client
            .get(format!("{}answer?{ask}0", served.url))
            .send()
            .await
            .expect("an answer");
        assert_eq!(refused.status(), 422);
        assert!(
            refused
                .text()
                .await
                .expect("text")
                .contains("generation_workers")
        );
    });
}

/// The preset's own link, with some of its fields changed.
fn link(changes: &[(&str, &str)]) -> String {
    let fields = [
        ("stage", "mvp"),
        ("users", "1000"),
        ("mode", "queue"),
        ("task_cpu", "1024"),
        ("task_memory_mib", "2048"),
        ("generation_workers", "24"),
        ("tasks_min", "1"),
        ("tasks_desired", "1"),
        ("tasks_max", "1"),
        ("autoscaling_metric", "none"),
        ("alb_idle_timeout_s", "60"),
        ("deregistration_delay_s", "30"),
        ("stop_timeout_s", "30"),
        ("nat_gateways", "1"),
        ("cache_mode", "none"),
        ("db_instance_class", "db.t4g.micro"),
        ("db_multi_az", "false"),
        ("cloudfront_enabled", "false"),
        ("waf_enabled", "false"),
        ("region", "us-east-1"),
    ];
    let changed = |name| {
        let found = changes.iter().find(|(changed, _)| *changed == name);
        found.map(|(_, value)| *value)
    };
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", changed(*name).unwrap_or(value)))
        .collect();
    fields.join("&")
}

#[test]
fn the_command_to_copy_says_what_the_page_says() {
    block_on(async {
        let served = Served::start();
        let mut codes = std::collections::BTreeSet::new();
        for changes in [
            // Just below the edge, and held open, which only the settings say.
            &[("generation_workers", "13")][..],
            &[("mode", "sync")],
            &[("users", "1500"), ("generation_workers", "32")],
            &[("region", "eu-west-1")],
        ] {
            let url = format!("{}answer?{}", served.url, link(changes));
            let response = reqwest::get(url).await.expect("an answer");
            let answer: serde_json::Value = response.json().await.expect("JSON");
            let scratch = tempfile::tempdir().expect("a folder");
            let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
            for (file, key) in [("what-if.tfvars", "tfvars"), ("what-if.toml", "slo")] {
                std::fs::write(scratch.path().join(file), text(key)).expect("a writable folder");
            }
            let command = text("command");
            let arguments = command.strip_prefix("cargo sizing ").expect("the alias");
            let output = Command::new(env!("CARGO_BIN_EXE_sizing"))
                .args(arguments.split(' '))
                .args(["--format", "json"])
                .current_dir(scratch.path())
                .output()
                .expect("the binary was built for this test");
            let said: serde_json::Value =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
                    panic!("{command}: {}", String::from_utf8_lossy(&output.stderr))
                });
            assert_eq!(said["pass"], answer["pass"], "{changes:?}");
            let causes = said["after"]["causes"].as_array().expect("a list");
            let causes: Vec<_> = causes.iter().map(|cause| cause["text"].clone()).collect();
            assert_eq!(answer["misses"], serde_json::Value::from(causes));
            codes.insert(output.status.code());
        }
        assert_eq!(codes.into_iter().collect::<Vec<_>>(), [Some(0), Some(1)]);
        let refused = reqwest::get(format!(
            "{}answer?{}",
            served.url,
            link(&[("tasks_max", "many")])
        ))
        .await
        .expect("an answer");
        assert_eq!(refused.status(), 422);
        assert_eq!(
            refused.text().await.expect("text"),
            "`tasks_max` is \"many\" and must be a whole number from 1 to 50"
        );
    });
}

#[test]
fn the_what_if_page_works_by_keyboard_and_its_link_reproduces_it() {
    block_on(async {
        let Some(browser) = Browser::start().await else {
            return;
        };
        let served = Served::start();
        browser.screen(DESK, false).await;
        browser.open(&served.url).await;
        settled(&browser).await;
        pictures(&browser, "serve").await;
        let valid = "return document.getElementById('controls').checkValidity()";
        assert_eq!(
            browser.run(valid).await,
            true,
            "the preset is within the controls' bounds"
        );
        browser.screen(DESK, false).await;
        // From the top, twenty presses of Tab pass every control in its order.
        let mut passed = Vec::new();
        for _ in 0..20 {
            browser.press(TAB).await;
            let name = browser
                .run("return document.activeElement.name || ''")
                .await;
            if name == "generation_workers" {
                // Tab selects what stands in the field, so that typing replaces it.
                browser.press("10").await;
            }
            passed.push(name.as_str().unwrap_or_default().to_owned());
        }
        let order = [
            "stage",
            "users",
            "mode",
            "task_cpu",
            "task_memory_mib",
            "generation_workers",
            "tasks_min",
            "tasks_desired",
            "tasks_max",
            "autoscaling_metric",
            "alb_idle_timeout_s",
            "deregistration_delay_s",
            "stop_timeout_s",
            "nat_gateways",
            "cache_mode",
            "db_instance_class",
            "db_multi_az",
            "cloudfront_enabled",
            "waf_enabled",
            "region",
        ];
        assert_eq!(passed, order);
        settled(&browser).await;
        let state = browser
            .run("return [location.href, document.getElementById('capacity').textContent, document.getElementById('tfvars').textContent]")
            .await;
        assert!(
            state[2]
                .as_str()
                .is_some_and(|text| text.lines().any(|line| line.split_whitespace().eq([
                    "generation_workers",
                    "=",
                    "10"
                ]))),
            "{state}"
        );
        browser.open(state[0].as_str().expect("an address")).await;
        settled(&browser).await;
        let again = browser
            .run("return document.getElementById('capacity').textContent")
            .await;
        assert_eq!(again, state[1], "the link reproduces the state");
        // The region is a price alone: nothing is simulated again.
        let cost = "return document.getElementById('cost').textContent";
        let here = browser.run(cost).await;
        let choose = "const of = document.getElementById('controls').elements.region; of.value = 'eu-west-1'; of.dispatchEvent(new Event('input', { bubbles: true }))";
        browser.run(choose).await;
        settled(&browser).await;
        assert_ne!(browser.run(cost).await, here, "another region's prices");
        let redrawn_ms = browser
            .run("return Number(document.getElementById('result').dataset.redrawnMs)")
            .await;
        eprintln!("redrawn {redrawn_ms} ms after a change of prices");
        let drawn = browser
            .run("return document.querySelectorAll('#day svg.wide polyline').length")
            .await;
        assert!(drawn.as_u64() > Some(3), "the day is drawn: {drawn}");
        no_horizontal_scroll(&browser).await;
        accessible(&browser).await;
        let errors = browser.console_errors().await;
        assert!(errors.is_empty(), "{errors:#?}");
        // Last, for a browser counts a refused request as an error.
        refusals_name_the_control(&browser).await;
        browser.stop().await;
    });
}

async fn refusals_name_the_control(browser: &Browser) {
    let more = "const of = document.getElementById('controls').elements.tasks_desired; of.value = '50'; of.dispatchEvent(new Event('input', { bubbles: true }))";
    browser.run(more).await;
    settled(browser).await;
    let problem = browser
        .run("return document.getElementById('problem').textContent")
        .await;
    assert!(
        problem
            .as_str()
            .is_some_and(|text| text.contains("At the start (tasks_desired) is 50")),
        "by its label: {problem}"
    );
}

/// Waits until the answer to the last change is shown.
async fn settled(browser: &Browser) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let busy = browser
            .run("return document.getElementById('result').getAttribute('aria-busy')")
            .await;
        if busy == "false" {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "no answer within 30 s"
        );
        tokio::task::yield_now().await;
    }
}
