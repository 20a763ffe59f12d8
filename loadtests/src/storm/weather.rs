//! Plays a schedule: lane by lane, until it is told to stop, and then everything is mended.

use std::sync::Mutex;
use std::time::Duration;

use futures::future::join_all;
use harness::openai::LoadOpenAi;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::audit::{Interruption, Outage};
use super::fleet::{Fleet, now_ms};
use super::schedule::{Event, Fault, Lane, Seat, Service, Strike, lanes};
use super::settings::Size;
use crate::backend_process::BackendError;

/// What was done, in the order of its beginning.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// What happened, and when it did.
    pub struck: Vec<Struck>,
    /// Broken paths to Postgres and `OpenAI`.
    pub outages: Vec<Outage>,
    /// Kills and freezes.
    pub interruptions: Vec<Interruption>,
}

/// An event that was played.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Struck {
    /// As it was planned.
    #[serde(flatten)]
    pub event: Event,
    /// When it began, in milliseconds since the Unix epoch: later than planned where what came before in its lane
    /// took longer.
    pub began_ms: u64,
    /// When it was over; a backend that has to be started again is over when it listens.
    pub over_ms: u64,
}

/// Why the weather broke off.
#[derive(Debug, thiserror::Error)]
pub enum WeatherError {
    /// A backend that had been ended did not start again.
    #[error("start a backend again")]
    Backend(#[from] BackendError),
    /// The stack's own Postgres, which no fault is in front of, does not answer.
    #[error("ask the database which steps were being created")]
    Database(#[from] sqlx::Error),
}

/// Plays the schedule of `size.seed` until `calm` says that all shall be well.
///
/// # Errors
/// When a backend does not start again or the database cannot be asked.
pub async fn play(
    fleet: &Fleet<'_>,
    openai: &LoadOpenAi,
    size: &Size,
    calm: &watch::Receiver<bool>,
) -> Result<Weather, WeatherError> {
    let player = Player {
        fleet,
        openai,
        size,
        began: Instant::now(),
        weather: Mutex::default(),
    };
    let playing = lanes(size.seed)
        .into_iter()
        .map(|lane| player.lane(lane, calm.clone()));
    let played: Result<Vec<()>, _> = join_all(playing).await.into_iter().collect();
    played?;
    let mut weather = player
        .weather
        .into_inner()
        .expect("no thread panics while it holds this lock");
    weather.struck.sort_by_key(|struck| struck.began_ms);
    Ok(weather)
}

struct Player<'a, 'b> {
    fleet: &'a Fleet<'b>,
    openai: &'a LoadOpenAi,
    size: &'a Size,
    began: Instant,
    weather: Mutex<Weather>,
}

impl Player<'_, '_> {
    async fn lane(&self, lane: Lane, mut calm: watch::Receiver<bool>) -> Result<(), WeatherError> {
        for (number, event) in (1_u64..).zip(lane) {
            let at = self.began + Duration::from_millis(event.at_ms);
            tokio::select! {
                () = sleep_until(at) => {}
                _ = calm.wait_for(|calm| *calm) => return Ok(()),
            }
            let began_ms = now_ms();
            self.strike(&event, number, &mut calm).await?;
            self.note(|weather| {
                weather.struck.push(Struck {
                    event,
                    began_ms,
                    over_ms: now_ms(),
                });
            });
        }
        Ok(())
    }

    /// One event from its beginning until it is mended.
    async fn strike(
        &self,
        event: &Event,
        number: u64,
        calm: &mut watch::Receiver<bool>,
    ) -> Result<(), WeatherError> {
        let time = Duration::from_millis(event.lasts_ms);
        let mut pause = async || {
            tokio::select! {
                () = sleep(time) => {}
                _ = calm.wait_for(|calm| *calm) => {}
            }
        };
        match event.strike {
            Strike::Kill(seat) => {
                let interruption = self.fleet.kill(seat).await?;
                self.note(|weather| weather.interruptions.push(interruption));
                pause().await;
                self.fleet.run(seat).await?;
            }
            Strike::Stop(seat) => {
                let interruption = self.fleet.stop(seat).await?;
                self.note(|weather| weather.interruptions.extend(interruption));
                pause().await;
                self.fleet.run(seat).await?;
            }
            Strike::Freeze(seat) => {
                let interruption = self.fleet.freeze(seat, time).await?;
                self.note(|weather| weather.interruptions.push(interruption));
            }
            Strike::Network {
                service,
                reach,
                fault,
            } => {
                let struck = || Seat::ALL.into_iter().filter(|seat| reach.includes(*seat));
                let from_ms = now_ms();
                struck().for_each(|seat| self.fleet.break_path(seat, service, fault));
                pause().await;
                struck().for_each(|seat| self.fleet.mend_path(seat, service));
                let outage = |of| Outage {
                    of,
                    from_ms,
                    to_ms: now_ms(),
                };
                if loses_answers(service, fault) {
                    self.note(|weather| weather.outages.extend(struck().map(outage)));
                }
            }
            Strike::OpenAi(trouble) => {
                self.script(self.size.foul_weather(number, trouble));
                pause().await;
                self.script(self.size.fair_weather(number));
            }
        }
        Ok(())
    }

    fn script(&self, script: harness::openai::Script) {
        if let Err(error) = self.openai.set_script(script) {
            tracing::error!(%error, "the scripted OpenAI goes on as before");
        }
    }

    fn note(&self, change: impl FnOnce(&mut Weather)) {
        let mut weather = self.weather.lock();
        change(
            weather
                .as_mut()
                .expect("no thread panics while it holds this lock"),
        );
    }
}

/// Whether a fault may keep the id of a response from being told or stored in time. Late answers of
/// `OpenAI` are answers; of Postgres they are fewer heartbeats than a lease needs.
fn loses_answers(service: Service, fault: Fault) -> bool {
    match service {
        Service::Postgres => true,
        Service::OpenAi => !matches!(fault, Fault::Delay { .. }),
        Service::Redis | Service::S3 => false,
    }
}
