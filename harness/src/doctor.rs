//! What was found on this machine, for each missing thing the one command that mends it, and whether
//! a provider could serve.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use futures::future::join_all;
use rustix::fs::Access;

use crate::background::{blocking, in_background};
use crate::binaries::wheel::{self, Wheel};
use crate::binaries::{self, BinaryError, Found, chain};
use crate::engine::Engine;
use crate::images::{self, Image};
use crate::process::Account;
use crate::provider::{Provider, ProviderChoice};
use crate::run_directory;

/// Whether a thing can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It is there.
    Here,
    /// It is not there, but the first use fetches it.
    AtFirstUse,
    /// It is not there, and nothing fetches it.
    Missing,
}

/// One thing that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub name: String,
    /// Whether it can be had.
    pub availability: Availability,
    /// The providers that cannot serve without it.
    pub needed_by: &'static [Provider],
    /// What was found, or why it matters.
    pub detail: String,
    /// What mends it, when it is not here.
    pub remedy: Option<String>,
}

const DOCKER: &[Provider] = &[Provider::Docker];
const NATIVE: &[Provider] = &[Provider::Native];
const BOTH: &[Provider] = &[Provider::Docker, Provider::Native];
const NONE: &[Provider] = &[];

impl Finding {
    fn here(
        name: impl Into<String>,
        needed_by: &'static [Provider],
        detail: impl Into<String>,
    ) -> Finding {
        Finding {
            name: name.into(),
            availability: Availability::Here,
            needed_by,
            detail: detail.into(),
            remedy: None,
        }
    }

    fn absent(
        name: impl Into<String>,
        availability: Availability,
        needed_by: &'static [Provider],
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        let remedy = Some(remedy.into());
        Finding {
            name: name.into(),
            availability,
            needed_by,
            detail: detail.into(),
            remedy,
        }
    }

    fn missing(
        name: impl Into<String>,
        needed_by: &'static [Provider],
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding::absent(name, Availability::Missing, needed_by, detail, remedy)
    }
}

/// Which providers could serve, of those that may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    choice: ProviderChoice,
    docker: bool,
    native: bool,
}

impl Verdict {
    /// By what was found: a provider can serve when nothing that it needs is missing.
    #[must_use]
    pub fn of(choice: ProviderChoice, findings: &[Finding]) -> Verdict {
        let can = |provider| {
            findings.iter().all(|finding| {
                finding.availability != Availability::Missing
                    || !finding.needed_by.contains(&provider)
            })
        };
        Verdict {
            choice,
            docker: can(Provider::Docker),
            native: can(Provider::Native),
        }
    }

    /// The provider that a test would get now.
    #[must_use]
    pub fn provider(self) -> Option<Provider> {
        let docker = self.docker && self.choice != ProviderChoice::Native;
        let native = self.native && self.choice != ProviderChoice::Docker;
        match (docker, native) {
            (true, _) => Some(Provider::Docker),
            (false, true) => Some(Provider::Native),
            (false, false) => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = match self.choice {
            ProviderChoice::Auto => None,
            ProviderChoice::Docker => Some(Provider::Docker),
            ProviderChoice::Native => Some(Provider::Native),
        };
        let could = match (self.docker, self.native) {
            (true, true) => "both could serve",
            (true, false) => "only docker could serve",
            (false, true) => "only native could serve",
            (false, false) => "neither provider could serve: mend what is missing for one",
        };
        match (self.provider(), asked) {
            (Some(provider), None) => write!(formatter, "tests run here, on {provider}; {could}"),
            (Some(provider), Some(_)) => write!(
                formatter,
                "tests run here, on {provider} as HARNESS_PROVIDER asks; {could}"
            ),
            (None, None) => write!(formatter, "tests do not run here; {could}"),
            (None, Some(asked)) => write!(
                formatter,
                "tests do not run here, on {asked} as HARNESS_PROVIDER asks; {could}"
            ),
        }
    }
}

/// What `doctor` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// Everything that was looked for.
    pub findings: Vec<Finding>,
    /// What it amounts to.
    pub verdict: Verdict,
}

