//! What becomes of generations in flight when their service stops, dies, or recycles its workers.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::openai::{Created, LoadOpenAi};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::reference::held;
use crate::reference::service::{CALLS_PER_GENERATION, Kind, Service, ServiceError, Started};
use crate::reference::user::{Generation, User, client};

/// Real seconds between SIGTERM and SIGKILL: the default of ECS (`stopTimeout`).
pub(super) const STOP_TIMEOUT_S: f64 = 30.0;
/// How often `/health` is asked while workers are recycled.
pub(super) const HEALTH_EVERY: Duration = Duration::from_millis(100);
/// Patience with one such question: the default of a load balancer's health check.
pub(super) const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// The seed service's Dockerfile, `facts/peer.md` section 5.
const MAX_REQUESTS: (u32, u32) = (100, 20);

/// What happens to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A deployment: SIGTERM, and SIGKILL 30 s (compressed) later if anything is left.
    Sigterm,
    /// A crash or an out-of-memory kill: SIGKILL to all processes.
    Sigkill,
    /// Gunicorn's `--max-requests 100 --max-requests-jitter 20`.
    MaxRequests,
    /// Each request stays open for its generation, behind a load balancer that cuts it after 60 s of silence, AWS's
    /// default; asked once more afterwards.
    HeldFor60S,
    /// The same, cut after 4000 s, the longest that AWS offers.
    HeldFor4000S,
}

impl Event {
    /// All of them, in the order of tables.
    pub const ALL: [Event; 5] = [
        Event::Sigterm,
        Event::Sigkill,
        Event::MaxRequests,
        Event::HeldFor60S,
        Event::HeldFor4000S,
    ];

    /// What it is called in tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::Sigterm => "SIGTERM, SIGKILL after 30 s",
            Self::Sigkill => "SIGKILL",
            Self::MaxRequests => "worker recycling (--max-requests)",
            Self::HeldFor60S => "request held open, cut after 60 s of silence",
            Self::HeldFor4000S => "request held open, cut after 4000 s of silence",
        }
    }

    /// Whether it can happen to a service.
    pub fn applies_to(self, kind: Kind) -> bool {
        self != Self::MaxRequests || kind != Kind::Rust
    }
}

/// What became of the generations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fate {
    /// What happened.
    pub event: Event,
    /// Generations in flight at that moment.
    pub in_flight: u32,
    /// Of these, ended with a PDF in the end, after a restart where there was one.
    pub finished: u32,
    /// Of these, never.
    pub lost: u32,
    /// Responses that OpenAI was asked for, and would bill, beyond those that the finished ones needed.
    pub responses_wasted: u64,
    /// Of these, asked for again at a step of the same generation; the others are of generations that nobody was told
    /// of. Absent in older recordings.
    pub responses_repeated: Option<u64>,
    /// Seconds from SIGTERM or SIGKILL until the last process had gone, as measured. SIGKILL comes after 30 s divided by
    /// the speed-up; what processes take to end does not shrink.
    pub stop_s: Option<f64>,
    /// Whether anything was left for SIGKILL after SIGTERM; absent in older recordings and where there was no SIGTERM.
    #[serde(default)]
    pub killed: Option<bool>,
    /// Longest time without an answer of `/health` while the service was meant to run, in seconds as measured. Of it, the
    /// wait for generations has shrunk with the speed-up, and the start of processes has not.
    pub unanswered_s: Option<f64>,
}

impl Fate {
    /// What became of `in_flight` generations of which `finished` ended with a PDF, by the journal of what OpenAI was
    /// asked for.
    pub(super) fn of(event: Event, in_flight: u32, finished: usize, openai: &LoadOpenAi) -> Self {
        let finished =
            u32::try_from(finished).map_or(in_flight, |finished| finished.min(in_flight));
        let (wasted, repeated) = wasted(&openai.journal(), finished);
        Self {
            event,
            in_flight,
            finished,
            lost: in_flight - finished,
            responses_wasted: wasted,
            responses_repeated: Some(repeated),
            stop_s: None,
            killed: None,
            unanswered_s: None,
        }
    }
}

