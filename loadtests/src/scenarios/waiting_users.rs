//! Users who keep their request open until their proposal is written (`Prefer: wait`, RFC 7240), through
//! whatever stands between them and the service.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::planned_users::ClientSender;
use super::proposal_writer::{Campaign, StepError, enter, proposal, upload};

/// What a user is ready to wait, in seconds: longer than any run, so that it is never the user who gives up.
const WAIT_S: u32 = 86_400;

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Answered with the finished generation.
    Answered,
    /// Cut by the load balancer (504).
    Cut,
    /// Anything else, in a sentence.
    Failed(String),
}

/// One request that was kept open.
#[derive(Clone, Debug)]
pub struct Held {
    /// When it was sent, in seconds after the start.
    pub sent_s: f64,
    /// What became of it.
    pub fate: Fate,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
}

/// Sends a request at each of `at_s` seconds after `start`, through `held_url`; logging in and uploading go
/// to the service itself. Ends when every request has an answer, or `patience` after the last was sent: those
/// without one have failed. In the order of sending.
pub async fn run(
    campaign: &Arc<Campaign>,
    sender: &ClientSender,
    held_url: &str,
    at_s: &[f64],
    start: Instant,
    patience: Duration,
) -> Result<Vec<Held>, StepError> {
    // A connection for each, as each user has one; and no time-out of the client's own.
    let client = Client::builder()
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| StepError::from_error(&error))?;
    let last_s = at_s.last().copied().unwrap_or_default();
    let give_up = start + Duration::from_secs_f64(last_s) + patience;
    let mut users = JoinSet::new();
    for (index, at_s) in at_s.iter().enumerate() {
        let planned = start + Duration::from_secs_f64(*at_s);
        let (campaign, mut sender) = (Arc::clone(campaign), sender.clone());
        let (client, url) = (client.clone(), format!("{held_url}/api/v1/generations"));
        users.spawn(async move {
            tokio::time::sleep_until(planned.into()).await;
            let token = enter(&mut sender, &campaign, index).await?;
            let document = upload(&mut sender, &campaign, &token).await?;
            let request = client
                .post(url)
                .bearer_auth(token)
                .header("prefer", format!("wait={WAIT_S}"))
                .json(&proposal(&document.id));
            let sent_s = start.elapsed().as_secs_f64();
            let answered = tokio::time::timeout_at(give_up.into(), fate(request)).await;
            let fate = answered
                .unwrap_or_else(|_| Fate::Failed("no answer by the end of the run".to_owned()));
            Ok::<_, StepError>(Held { sent_s, fate })
        });
    }
    let mut held = Vec::with_capacity(at_s.len());
    while let Some(user) = users.join_next().await {
        held.push(user.map_err(|error| StepError::from_error(&error))??);
    }
    held.sort_by(|a, b| a.sent_s.total_cmp(&b.sent_s));
    Ok(held)
}

async fn fate(request: reqwest::RequestBuilder) -> Fate {
    let failed = |error: &reqwest::Error| Fate::Failed(StepError::from_error(error).0);
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return failed(&error),
    };
    let status = response.status();
    if status == StatusCode::GATEWAY_TIMEOUT {
        return Fate::Cut;
    }
    match response.json::<Answer>().await {
        Ok(answer) if status.is_success() && answer.status == "succeeded" => Fate::Answered,
        Ok(answer) => Fate::Failed(format!("{status}, the generation is {}", answer.status)),
        Err(error) => failed(&error),
    }
}