/// Looks at everything either provider needs. Downloads nothing and starts nothing; asks the registry
/// and the package index for what is not here.
pub async fn examine(choice: ProviderChoice) -> Examination {
    in_background(async move {
        let mut findings = blocking(folders).await;
        findings.extend(docker().await);
        findings.extend(blocking(native).await);
        let verdict = Verdict::of(choice, &findings);
        Examination { findings, verdict }
    })
    .await
}

fn folders() -> Vec<Finding> {
    let cache = wheel::cache_folder();
    let remedy = format!(
        "set {} to a folder that can be written",
        wheel::CACHE_VARIABLE
    );
    vec![
        match run_directory::root() {
            Ok(root) => Finding::here("folder of runs", BOTH, root.display().to_string()),
            Err(error) => {
                let remedy = "set TMPDIR to a folder of yours with room in it";
                Finding::missing("folder of runs", BOTH, error.to_string(), remedy)
            }
        },
        match writable(&cache) {
            Ok(()) => Finding::here("cache", NONE, cache.display().to_string()),
            // What it lacks says so in a line of its own.
            Err(reason) => {
                let detail = format!("{}: {reason}", cache.display());
                Finding::missing("cache", NONE, detail, remedy)
            }
        },
    ]
}

/// Whether files can be made in a folder, or in the nearest one above it that exists.
fn writable(folder: &Path) -> Result<(), String> {
    let nearest = folder.ancestors().find(|above| above.exists());
    let nearest = nearest.unwrap_or(Path::new("."));
    if !nearest.is_dir() {
        return Err("it is not a folder".to_owned());
    }
    rustix::fs::access(nearest, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| error.to_string())
}

async fn docker() -> Vec<Finding> {
    let engine = match Engine::connect().await {
        Ok(engine) => engine,
        Err(error) => {
            let remedy = "start Docker (for example `systemctl start docker`); the native provider does without";
            let detail = chain(&error);
            return vec![Finding::missing("docker engine", DOCKER, detail, remedy)];
        }
    };
    let version = engine.version().await.unwrap_or_else(|error| chain(&error));
    let mut findings = vec![Finding::here("docker engine", DOCKER, version)];
    let images = images::ALL.iter().map(|image| self::image(&engine, image));
    findings.extend(join_all(images).await);
    findings
}

async fn image(engine: &Engine, image: &Image) -> Finding {
    let name = format!("image {}", image.service);
    // The stack starts without it; it is for programs under test.
    let needed_by = if *image == images::BASE { NONE } else { DOCKER };
    let build = "`cargo run -p harness -- images` builds it here";
    let (wanted, found, remedy) = match image.named() {
        Some(named) => {
            let remedy = format!("correct or unset {}={named}", image.variable);
            let found = engine.has_image(&named).await;
            (
                named.clone(),
                found.map(|there| there.then_some(named)),
                remedy,
            )
        }
        None => {
            let found = image.present(engine).await;
            let found = found.map(|there| there.map(str::to_owned));
            (image.official.to_owned(), found, build.to_owned())
        }
    };
    match found {
        Ok(Some(found)) => Finding::here(name, needed_by, found),
        Ok(None) => match engine.offered(&wanted).await {
            Ok(()) => {
                let detail = format!("{wanted} is not here; pulled at the first use");
                Finding::absent(name, Availability::AtFirstUse, needed_by, detail, remedy)
            }
            Err(error) => {
                let detail = format!(
                    "{wanted} is not here and cannot be pulled: {}",
                    chain(&error)
                );
                Finding::missing(name, needed_by, detail, remedy)
            }
        },
        Err(error) => Finding::missing(name, needed_by, chain(&error), "restart Docker"),
    }
}

