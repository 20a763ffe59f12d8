//! Runs the service under planned Poisson arrivals: one of our own backends, or somebody else's.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::{DOCUMENT_PAGES, RunError, Runner, Surroundings};
use crate::measurement::{Load, Mark, OpenRun, Plan, Shape, Shard};
use crate::observation::completed_per_hour;
use crate::reduce::{Watched, experience, observer_marks};
use crate::sampler::{Sampler, Samples, unix_s};
use crate::scenarios::planned_users::{self, ClientSender, Sent};
use crate::scenarios::proposal_writer::{Accounts, Campaign};
use crate::schedule::arrivals_s;
use crate::source_document::source_document;

/// An arrival may be late by this share of a generation, or by [`LATE_MIN`].
const LATE_SHARE: f64 = 0.01;
/// The scheduler of a busy machine is late by a few milliseconds; a network is too.
const LATE_MIN: Duration = Duration::from_millis(10);
/// From the last preparation to the start of the schedule.
const LEAD: Duration = Duration::from_millis(200);

/// What to run, and which arrivals to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenSpec {
    /// The backend.
    pub shape: Shape,
    /// The schedule.
    pub plan: Plan,
    /// Its part that this process sends.
    pub shard: Shard,
}

/// Somebody else's deployment of the service.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its address, such as `https://staging.example.com`.
    pub url: String,
    /// As whom to come.
    pub accounts: Accounts,
    /// Its workers, all tasks together: what worker utilisation is a share of.
    pub workers: u32,
}

impl Runner<'_> {
    /// Measures one run under planned arrivals; `progress` is told the share that is done, 0 to 1.
    ///
    /// # Errors
    /// When a part of the stack fails, or the backend refuses its users.
    pub async fn open_run(
        &self,
        spec: OpenSpec,
        progress: impl Fn(f64),
    ) -> Result<OpenRun, RunError> {
        let running = self
            .set_up(spec.shape, "open", &Surroundings::default())
            .await?;
        let campaign = Campaign::new(self.document.clone(), DOCUMENT_PAGES, Accounts::Own);
        let base_url = running.backend.base_url().to_owned();
        let part = Part {
            plan: spec.plan,
            shard: spec.shard,
            workers: spec.shape.workers,
        };
        let pid = running.backend.pid();
        let sent = tokio::select! {
            sent = send(&campaign, &base_url, &self.load, part, progress) => Some(sent),
            () = ended(pid) => None,
        };
        let (Watched { samples, .. }, log) = running.tear_down().await;
        let Some(sent) = sent else {
            return Err(RunError::BackendEnded {
                shape: spec.shape,
                first_error: campaign.errors().into_iter().next().unwrap_or_default(),
                log: super::last_lines(&log),
            });
        };
        let (sent, start_s) = sent?;
        let window = part.window(start_s);
        let cpu_s = samples.cpu(window.0, window.1).total_s();
        let mut run = reduce(&campaign, sent, start_s, part, &samples, &self.load);
        run.shape = Some(spec.shape);
        run.cpu_utilization = Some(cpu_s / (window.1 - window.0) / spec.shape.vcpu);
        Ok(run)
    }
}

/// Waits until a process is gone.
async fn ended(pid: u32) {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while crate::sampler::memory_kib(pid).is_some() {
        ticks.tick().await;
    }
}

/// What one process sends, and to how many workers.
#[derive(Clone, Copy, Debug)]
struct Part {
    plan: Plan,
    shard: Shard,
    workers: u32,
}

impl Part {
    /// The window that is judged, of a schedule that began at `start_s`.
    fn window(&self, start_s: f64) -> (f64, f64) {
        (start_s + self.plan.warmup_s, start_s + self.plan.length_s)
    }

    /// The arrivals to send, in compressed seconds after the start.
    fn arrivals_s(&self, load: &Load) -> Vec<f64> {
        arrivals_s(&self.plan, load.speedup, self.shard)
    }
}

