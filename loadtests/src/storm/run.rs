//! Starts everything, lets the storm pass, and audits what it has left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::openai::LoadOpenAi;
use harness::{Stack, Template};
use serde::Serialize;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::audit::{Audit, Interruption, Outage, audit};
use super::clients::{Answers, Clients, Told};
use super::evidence::{self, EvidenceError};
use super::fleet::{Fleet, FleetError};
use super::receiver::Receiver;
use super::settings::Size;
use super::weather::{self, Struck, Weather, WeatherError};
use crate::backend_process::{self, BackendError, chain};
use crate::hardware::Hardware;
use crate::progress::Progress;
use crate::reference::user::UserError;
use crate::source_document::source_document;
use crate::stats::count_as_f64;

/// Pages of the document that orders read.
const DOCUMENT_PAGES: usize = 3;
/// How often it is looked how far things are.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often is said how far things are, where there is no bar.
const SAY_EVERY: Duration = Duration::from_secs(15);

/// A storm that has passed; `storm.json` is this, to the letter.
#[derive(Clone, Debug, Serialize)]
pub struct Storm {
    /// The command that reproduces it.
    pub command: String,
    /// Where it was, and which commit it struck.
    pub hardware: Hardware,
    /// How large it was.
    pub size: Size,
    /// Seconds from the first order until all was calm and over.
    pub took_s: f64,
    /// Orders that were made; fewer than asked for when the time ran out.
    pub ordered: usize,
    /// The verdict.
    pub audit: Audit,
    /// What happened, in order.
    pub struck: Vec<Struck>,
    /// Paths to Postgres and `OpenAI` that were broken, by which the audit explains responses.
    pub outages: Vec<Outage>,
    /// Kills and freezes, by which it does as well.
    pub interruptions: Vec<Interruption>,
    /// How often clients met which answer.
    pub answers: Answers,
    /// Milliseconds from the first try to order until the end was known: the middle one and the longest.
    pub waited_ms: Option<(u64, u64)>,
}

