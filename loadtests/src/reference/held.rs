//! Requests that stay open until their generation has ended, behind a load balancer: the proposal's own mode.

use harness::{FaultProxy, NetworkFault};
use std::time::Duration;
use tokio::task::JoinSet;

use crate::reference::fate::{Event, Fate};
use crate::reference::service::{Service, ServiceError};
use crate::reference::user::User;

/// Whatever a request takes, the service does not end it.
const NEVER_MS: &str = "86400000";
/// What a generation takes beside its waits: rendering does not shrink.
const SLACK: Duration = Duration::from_secs(5);

/// Holds a request open for each generation, and asks once more, under the same idempotency key and a whole generation
/// later, where the load balancer has cut it.
pub(super) async fn of(
    service: &Service<'_>,
    (event, idle_timeout_s): (Event, f64),
    document: &[u8],
) -> Result<Fate, ServiceError> {
    let conditions = *service.conditions();
    let sandbox = service.sandbox().await?;
    let openai = conditions.openai().await?;
    openai.keep_journal();
    let extra = [
        ("REFERENCE_MODE", "sync".to_owned()),
        ("REQUEST_TIMEOUT_MS", NEVER_MS.to_owned()),
    ];
    let name = format!("held-{idle_timeout_s}");
    let started = service.start(&sandbox, &openai, &name, &extra).await?;
    let direct = User::enter(started.base_url(), document.to_vec()).await?;
    let (proxy, through) = FaultProxy::in_front_of(started.base_url()).await?;
    proxy.set(NetworkFault::load_balancer(
        idle_timeout_s,
        conditions.speedup,
    ));
    let pause = conditions.generation() + SLACK;
    let mut clients = JoinSet::new();
    for number in 0..conditions.generations {
        let (direct, through) = (direct.clone(), direct.at(&through)?);
        clients.spawn(async move {
            let document = direct.upload().await?;
            let key = format!("order-{number}");
            let is_told = async || {
                let answer = through.hold(&document, &key).await;
                answer.is_ok_and(|generation| generation.succeeded())
            };
            if is_told().await {
                return Ok(true);
            }
            tokio::time::sleep(pause).await;
            Ok::<_, ServiceError>(is_told().await)
        });
    }
    let answered: Vec<bool> = clients
        .join_all()
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
    let finished = answered.iter().filter(|answered| **answered).count();
    if finished < answered.len() {
        // What nobody waits for any more is written and billed all the same.
        tokio::time::sleep(pause).await;
    }
    drop(proxy);
    started.kill().await;
    started.stop().await;
    let fate = Fate::of(event, conditions.generations, finished, &openai);
    openai.stop().await;
    Ok(fate)
}