/// Responses beyond those that `finished` generations needed; and of these, those that were asked for again at a step of
/// the same generation.
fn wasted(created: &[Created], finished: u32) -> (u64, u64) {
    let count = |responses: usize| u64::try_from(responses).unwrap_or(u64::MAX);
    let steps: BTreeSet<_> = created.iter().map(|one| &one.metadata).collect();
    let needed = u64::from(CALLS_PER_GENERATION * finished);
    let wasted = count(created.len()).saturating_sub(needed);
    let repeated = count(created.len() - steps.len());
    (wasted, repeated.min(wasted))
}

/// Lets `event` happen to a service with generations in flight, and counts them afterwards.
///
/// # Errors
/// When the service cannot be started or does not take generations.
pub async fn of(
    service: &Service<'_>,
    event: Event,
    document: &[u8],
) -> Result<Fate, ServiceError> {
    match event {
        Event::HeldFor60S => return held::of(service, (event, 60.0), document).await,
        Event::HeldFor4000S => return held::of(service, (event, 4000.0), document).await,
        Event::Sigterm | Event::Sigkill | Event::MaxRequests => {}
    }
    let conditions = *service.conditions();
    let sandbox = service.sandbox().await?;
    let openai = conditions.openai().await?;
    openai.keep_journal();
    let name = format!("fate-{event:?}").to_lowercase();
    let extra = match event {
        Event::MaxRequests => vec![
            ("GUNICORN_MAX_REQUESTS", MAX_REQUESTS.0.to_string()),
            ("GUNICORN_MAX_REQUESTS_JITTER", MAX_REQUESTS.1.to_string()),
        ],
        _ => vec![],
    };
    let started = service.start(&sandbox, &openai, &name, &extra).await?;
    let user = User::enter(started.base_url(), document.to_vec()).await?;
    let mut begun = Vec::new();
    for _ in 0..conditions.generations {
        begun.push(user.begin().await?);
    }
    let (ended, stop, unanswered_s, last) = match event {
        Event::MaxRequests => {
            let unanswered_s =
                through_recycling(&started, &user, &begun, conditions.generation()).await?;
            started.stop().await;
            // Asked of workers that are not recycled: polls that hang hide what has long been finished.
            let again = service
                .start(&sandbox, &openai, &format!("{name}-again"), &[])
                .await?;
            let deadline = Instant::now() + Duration::from_secs(15);
            let ended = follow(&user.at(again.base_url())?, &begun, deadline).await;
            (ended, None, Some(unanswered_s), again)
        }
        _ => {
            // In the middle of the second call.
            tokio::time::sleep(conditions.compressed(270.0)).await;
            let stop = end(&started, event, conditions.compressed(STOP_TIMEOUT_S)).await;
            started.stop().await;
            let again = service
                .start(&sandbox, &openai, &format!("{name}-again"), &extra)
                .await?;
            // Long enough for a lease to expire and for a whole generation from its beginning.
            let deadline = Instant::now() + conditions.generation() + Duration::from_secs(15);
            let ended = follow(&user.at(again.base_url())?, &begun, deadline).await;
            (ended, Some(stop), None, again)
        }
    };
    last.stop().await;
    let finished = ended.iter().filter(|end| end.succeeded()).count();
    let fate = Fate::of(event, conditions.generations, finished, &openai);
    openai.stop().await;
    Ok(Fate {
        stop_s: stop.map(|stop| stop.took_s),
        killed: stop.and_then(|stop| stop.killed),
        unanswered_s,
        ..fate
    })
}

/// How a service ended.
#[derive(Clone, Copy)]
struct Stop {
    /// Seconds until its last process had gone.
    took_s: f64,
    /// Whether SIGTERM was not enough, where it was sent.
    killed: Option<bool>,
}