impl Storm {
    /// Whether everything was ordered, so that a clean audit says something about all of it.
    pub fn is_whole(&self) -> bool {
        u64::try_from(self.ordered) == Ok(u64::from(self.size.generations))
            && self.audit.never_accepted == 0
    }
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum StormError {
    /// The stack.
    #[error("start the stack")]
    Stack(#[source] harness::StackError),
    /// The sandbox.
    #[error("prepare a sandbox")]
    Sandbox(#[source] harness::SandboxError),
    /// The scripted `OpenAI`.
    #[error("start the scripted OpenAI: {0}")]
    OpenAi(String),
    /// The document.
    #[error("make the document to upload")]
    Document(#[from] lopdf::Error),
    /// The binary.
    #[error(transparent)]
    Binary(#[from] BackendError),
    /// The backends.
    #[error("start the backends")]
    Fleet(#[from] FleetError),
    /// The receiver of webhooks.
    #[error("listen for webhooks")]
    Receiver(#[source] std::io::Error),
    /// The accounts.
    #[error("register the accounts")]
    Accounts(#[from] UserError),
    /// The storm itself.
    #[error(transparent)]
    Weather(#[from] WeatherError),
    /// What it has left.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The database.
    #[error("connect to the sandbox's database")]
    Database(#[from] sqlx::Error),
    /// The logs.
    #[error("keep the backends' logs in {}", .0.display())]
    Logs(PathBuf, #[source] std::io::Error),
}

/// Runs a storm. The backends' logs are kept in `logs` when its audit is not clean.
///
/// # Errors
/// When the stack, a backend that no fault was meant for, or the evidence fails: there is no verdict then.
pub async fn run(
    workspace: &Path,
    size: Size,
    backend: Option<&Path>,
    logs: &Path,
    progress: &Progress,
) -> Result<Storm, StormError> {
    progress.say("starting Postgres, Redis and S3");
    let stack = Stack::start().await.map_err(StormError::Stack)?;
    progress.say(stack.provider_reason());
    let binary = match backend {
        Some(binary) => binary.to_owned(),
        None => {
            let command = backend_process::build_command();
            progress.say(&format!("building the backend ({command})"));
            backend_process::build(workspace).await?
        }
    };
    let hardware = Hardware::of_stack(&stack, workspace).await;
    let template = Template::from_command("backend", &binary, &["migrate"]);
    let sandbox = stack
        .sandbox(&template)
        .await
        .map_err(StormError::Sandbox)?;
    let database = PgPool::connect(sandbox.database_url()).await?;
    let openai = LoadOpenAi::start(size.fair_weather(0))
        .await
        .map_err(|error| StormError::OpenAi(chain(&error)))?;
    openai.keep_journal();
    let services = (&sandbox, &openai);
    let fleet = Fleet::start(&stack, &binary, services, &size, database.clone()).await?;
    let receiver = Receiver::start(size.seed)
        .await
        .map_err(StormError::Receiver)?;
    let document = source_document(DOCUMENT_PAGES)?;
    let clients = Clients::enter(&fleet, &receiver, &size, document).await?;
    let began = Instant::now();
    let weather = pass(&fleet, &openai, &clients, &size, progress).await?;
    let took_s = began.elapsed().as_secs_f64();
    evidence::outbox_emptied(&database, size.patience()).await?;
    progress.say("auditing");
    let journal = openai.journal();
    let seen = (&fleet, &clients);
    let mut facts = evidence::collect(seen, &sandbox, &database, journal, &weather).await?;
    facts.deliveries = receiver.deliveries(&clients.secrets());
    let audit = audit(&facts);
    let Told {
        orders,
        answers,
        took_ms,
    } = clients.told();
    drop(clients);
    if !audit.is_clean() {
        keep_logs(&fleet, logs)?;
    }
    fleet.end().await;
    openai.stop().await;
    database.close().await;
    drop(sandbox);
    stack.stop().await.map_err(StormError::Stack)?;
    Ok(Storm {
        command: command(&size),
        hardware,
        size,
        took_s,
        ordered: orders.len(),
        audit,
        struck: weather.struck,
        outages: weather.outages,
        interruptions: weather.interruptions,
        answers,
        waited_ms: took_ms
            .last()
            .map(|longest| (took_ms[took_ms.len() / 2], *longest)),
    })
}

/// The command that lets the same storm loose again.
fn command(size: &Size) -> String {
    let Size {
        generations,
        in_flight,
        speedup,
        seed,
        timeout_s,
    } = size;
    format!(
        "cargo sizing storm --generations {generations} --in-flight {in_flight} --speedup {speedup} --seed {seed} \
         --timeout {timeout_s}"
    )
}

/// The storm: orders and faults at the same time, then calm until everything has ended or nobody waits any more.
async fn pass(
    fleet: &Fleet<'_>,
    openai: &LoadOpenAi,
    clients: &Clients<'_, '_>,
    size: &Size,
    progress: &Progress,
) -> Result<Weather, WeatherError> {
    let calm = watch::Sender::new(false);
    let calmed = calm.subscribe();
    let weather = async {
        let played = weather::play(fleet, openai, size, &calmed).await;
        if played.is_err() {
            // Without it there is nothing to wait for.
            clients.give_up();
        }
        played
    };
    let ordering = async {
        clients.run().await;
        calm.send_replace(true);
    };
    let clock = async {
        let generations = usize::try_from(size.generations).unwrap_or(usize::MAX);
        let deadline = Instant::now() + Duration::from_secs(size.timeout_s);
        let mut storm_until = deadline;
        let mut gives_up_at = None;
        let mut says_at = Instant::now();
        loop {
            sleep(LOOK_EVERY).await;
            let now = Instant::now();
            progress.at(count_as_f64(clients.ended()));
            if clients.accepted() == generations && storm_until == deadline {
                // All of the last ones shall meet some of it too.
                storm_until = deadline.min(now + size.generation() * 2);
            }
            if now >= storm_until && gives_up_at.is_none() {
                clients.close();
                calm.send_replace(true);
                gives_up_at = Some(now + size.patience());
            }
            if gives_up_at.is_some_and(|at| now >= at) {
                clients.give_up();
                return;
            }
            if now >= says_at {
                let (accepted, ended) = (clients.accepted(), clients.ended());
                progress.say(&format!(
                    "{accepted} of {generations} accepted, {ended} ended"
                ));
                says_at = now + SAY_EVERY;
            }
        }
    };
    let ((), played) = tokio::join!(
        async {
            tokio::select! {
                () = ordering => {}
                // Whoever has given up ends the ordering.
                () = clock => {}
            }
        },
        weather
    );
    played
}

fn keep_logs(fleet: &Fleet<'_>, folder: &Path) -> Result<(), StormError> {
    let failed = |error| StormError::Logs(folder.to_owned(), error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    for log in fleet.logs() {
        if let Some(name) = log.file_name() {
            std::fs::copy(&log, folder.join(name)).map_err(failed)?;
        }
    }
    Ok(())
}
