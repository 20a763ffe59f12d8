//! Users in a closed loop, run by goose: each asks again as soon as the last answer is there.
//!
//! What goose would get wrong for a 15-minute generation is dealt with here:
//!
//! - Its loop is closed. Here that is wanted: a cell measures capacity, so there are always more
//!   users than workers. Its coordinated-omission backfill would invent requests that nobody sent,
//!   and stays off. Open arrivals are in [`super::planned_users`], without goose.
//! - It times the first byte of an answer and gives up after 60 s. No request stays open for a
//!   generation, so neither meets one.
//! - It notices the end of a test only between two transactions. The campaign's own stop signal ends
//!   the polling loop at once.

use std::sync::Arc;
use std::time::Duration;

use goose::prelude::*;
use reqwest::{Method, RequestBuilder, Response};

use super::proposal_writer::{Campaign, Sender, StepError, expect, write_proposal};

/// The goose scenario of these users.
pub fn scenario(campaign: &Arc<Campaign>) -> Scenario {
    let campaign = Arc::clone(campaign);
    let transaction = Transaction::new(Arc::new(move |user| {
        let campaign = Arc::clone(&campaign);
        Box::pin(async move {
            if campaign.is_stopped() {
                // goose has not noticed the end yet: do not spin until it does.
                tokio::time::sleep(Duration::from_millis(20)).await;
                return Ok(());
            }
            let account = user.weighted_users_index;
            let result = write_proposal(&mut GooseSender(user), &campaign, account).await;
            match result {
                Ok(_) => Ok(()),
                Err(error) => {
                    campaign.note_error(error.to_string());
                    // A service that refuses everything must not be hammered in a tight loop.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    Err(Box::new(TransactionError::Custom(error.to_string())))
                }
            }
        })
    }));
    Scenario::new("ProposalWriter").register_transaction(transaction.set_name("write proposal"))
}

struct GooseSender<'a>(&'a mut GooseUser);

impl Sender for GooseSender<'_> {
    fn request(&mut self, method: Method, path: &str) -> Result<RequestBuilder, StepError> {
        let method = match method {
            Method::GET => GooseMethod::Get,
            Method::POST => GooseMethod::Post,
            other => return Err(StepError(format!("send {other} {path}: users never do"))),
        };
        self.0
            .get_request_builder(&method, path)
            .map_err(|error| StepError(error.to_string()))
    }

    async fn send(
        &mut self,
        builder: RequestBuilder,
        name: &'static str,
        status: u16,
    ) -> Result<Response, StepError> {
        let request = GooseRequest::builder()
            .set_request_builder(builder)
            .name(name)
            .expect_status_code(status)
            .build();
        let answered = self.0.request(request).await;
        let response = answered
            .map_err(|error| StepError(format!("{name}: {error}")))?
            .response
            .map_err(|error| StepError::from_error(&error))?;
        expect(response, name, status).await
    }
}
