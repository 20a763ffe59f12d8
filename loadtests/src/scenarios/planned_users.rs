//! Users in an open loop: they come at planned instants, whether or not the service keeps up.
//!
//! goose has no open model, so this stands beside it. A user's latency counts from the planned
//! instant, not from when the request could be sent: a load generator that falls behind cannot hide
//! what its target makes users wait (coordinated omission). Arrivals that are sent late are counted.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, Response};
use tokio::task::JoinSet;

use super::proposal_writer::{
    ACCOUNTS, Campaign, Sender, StepError, enter, expect, write_proposal,
};
use crate::histogram::Latencies;

/// For one request, never for a generation.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// What an open loop saw, next to what its campaign did.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// From the planned instant until the user knew of the end, of successful generations.
    pub latency: Latencies,
    /// From the planned instant until the first request was sent.
    pub lateness: Latencies,
    /// Arrivals that were sent later than allowed.
    pub dropped_arrivals: u64,
    /// Visits that failed.
    pub failed: u64,
}

/// Sends requests straight from one HTTP client.
#[derive(Clone, Debug)]
pub struct ClientSender {
    client: Client,
    base_url: String,
}

impl ClientSender {
    /// Users of the service at `base_url`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(base_url: &str) -> Result<Self, StepError> {
        let client = Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(|error| StepError::from_error(&error))?;
        Ok(Self {
            client,
            base_url: base_url.trim_end_matches('/').to_owned(),
        })
    }
}

impl Sender for ClientSender {
    fn request(&mut self, method: Method, path: &str) -> Result<RequestBuilder, StepError> {
        Ok(self
            .client
            .request(method, format!("{}{path}", self.base_url)))
    }

    async fn send(
        &mut self,
        builder: RequestBuilder,
        name: &'static str,
        status: u16,
    ) -> Result<Response, StepError> {
        let response = builder.send().await.map_err(|error| {
            StepError(format!("{name}: {}", crate::backend_process::chain(&error)))
        })?;
        expect(response, name, status).await
    }
}

/// Logs every account in, so that no planned user waits for a password to be hashed.
///
/// # Errors
/// When the target is down or refuses the account.
pub async fn enter_all(sender: &mut ClientSender, campaign: &Campaign) -> Result<(), StepError> {
    for account in 0..ACCOUNTS {
        enter(sender, campaign, account).await?;
    }
    Ok(())
}

/// Sends the arrivals at `at_s` seconds after `start` and waits until `length_s`; whoever is not done
/// by then is cut off. An arrival sent more than `late` after its instant counts as dropped.
pub async fn run(
    campaign: &Arc<Campaign>,
    sender: &ClientSender,
    at_s: &[f64],
    start: Instant,
    length_s: f64,
    late: Duration,
) -> Sent {
    let sent = Arc::new(Mutex::new(Sent::default()));
    let mut users = JoinSet::new();
    for (index, at_s) in at_s.iter().enumerate() {
        let planned = start + Duration::from_secs_f64(*at_s);
        tokio::time::sleep_until(planned.into()).await;
        let (campaign, mut sender, sent) =
            (Arc::clone(campaign), sender.clone(), Arc::clone(&sent));
        users.spawn(async move {
            let lateness = planned.elapsed();
            note(&sent, |sent| {
                sent.lateness.record(lateness.as_secs_f64());
                sent.dropped_arrivals += u64::from(lateness > late);
            });
            match write_proposal(&mut sender, &campaign, index).await {
                Ok(Some(known_at)) => note(&sent, |sent| {
                    sent.latency.record((known_at - planned).as_secs_f64());
                }),
                Ok(None) => {}
                Err(error) => {
                    if !campaign.is_stopped() {
                        note(&sent, |sent| sent.failed += 1);
                    }
                    campaign.note_error(error.to_string());
                }
            }
        });
        // Those that are done need not be kept.
        while users.try_join_next().is_some() {}
    }
    tokio::time::sleep_until((start + Duration::from_secs_f64(length_s)).into()).await;
    campaign.stop();
    users.shutdown().await;
    sent.lock().expect("no user panics while it notes").clone()
}

fn note(sent: &Mutex<Sent>, change: impl FnOnce(&mut Sent)) {
    change(&mut sent.lock().expect("no user panics while it notes"));
}
