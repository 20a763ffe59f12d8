//! `measure` against targets, and `merge`: what several processes send is joined as one.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};

use tokio::net::TcpSocket;

use crate::{Scratch, sizing, stderr_of, stdout_of};

/// A target that takes users for generations that end at once, so that a test needs no backend.
struct Stub {
    url: String,
}

impl Stub {
    /// Answers every request on a thread of its own, until the test program ends.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(stream));
            }
        });
        Self { url }
    }
}

fn answer(mut stream: std::net::TcpStream) {
    let mut request = Vec::new();
    let mut buffer = [0; 65_536];
    // Requests are small and end with their body; the head names its length.
    let complete = |request: &[u8]| {
        let text = String::from_utf8_lossy(request);
        let (head, _) = text.split_once("\r\n\r\n")?;
        let length = head
            .lines()
            .find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>().ok())?
            })
            .unwrap_or(0);
        let start = request
            .windows(4)
            .position(|window| window == b"\r\n\r\n")?
            + 4;
        (request.len() >= start + length).then(|| head.lines().next().unwrap_or("").to_owned())
    };
    let line = loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
        if let Some(line) = complete(&request) {
            break line;
        }
    };
    let generation = |status: &str, finished: &str| {
        format!(
            r#"{{"id":"g","status":"{status}","error":"scripted","page_count":1,"created_at":"2026-01-01T00:00:00Z","started_at":"2026-01-01T00:00:00Z","finished_at":{finished}}}"#
        )
    };
    let (status, body) = if line.contains("/auth/register") {
        ("201 Created", "{}".to_owned())
    } else if line.contains("/auth/login") && String::from_utf8_lossy(&request).contains("wrong") {
        (
            "401 Unauthorized",
            r#"{"detail":"wrong e-mail or password"}"#.to_owned(),
        )
    } else if line.contains("/auth/login") {
        ("200 OK", r#"{"token":"t"}"#.to_owned())
    } else if line.contains("/documents") {
        ("201 Created", r#"{"id":"d","page_count":null}"#.to_owned())
    } else if line.starts_with("POST") {
        ("202 Accepted", generation("queued", "null"))
    } else {
        (
            "200 OK",
            generation("cancelled", r#""2026-01-01T00:00:01Z""#),
        )
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after-ms: 5\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // The client may have gone.
    let _ = stream.write_all(answer.as_bytes());
}

/// Arguments of a schedule of nine compressed seconds; about 40 arrivals.
fn schedule<'a>(url: &'a str, out: &'a str) -> Vec<&'a str> {
    vec![
        "measure",
        "--open",
        "--target",
        url,
        "--speedup",
        "100",
        "--rate",
        "80",
        "--length",
        "2",
        "--workers",
        "6",
        "--out",
        out,
    ]
}

fn measurement(folder: &str) -> serde_json::Value {
    kept(folder, "measurement.json")
}

fn partial_measurement(folder: &str) -> serde_json::Value {
    kept(folder, "measurement.partial.json")
}

fn kept(folder: &str, name: &str) -> serde_json::Value {
    let path = std::path::Path::new(folder).join(name);
    let text = std::fs::read_to_string(path).expect("the result was kept");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_target_that_is_down_leaves_a_partial_result_and_exit_code_2() {
    // Bound and never listening: connections are refused, and no other server is given the port.
    let down = TcpSocket::new_v4().expect("a socket");
    down.bind((Ipv4Addr::LOCALHOST, 0).into())
        .expect("a free port");
    let port = down.local_addr().expect("bound").port();
    let scratch = Scratch::new();
    let out = scratch.path("out");
    std::fs::create_dir(&out).expect("a writable folder");
    let earlier = scratch.file("out/measurement.json", "an earlier run's");
    let stderr = stderr_of(2, &schedule(&format!("http://127.0.0.1:{port}"), &out));
    assert!(stderr.contains(&format!("127.0.0.1:{port}")), "{stderr}");
    assert!(!stderr.contains("kept: 0 cells"), "{stderr}");
    let kept = std::fs::read_to_string(earlier).expect("still there");
    assert_eq!(kept, "an earlier run's");
    let kept = partial_measurement(&out);
    assert_eq!(kept["complete"], false);
    assert!(
        kept["incomplete_because"]
            .as_str()
            .is_some_and(|reason| reason.contains("send users to"))
    );
    // Never used for a verdict, and never taken for a whole.
    let file = format!("{out}/measurement.partial.json");
    let stderr = stderr_of(2, &["merge", &file]);
    assert!(stderr.contains("partial"), "{stderr}");
}

#[test]
fn wrong_credentials_exit_with_2_and_say_what_the_target_answered() {
    let stub = Stub::start();
    let scratch = Scratch::new();
    let out = scratch.path("out");
    let mut arguments = schedule(&stub.url, &out);
    arguments.extend(["--email", "wrong@example.com", "--password", "wrong"]);
    let stderr = stderr_of(2, &arguments);
    assert!(stderr.contains("log in answered 401"), "{stderr}");
    assert_eq!(partial_measurement(&out)["complete"], false);
}

#[test]
fn a_folder_that_cannot_be_written_to_exits_with_2() {
    let scratch = Scratch::new();
    let file = scratch.file("file", "");
    let stderr = stderr_of(2, &["measure", "--open", "--out", &format!("{file}/below")]);
    assert!(stderr.contains("file/below"), "{stderr}");
}

#[test]
fn a_backend_that_is_not_there_is_named_before_anything_starts() {
    let scratch = Scratch::new();
    let missing = scratch.path("backend");
    let stderr = stderr_of(2, &["measure", "--backend", &missing]);
    assert!(stderr.contains(&missing), "{stderr}");
    assert!(stderr.contains("there is no such file"), "{stderr}");
    assert!(!stderr.contains("starting"), "{stderr}");
}

#[test]
fn a_memory_that_fargate_does_not_sell_is_refused_with_those_that_it_does() {
    let stderr = stderr_of(2, &["measure", "--vcpus", "0.25", "--memory-gib", "8"]);
    assert!(stderr.contains("it sells 0.5, 1, 2 GiB"), "{stderr}");
}

#[test]
fn a_cpu_score_is_a_number() {
    let stdout = stdout_of(0, &["cpu-score", "--seconds", "0.1", "--json"]);
    let score: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert!(score["score"].as_f64() > Some(0.0), "{stdout}");
}

#[test]
fn processes_that_share_a_schedule_are_joined_from_s3_as_one() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stack = runtime.block_on(harness::Stack::start()).expect("a stack");
    let nothing = harness::Template::empty();
    let sandbox = runtime
        .block_on(stack.sandbox(&nothing))
        .expect("a sandbox");
    let stub = Stub::start();
    let scratch = Scratch::new();
    let prefix = format!("s3://{}/run/", sandbox.bucket());
    let shards: Vec<_> = (1..=3)
        .map(|index| {
            let out = scratch.path(&format!("shard-{index}"));
            let shard = format!("{index}/3");
            let address = format!("{prefix}{index}.json");
            let mut arguments = schedule(&stub.url, &out);
            arguments.extend(["--shard", &shard, "--upload", &address]);
            Command::new(env!("CARGO_BIN_EXE_sizing"))
                .args(&arguments)
                .envs(sandbox.environment())
                .spawn()
                .expect("the binary was built for this test")
        })
        .collect();
    for mut shard in shards {
        assert!(shard.wait().expect("it was started").success());
    }
    let merge = |sources: &[&str]| -> Output {
        Command::new(env!("CARGO_BIN_EXE_sizing"))
            .arg("merge")
            .args(sources)
            .envs(sandbox.environment())
            .output()
            .expect("the binary was built for this test")
    };
    let joined = merge(&[&prefix]);
    assert!(
        joined.status.success(),
        "{}",
        String::from_utf8_lossy(&joined.stderr)
    );
    let joined: serde_json::Value = serde_json::from_slice(&joined.stdout).expect("JSON");
    let run = &joined["open_runs"][0];
    assert_eq!(run["shards"].as_array().map(Vec::len), Some(3));
    // One process alone plans as many as the three together.
    let out = scratch.path("whole");
    assert!(sizing(&schedule(&stub.url, &out)).status.success());
    let whole = measurement(&out);
    assert_eq!(run["planned"], whole["open_runs"][0]["planned"]);
    let count = |name: &str| -> u64 {
        let buckets = run[name].as_array().expect("buckets");
        buckets.iter().filter_map(|bucket| bucket[1].as_u64()).sum()
    };
    assert_eq!(Some(count("lateness")), run["planned"].as_u64());

    let first = format!("{prefix}1.json");
    let missing = merge(&[&first]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("shard 2/3"));
    let twice = merge(&[&first, &first]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("would count twice"));
    drop(sandbox);
    runtime.block_on(stack.stop()).expect("the stack stops");
}
