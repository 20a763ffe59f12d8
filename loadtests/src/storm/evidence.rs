//! Collects what a storm has left, in calm weather: rows, objects, downloads, and the journal of `OpenAI`.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::DisplayErrorContext;
use futures::StreamExt;
use harness::Sandbox;
use harness::openai::Created;
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use super::audit::{Create, Facts, Generation, Order};
use super::clients::Clients;
use super::fleet::Fleet;
use super::schedule::Seat;
use super::settings::seat_of;
use super::weather::Weather;
use crate::reference::user::client;

/// Proposals that are read at a time.
const DOWNLOADS: usize = 8;
/// Patience with one download.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Tries of one download, and the time between two.
const DOWNLOAD_TRIES: u32 = 10;
const DOWNLOAD_AGAIN_AFTER: Duration = Duration::from_millis(300);
/// How often it is looked whether the outbox is empty.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Where the backend puts what it has written.
const PROPOSALS: &str = "generations/";

/// Why the evidence is incomplete.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Postgres.
    #[error("read what the storm has left in the database")]
    Database(#[from] sqlx::Error),
    /// S3.
    #[error("list what the storm has left in the bucket: {0}")]
    Bucket(String),
    /// The HTTP client.
    #[error(transparent)]
    Client(#[from] crate::reference::user::UserError),
}

/// Everything that the audit looks at.
///
/// # Errors
/// When the database or the bucket cannot be read.
pub async fn collect(
    (fleet, clients): (&Fleet<'_>, &Clients<'_, '_>),
    sandbox: &Sandbox,
    database: &PgPool,
    journal: Vec<Created>,
    weather: &Weather,
) -> Result<Facts, EvidenceError> {
    let orders = clients.told().orders;
    let generations = generations(database).await?;
    let proposals = proposals(sandbox).await?;
    let unreadable = unreadable(fleet, clients, &orders, &generations).await?;
    Ok(Facts {
        orders,
        generations,
        proposals,
        unreadable,
        creates: journal.into_iter().map(create).collect(),
        outages: weather.outages.clone(),
        interruptions: weather.interruptions.clone(),
        ..Facts::default()
    })
}

/// Waits until no webhook is to be delivered any more, or patience is at an end: what is missing then is for the
/// audit to say.
///
/// # Errors
/// When the database cannot be asked.
pub async fn outbox_emptied(database: &PgPool, patience: Duration) -> Result<(), EvidenceError> {
    let sql = "SELECT count(*) FROM webhook_deliveries WHERE delivered_at IS NULL AND abandoned_at IS NULL";
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        let open: i64 = sqlx::query_scalar(sql).fetch_one(database).await?;
        if open == 0 {
            break;
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn generations(database: &PgPool) -> Result<BTreeMap<String, Generation>, sqlx::Error> {
    type Row = (
        String,
        String,
        Option<String>,
        Option<String>,
        i64,
        Option<i32>,
    );
    let sql = "SELECT id::text, status, error_code || coalesce(': ' || error_detail, ''), pdf_key,
                      (SELECT count(*) FROM generation_events e WHERE e.generation_id = g.id
                       AND e.status IN ('succeeded', 'failed', 'cancelled')), page_count
               FROM generations g";
    let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(database).await?;
    let mut generations: BTreeMap<String, Generation> = rows
        .into_iter()
        .map(|(id, status, error, pdf_key, ends, page_count)| {
            let generation = Generation {
                status,
                error,
                ends: u32::try_from(ends).unwrap_or(u32::MAX),
                pdf_key,
                page_count: page_count.and_then(|count| usize::try_from(count).ok()),
                used: BTreeMap::new(),
            };
            (id, generation)
        })
        .collect();
    let sql =
        "SELECT generation_id::text, name, response_id FROM generation_steps WHERE creates > 0";
    let steps: Vec<(String, String, Option<String>)> =
        sqlx::query_as(sql).fetch_all(database).await?;
    for (id, name, response) in steps {
        if let Some(generation) = generations.get_mut(&id) {
            generation.used.insert(name, response);
        }
    }
    Ok(generations)
}

async fn proposals(sandbox: &Sandbox) -> Result<Vec<String>, EvidenceError> {
    let credentials = Credentials::new(
        sandbox.access_key_id(),
        sandbox.secret_access_key(),
        None,
        None,
        "harness",
    );
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(sandbox.s3_endpoint())
        .region(Region::new(sandbox.region().to_owned()))
        .credentials_provider(credentials)
        .force_path_style(true)
        // A file that is just being put in place by a worker that lost its lease disturbs a listing of s3s-fs.
        .retry_config(RetryConfig::standard().with_max_attempts(6))
        .build();
    let s3 = aws_sdk_s3::Client::from_conf(config);
    let mut keys = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = s3
            .list_objects_v2()
            .bucket(sandbox.bucket())
            .prefix(PROPOSALS)
            // By key and not by token: every S3 understands it.
            .set_start_after(after)
            .send()
            .await
            .map_err(|error| EvidenceError::Bucket(DisplayErrorContext(error).to_string()))?;
        let listed = page.contents().iter().filter_map(|object| object.key());
        let before = keys.len();
        keys.extend(listed.map(str::to_owned));
        if page.is_truncated() != Some(true) || keys.len() == before {
            return Ok(keys);
        }
        after = keys.last().cloned();
    }
}

/// Downloads every proposal as its user would, and reads it.
async fn unreadable(
    fleet: &Fleet<'_>,
    clients: &Clients<'_, '_>,
    orders: &[Order],
    generations: &BTreeMap<String, Generation>,
) -> Result<BTreeMap<String, String>, EvidenceError> {
    let http = client(DOWNLOAD_TIMEOUT)?;
    let succeeded = orders.iter().flat_map(|order| {
        let ids = order.ids.iter().filter_map(|id| {
            let generation = generations.get(id)?;
            (generation.status == "succeeded").then_some((id, generation.page_count))
        });
        ids.map(|(id, pages)| (&order.key, id, pages))
    });
    let read = succeeded.enumerate().map(|(number, (key, id, pages))| {
        let base_url = fleet.base_url(Seat::ALL[number % 2]);
        let request = http
            .get(format!("{base_url}/api/v1/generations/{id}/pdf"))
            .bearer_auth(clients.token_of(key).unwrap_or_default());
        async move {
            let failed = insist(request, pages).await.err()?;
            Some((id.clone(), failed))
        }
    });
    let unreadable: Vec<_> = futures::stream::iter(read)
        .buffer_unordered(DOWNLOADS)
        .filter_map(std::future::ready)
        .collect()
        .await;
    Ok(unreadable.into_iter().collect())
}

/// Comes again where it is told to: connections that the storm has cut are noticed one by one.
async fn insist(request: reqwest::RequestBuilder, pages: Option<usize>) -> Result<(), String> {
    let mut tries = 0;
    loop {
        let Some(again) = request.try_clone() else {
            return Err("it cannot be asked for twice".to_owned());
        };
        tries += 1;
        match download(again, pages).await {
            Err(_) if tries < DOWNLOAD_TRIES => sleep(DOWNLOAD_AGAIN_AFTER).await,
            result => return result,
        }
    }
}

/// `Err` says what is wrong with it.
async fn download(request: reqwest::RequestBuilder, pages: Option<usize>) -> Result<(), String> {
    let said = |error: reqwest::Error| crate::backend_process::chain(&error);
    let response = request.send().await.map_err(said)?;
    let status = response.status();
    let bytes = response.bytes().await.map_err(said)?;
    if !status.is_success() {
        return Err(format!("answered {status}"));
    }
    let pdf = lopdf::Document::load_mem(&bytes).map_err(|error| error.to_string())?;
    let count = pdf.get_pages().len();
    if Some(count) == pages {
        Ok(())
    } else {
        Err(format!("it has {count} pages, the service says {pages:?}"))
    }
}

fn create(created: Created) -> Create {
    let named = |name: &str| {
        let found = created.metadata.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    Create {
        at_ms: u64::try_from(created.at.as_millis()).unwrap_or(u64::MAX),
        by: seat_of(&created.api_key),
        generation: named("generation_id"),
        step: named("step"),
        fate: created.fate,
        response: created.id,
    }
}