/// Measures a run against a deployment that this program did not start. Its generations last as long
/// as they last: `load` only says how the schedule is compressed (a speed-up of 1: not at all).
///
/// # Errors
/// When the target is down, refuses its users, or the document cannot be made.
pub async fn at_target(
    target: &Target,
    load: &Load,
    plan: Plan,
    shard: Shard,
    progress: impl Fn(f64),
) -> Result<OpenRun, RunError> {
    let document = source_document(DOCUMENT_PAGES)?;
    let campaign = Campaign::new(document, DOCUMENT_PAGES, target.accounts.clone());
    let sampler = Sampler::start_without_backend();
    let part = Part {
        plan,
        shard,
        workers: target.workers,
    };
    let sent = send(&campaign, &target.url, load, part, progress).await;
    let samples = sampler.finish().await;
    let (sent, start_s) = sent?;
    let mut run = reduce(&campaign, sent, start_s, part, &samples, load);
    run.target = Some(target.url.clone());
    Ok(run)
}

/// Logs in, then sends the planned arrivals. The instant at which the schedule began is in seconds
/// since the Unix epoch.
async fn send(
    campaign: &Arc<Campaign>,
    base_url: &str,
    load: &Load,
    part: Part,
    progress: impl Fn(f64),
) -> Result<(Sent, f64), RunError> {
    let refused = |error: crate::scenarios::proposal_writer::StepError| RunError::Target {
        target: base_url.to_owned(),
        reason: error.to_string(),
    };
    let mut sender = ClientSender::new(base_url).map_err(refused)?;
    planned_users::enter_all(&mut sender, campaign)
        .await
        .map_err(refused)?;
    let at_s = part.arrivals_s(load);
    let start = Instant::now() + LEAD;
    let start_s = unix_s(SystemTime::now() + LEAD);
    let late = LATE_MIN.max(Duration::from_secs_f64(
        load.compressed_generation_ms() / 1000.0 * LATE_SHARE,
    ));
    let length_s = part.plan.length_s;
    let sending = planned_users::run(campaign, &sender, &at_s, start, length_s, late);
    tokio::pin!(sending);
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let sent = loop {
        tokio::select! {
            sent = &mut sending => break sent,
            _ = ticks.tick() => progress((start.elapsed().as_secs_f64() / length_s).min(1.0)),
        }
    };
    Ok((sent, start_s))
}

fn reduce(
    campaign: &Campaign,
    sent: Sent,
    start_s: f64,
    part: Part,
    samples: &Samples,
    load: &Load,
) -> OpenRun {
    let window = part.window(start_s);
    let tracks = campaign.tracks();
    let records = campaign.records();
    let failed = records
        .iter()
        .filter(|record| record.failure.is_some())
        .count();
    let failures = u64::try_from(failed).unwrap_or(u64::MAX) + sent.failed;
    let observer = samples.observer(window.0, window.1);
    let mut marks = observer_marks(&observer);
    if failures > 0 {
        marks.push(Mark::Failures);
    }
    let first_failure = records
        .iter()
        .find_map(|record| record.failure.clone())
        .or_else(|| campaign.errors().into_iter().next());
    let planned = u64::try_from(part.arrivals_s(load).len()).unwrap_or(u64::MAX);
    let completed = u64::try_from(records.len() - failed).unwrap_or(u64::MAX);
    OpenRun {
        shape: None,
        target: None,
        plan: part.plan,
        shards: vec![part.shard],
        planned,
        dropped_arrivals: sent.dropped_arrivals,
        completed,
        failures,
        first_failure,
        // Every visit ends in one of three ways; one that the service had not even accepted counts too.
        censored: planned.saturating_sub(completed + failures),
        throughput_per_hour: completed_per_hour(&tracks, window.0, window.1),
        latency: sent.latency,
        lateness: sent.lateness,
        experience: experience(&tracks, part.workers, start_s, window),
        cpu_utilization: None,
        observer,
        marks,
        complete: true,
    }
}