/// Ends a service as its engine would.
async fn end(started: &Started, event: Event, stop_timeout: Duration) -> Stop {
    let began = Instant::now();
    let mut killed = None;
    if event == Event::Sigterm {
        started.terminate().await;
        killed = Some(!started.has_gone_within(stop_timeout).await);
    }
    if killed != Some(false) {
        started.kill().await;
        started.has_gone_within(Duration::from_secs(10)).await;
    }
    Stop {
        took_s: began.elapsed().as_secs_f64(),
        killed,
    }
}

/// The generations that have ended by `deadline`, each followed by a client of its own.
pub(super) async fn follow(
    user: &User,
    begun: &[Generation],
    deadline: Instant,
) -> Vec<Generation> {
    let mut clients = tokio::task::JoinSet::new();
    for generation in begun {
        let (user, id) = (user.clone(), generation.id.clone());
        clients.spawn(async move { user.follow(&id, deadline).await });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

/// Follows generations while polls wear the workers out; the longest outage of `/health` besides, in seconds.
async fn through_recycling(
    started: &Started,
    user: &User,
    begun: &[Generation],
    generation: Duration,
) -> Result<f64, ServiceError> {
    let deadline = Instant::now() + generation * 3 + Duration::from_secs(60);
    let http = client(HEALTH_TIMEOUT)?;
    let url = format!("{}/health", started.base_url());
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let probe = async move {
        let mut silence = Silence::default();
        while !*stopped.borrow_and_update() {
            silence.asked(Instant::now());
            let answer = http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                silence.answered(Instant::now());
            }
            tokio::time::sleep(HEALTH_EVERY).await;
        }
        silence.longest(Instant::now())
    };
    let follow = async {
        follow(user, begun, deadline).await;
        stop.send_replace(true);
    };
    let ((), longest) = tokio::join!(follow, probe);
    Ok(longest.as_secs_f64())
}

/// How long a service that is asked again and again leaves its clients without an answer.
#[derive(Debug, Default)]
struct Silence {
    /// When the first of the questions was asked that nothing has followed yet.
    since: Option<Instant>,
    longest: Duration,
}

impl Silence {
    fn asked(&mut self, at: Instant) {
        self.since.get_or_insert(at);
    }

    fn answered(&mut self, at: Instant) {
        self.longest = self.longest(at);
        self.since = None;
    }

    /// The longest silence until `now`, the one that lasts included.
    fn longest(&self, now: Instant) -> Duration {
        let lasts = self.since.map(|since| now.saturating_duration_since(since));
        self.longest.max(lasts.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(generation: &str, step: &str) -> Created {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Created {
            id: String::new(),
            at: Duration::ZERO,
            api_key: String::new(),
            metadata: vec![pair("generation_id", generation), pair("step", step)],
            fate: harness::openai::Fate::Sound,
        }
    }

    #[test]
    fn a_step_asked_for_again_is_paid_twice_and_one_of_a_lost_generation_for_nothing() {
        let whole = ["outline", "1", "2", "3", "4"].map(|step| created("whole", step));
        assert_eq!(wasted(&whole, 1), (0, 0));
        let mut all = whole.to_vec();
        all.push(created("whole", "2"));
        all.extend(["outline", "1"].map(|step| created("lost", step)));
        assert_eq!(wasted(&all, 1), (3, 1));
        // Written to the end, and nobody was told.
        assert_eq!(wasted(&whole, 0), (5, 0));
    }

    #[test]
    fn questions_that_are_given_up_and_asked_again_are_one_silence() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut silence = Silence::default();
        silence.asked(at(0));
        silence.answered(at(3));
        for asked in [100, 5_200, 10_300] {
            silence.asked(at(asked));
        }
        silence.answered(at(10_310));
        silence.asked(at(10_500));
        assert_eq!(silence.longest(at(10_600)), Duration::from_millis(10_210));
        // One that is still going on counts too.
        assert_eq!(silence.longest(at(30_500)), Duration::from_secs(20));
    }
}
