//! A headless Chromium, driven over the `WebDriver` protocol (<https://www.w3.org/TR/webdriver2/>) by plain HTTP.
#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// One browser window.
pub(crate) struct Browser {
    client: reqwest::Client,
    session: String,
    driver: Child,
    /// What browser and driver keep while they run; they do not clear it away themselves.
    _scratch: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser; `None`, with the reason on standard error, where there is none.
    pub(crate) async fn start() -> Option<Browser> {
        let (Some(driver), Some(browser)) = (found("chromedriver"), found("chromium")) else {
            eprintln!(
                "skipped: no chromedriver or no chromium on the PATH; `apt-get install chromium chromium-driver` brings them"
            );
            return None;
        };
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .env("TMPDIR", scratch.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver can be started");
        let output = driver.stdout.take().expect("standard output is piped");
        let mut lines = BufReader::new(output).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, rest) = line.split_once("successfully on port ")?;
                rest.trim_end_matches('.').parse::<u16>().ok()
            })
            .expect("chromedriver says its port");
        // Its output is read to the end, so that it never blocks on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(120))
            .build()
            .expect("a client without TLS roots");
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": {
                "binary": browser,
                "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"],
            },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let answer: Value = client
            .post(format!("http://127.0.0.1:{port}/session"))
            .json(&capabilities)
            .send()
            .await
            .expect("chromedriver answers")
            .json()
            .await
            .expect("JSON");
        let id = answer["value"]["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("a session: {answer}"));
        Some(Browser {
            session: format!("http://127.0.0.1:{port}/session/{id}"),
            client,
            driver,
            _scratch: scratch,
        })
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer: Value = self
            .client
            .post(format!("{}{path}", self.session))
            .json(&body)
            .send()
            .await
            .expect("chromedriver answers")
            .json()
            .await
            .expect("JSON");
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].clone()
    }

    pub(crate) async fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    /// Runs the body of a function and returns what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] }))
            .await
    }

    /// Presses keys in whatever has the focus.
    pub(crate) async fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                let key = key.to_string();
                [
                    json!({ "type": "keyDown", "value": key }),
                    json!({ "type": "keyUp", "value": key }),
                ]
            })
            .collect();
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.post("/actions", body).await;
    }

    /// Shows the page as a screen of this width does, light or dark.
    pub(crate) async fn screen(&self, width: u32, dark: bool) {
        let metrics =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.command("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.command("Emulation.setEmulatedMedia", media).await;
    }

    async fn command(&self, name: &str, parameters: Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            json!({ "cmd": name, "params": parameters }),
        )
        .await
    }

    /// The whole page as a PNG.
    pub(crate) async fn screenshot(&self) -> String {
        let parameters = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.command("Page.captureScreenshot", parameters).await;
        picture["data"].as_str().expect("base64").to_owned()
    }

    /// Errors that the page has written to the console.
    pub(crate) async fn console_errors(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({ "type": "browser" })).await;
        entries
            .as_array()
            .expect("a list")
            .iter()
            .filter(|entry| entry["level"] == "SEVERE")
            .map(Value::to_string)
            .collect()
    }

    /// Serious findings of axe-core, or `None`, with the reason, where its script is not there.
    pub(crate) async fn accessibility(&self) -> Option<Vec<String>> {
        let script = axe()?;
        self.run(&script).await;
        let run = "const done = arguments[arguments.length - 1]; axe.run().then((result) => done(result.violations \
                   .filter((found) => ['serious', 'critical'].includes(found.impact)) \
                   .map((found) => found.id + ': ' + found.nodes.map((node) => node.target).join(', '))));";
        let found = self
            .post("/execute/async", json!({ "script": run, "args": [] }))
            .await;
        let found = found.as_array().expect("a list").iter();
        Some(
            found
                .map(|text| text.as_str().unwrap_or_default().to_owned())
                .collect(),
        )
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.client.delete(&self.session).send().await;
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A test that fails must not leave its browser behind: chromedriver ends it.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// axe-core's script: of the file that `AXE_CORE_JS` names, or of the Python package `axe-core-python`, which is
/// unpacked once below the target folder.
fn axe() -> Option<String> {
    if let Some(file) = std::env::var_os("AXE_CORE_JS") {
        return Some(std::fs::read_to_string(file).expect("AXE_CORE_JS names a readable file"));
    }
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe-core-python");
    let script = cache.join("axe_core_python/axe.min.js");
    if !script.is_file() {
        let installed = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
            .arg(&cache)
            .arg("axe-core-python==0.1.0")
            .status();
        if !installed.is_ok_and(|status| status.success()) {
            eprintln!(
                "accessibility not checked: pip cannot install axe-core-python; AXE_CORE_JS may name axe.min.js"
            );
            return None;
        }
    }
    Some(std::fs::read_to_string(&script).expect("the package has axe.min.js"))
}
