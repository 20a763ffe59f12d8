//! Runs the backend behind a load balancer whose users keep their requests open.

use std::time::{Duration, Instant};

use harness::{FaultProxy, NetworkFault};

use super::{DOCUMENT_PAGES, RunError, Runner, Surroundings};
use crate::backend_process::chain;
use crate::measurement::{Plan, Shape, Shard};
use crate::scenarios::planned_users::{self, ClientSender};
use crate::scenarios::proposal_writer::{Accounts, Campaign, StepError};
use crate::scenarios::waiting_users::{self, Held};
use crate::schedule::arrivals_s;

/// From the last preparation to the start of the schedule.
const LEAD: Duration = Duration::from_millis(200);
/// Generations after the last arrival in which every request must have found its end.
const PATIENCE_GENERATIONS: f64 = 12.0;
/// The service itself never gives up: 24 h, in milliseconds.
const REQUEST_TIMEOUT_MS: &str = "86400000";

impl Runner<'_> {
    /// Sends the planned arrivals to a backend of this shape, each of them open until its generation has
    /// ended, through a load balancer with an idle time-out of so many real seconds; the backend reaches OpenAI
    /// through a NAT gateway.
    ///
    /// # Errors
    /// When a part of the stack fails, or the backend refuses its users.
    pub async fn sync_run(
        &self,
        shape: Shape,
        plan: Plan,
        idle_timeout_s: f64,
    ) -> Result<Vec<Held>, RunError> {
        let request_timeout = ("REQUEST_TIMEOUT_MS", REQUEST_TIMEOUT_MS);
        let surroundings = Surroundings {
            settings: &[request_timeout],
            way_to_openai: Some(NetworkFault::nat_gateway(self.load.speedup)),
        };
        let running = self.set_up(shape, "sync", &surroundings).await?;
        let base_url = running.backend.base_url().to_owned();
        let refused = |reason: String| RunError::Target {
            target: base_url.clone(),
            reason,
        };
        let of_step = |error: StepError| refused(error.to_string());
        let (balancer, held_url) = FaultProxy::in_front_of(&base_url)
            .await
            .map_err(|error| refused(chain(&error)))?;
        balancer.set(NetworkFault::load_balancer(
            idle_timeout_s,
            self.load.speedup,
        ));
        let campaign = Campaign::new(self.document.clone(), DOCUMENT_PAGES, Accounts::Own);
        let mut sender = ClientSender::new(&base_url).map_err(of_step)?;
        planned_users::enter_all(&mut sender, &campaign)
            .await
            .map_err(of_step)?;
        let all = Shard { index: 1, of: 1 };
        let at_s = arrivals_s(&plan, self.load.speedup, all);
        let generation_s = self.load.compressed_generation_ms() / 1000.0;
        let held = waiting_users::run(
            &campaign,
            &sender,
            &held_url,
            &at_s,
            Instant::now() + LEAD,
            Duration::from_secs_f64(PATIENCE_GENERATIONS * generation_s),
        );
        let held = held.await.map_err(of_step);
        running.tear_down().await;
        held
    }
}
