//! The HTTP contract, rule by rule, against any service that is meant to honour it: the part of the backend's end-to-end
//! tests that can be asked from outside. A rule that is broken is data, with what was found instead.

mod rules;
mod visitor;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::reference::service::{Conditions, Service, ServiceError};
use visitor::Visitor;

/// Factor by which a generation is faster here than everywhere else: what it costs is not asked.
const SPEEDUP: f64 = 600.0;

/// A rule and whether it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// The rule, as a claim.
    pub rule: String,
    /// What was found instead; absent where the rule is kept.
    pub found: Option<String>,
}

/// One rule: a claim, and how to find out.
type Rule = (
    &'static str,
    fn(Visitor) -> BoxFuture<'static, Result<(), String>>,
);

/// Starts a service and asks it for every rule.
///
/// # Errors
/// When it does not start.
pub async fn of(service: &Service<'_>, document: &[u8]) -> Result<Vec<Checked>, ServiceError> {
    let service = service.under(Conditions {
        speedup: SPEEDUP,
        ..*service.conditions()
    });
    let sandbox = service.sandbox().await?;
    let openai = service.conditions().openai().await?;
    let started = service.start(&sandbox, &openai, "contract", &[]).await?;
    let mut checked = Vec::new();
    for (number, (rule, keeps)) in rules::ALL.into_iter().enumerate() {
        // Users of their own: no rule sees what another has left.
        let visitor = Visitor::new(started.base_url(), document, number)?;
        checked.push(Checked {
            rule: rule.to_owned(),
            found: keeps(visitor).await.err(),
        });
    }
    started.stop().await;
    openai.stop().await;
    Ok(checked)
}