fn native() -> Vec<Finding> {
    let account = match Account::for_servers() {
        Ok(account) => account,
        Err(error) => {
            let remedy = "run as another user than root, or add a user `postgres`";
            let detail = error.to_string();
            return vec![Finding::missing(
                "account for servers",
                NATIVE,
                detail,
                remedy,
            )];
        }
    };
    let python = Command::new("python3")
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    let python = match python {
        Ok(output) => {
            let version = String::from_utf8_lossy(&output.stdout);
            Finding::here("python3", NONE, version.trim())
        }
        Err(error) => {
            let remedy = "`apt-get install python3-pip`; only needed to fetch missing servers";
            Finding::missing("python3", NONE, error.to_string(), remedy)
        }
    };
    let postgres = binaries::postgres(account, None);
    let redis = binaries::redis(account, None);
    vec![
        server(
            "postgres",
            postgres,
            &binaries::POSTGRES_WHEEL,
            "`apt-get install postgresql`",
        ),
        server(
            "redis-server",
            redis,
            &binaries::REDIS_WHEEL,
            "`apt-get install redis-server`",
        ),
        python,
    ]
}

fn server(name: &str, found: Result<Found, BinaryError>, wheel: &Wheel, install: &str) -> Finding {
    let package = match found {
        Ok(found) => {
            let Found {
                program,
                version,
                origin,
            } = found;
            let detail = format!("{version}, {origin}: {}", program.display());
            return Finding::here(name, NATIVE, detail);
        }
        Err(error @ BinaryError::BadVariable { .. }) => {
            let remedy = "correct or unset the variable";
            return Finding::missing(name, NATIVE, chain(&error), remedy);
        }
        // The wheel is in the cache, and its program does not run.
        Err(BinaryError::NotFound { reason, .. }) if wheel.unpacked().is_ok() => {
            return Finding::missing(name, NATIVE, reason, install);
        }
        Err(BinaryError::NotFound { package, .. }) => package,
    };
    let fetchable = writable(&wheel::cache_folder()).and_then(|()| {
        let offered = wheel.offered();
        offered.map_err(|error| chain(&error))
    });
    match fetchable {
        Ok(()) => Finding::absent(
            name,
            Availability::AtFirstUse,
            NATIVE,
            format!("not on this machine; {package} is fetched at the first use"),
            format!("{install}, if it should be the machine's own"),
        ),
        Err(reason) => Finding::missing(
            name,
            NATIVE,
            format!("not on this machine, and {package} cannot be fetched: {reason}"),
            install,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Availability::{AtFirstUse, Here, Missing};

    fn finding(availability: Availability, needed_by: &'static [Provider]) -> Finding {
        Finding {
            availability,
            ..Finding::here("thing", needed_by, "")
        }
    }

    #[test]
    fn tests_run_where_the_provider_that_is_asked_for_lacks_nothing() {
        use ProviderChoice::{Auto, Docker, Native};
        for (choice, docker, native, expected) in [
            (Auto, Here, Here, Some(Provider::Docker)),
            (Auto, Missing, Here, Some(Provider::Native)),
            (Auto, Here, Missing, Some(Provider::Docker)),
            (Auto, AtFirstUse, Missing, Some(Provider::Docker)),
            (Auto, Missing, AtFirstUse, Some(Provider::Native)),
            (Auto, Missing, Missing, None),
            (Docker, Missing, Here, None),
            (Docker, AtFirstUse, Here, Some(Provider::Docker)),
            (Native, Here, Missing, None),
            (Native, Missing, Here, Some(Provider::Native)),
        ] {
            let findings = [finding(docker, DOCKER), finding(native, NATIVE)];
            let verdict = Verdict::of(choice, &findings);
            assert_eq!(
                verdict.provider(),
                expected,
                "{choice:?} {docker:?} {native:?}: {verdict}"
            );
            let said = verdict.to_string();
            assert_eq!(
                said.starts_with("tests run here"),
                expected.is_some(),
                "{said}"
            );
        }
    }

    #[test]
    fn what_no_provider_needs_stops_none_and_what_both_need_stops_both() {
        let idle = [finding(Missing, NONE)];
        let verdict = Verdict::of(ProviderChoice::Auto, &idle);
        assert_eq!(verdict.provider(), Some(Provider::Docker));
        let both = [finding(Missing, BOTH), finding(Here, DOCKER)];
        let verdict = Verdict::of(ProviderChoice::Auto, &both);
        assert_eq!(verdict.provider(), None);
        assert_eq!(
            verdict.to_string(),
            "tests do not run here; neither provider could serve: mend what is missing for one"
        );
    }
}
