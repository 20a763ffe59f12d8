//! Those who order: each repeats an order under one `Idempotency-Key` until it is accepted, at whichever
//! backend answers, and then polls until it has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, sleep};

use super::audit::Order;
use super::fleet::Fleet;
use super::receiver::{Receiver, secret};
use super::schedule::Seat;
use super::settings::Size;
use crate::reference::user::{UserError, client};

/// Patience with one request: a backend that is frozen answers no sooner than the other one would.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Before a request is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// When a poll names no delay.
const POLL_AFTER: Duration = Duration::from_millis(250);
/// Accounts that the orders come from.
const ACCOUNTS: usize = 4;
/// Orders that read the same document.
const ORDERS_PER_DOCUMENT: usize = 10;
/// One order in so many is sent once more after it was accepted: a client that did not hear the answer.
const REPEATED_EVERY: usize = 5;

/// How often clients met which answer.
pub type Answers = BTreeMap<String, u64>;

/// All clients of a storm.
#[expect(
    missing_debug_implementations,
    reason = "a fleet has nothing worth printing"
)]
pub struct Clients<'a, 'b> {
    fleet: &'a Fleet<'b>,
    receiver: &'a Receiver,
    size: &'a Size,
    http: Client,
    accounts: Vec<Account>,
    source: Vec<u8>,
    documents: Vec<OnceCell<String>>,
    orders: Mutex<Vec<Order>>,
    answers: Mutex<Answers>,
    took_ms: Mutex<Vec<u64>>,
    accepted: AtomicUsize,
    ended: AtomicUsize,
    /// No order is made any more.
    closed: watch::Sender<bool>,
    /// Nobody waits any more.
    over: watch::Sender<bool>,
}

/// Somebody who orders.
struct Account {
    /// The session's.
    token: String,
    /// That webhooks are signed with.
    secret: Vec<u8>,
}

/// What the clients tell afterwards.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Every order that was made.
    pub orders: Vec<Order>,
    /// Every answer, by request and status.
    pub answers: Answers,
    /// From the first try to order until the end was known, in ascending milliseconds.
    pub took_ms: Vec<u64>,
}

impl<'a, 'b> Clients<'a, 'b> {
    /// Registers the accounts, which is to happen in calm weather; every order reads a copy of `source`.
    ///
    /// # Errors
    /// When a backend does not answer as it should.
    pub async fn enter(
        fleet: &'a Fleet<'b>,
        receiver: &'a Receiver,
        size: &'a Size,
        source: Vec<u8>,
    ) -> Result<Clients<'a, 'b>, UserError> {
        let http = client(REQUEST_TIMEOUT)?;
        let mut accounts = Vec::new();
        for account in 0..ACCOUNTS {
            let base_url = fleet.base_url(Seat::ALL[account % 2]);
            accounts.push(enter(&http, &base_url, account).await?);
        }
        let generations = usize::try_from(size.generations).unwrap_or(usize::MAX);
        Ok(Clients {
            fleet,
            receiver,
            size,
            http,
            accounts,
            source,
            documents: (0..generations.div_ceil(ORDERS_PER_DOCUMENT))
                .map(|_| OnceCell::new())
                .collect(),
            orders: Mutex::default(),
            answers: Mutex::default(),
            took_ms: Mutex::default(),
            accepted: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            closed: watch::Sender::new(false),
            over: watch::Sender::new(false),
        })
    }

    /// Orders everything, and waits for its end or until [`Self::give_up`].
    pub async fn run(&self) {
        let generations = usize::try_from(self.size.generations).unwrap_or(usize::MAX);
        let in_flight = usize::try_from(self.size.in_flight).unwrap_or(usize::MAX);
        let mut over = self.over.subscribe();
        let orders = futures::stream::iter(0..generations)
            .map(|number| self.order(number))
            .buffer_unordered(in_flight)
            .for_each(|()| std::future::ready(()));
        tokio::select! {
            () = orders => {}
            _ = over.wait_for(|over| *over) => {}
        }
    }

    /// From now on no order is made.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// From now on nobody waits.
    pub fn give_up(&self) {
        self.over.send_replace(true);
    }

    /// Orders that were accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Orders whose end is known so far.
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    /// The session's token that the orders of an account come with.
    pub fn token_of(&self, key: &str) -> Option<&str> {
        let number: usize = key.rsplit('-').next()?.parse().ok()?;
        Some(self.token(number))
    }

    /// The secrets that webhooks are signed with, by account.
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        let secrets = self.accounts.iter().map(|account| account.secret.clone());
        secrets.collect()
    }

    /// What there is to tell.
    pub fn told(&self) -> Told {
        let mut took_ms = lock(&self.took_ms).clone();
        took_ms.sort_unstable();
        Told {
            orders: lock(&self.orders).clone(),
            answers: lock(&self.answers).clone(),
            took_ms,
        }
    }

    fn account(number: usize) -> usize {
        number / ORDERS_PER_DOCUMENT % ACCOUNTS
    }

    fn token(&self, number: usize) -> &str {
        &self.accounts[Self::account(number)].token
    }

    async fn order(&self, number: usize) {
        if *self.closed.borrow() {
            return;
        }
        let began = Instant::now();
        let group = number / ORDERS_PER_DOCUMENT;
        let document = self.documents[group].get_or_init(|| self.upload(number));
        let document = document.await.clone();
        let key = format!("storm-{}-{number}", self.size.seed);
        let place = {
            let mut orders = lock(&self.orders);
            orders.push(Order {
                key: key.clone(),
                ids: BTreeSet::new(),
            });
            orders.len() - 1
        };
        let id = self.submit(number, number, &key, &document).await;
        lock(&self.orders)[place].ids.insert(id.clone());
        self.accepted.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(REPEATED_EVERY) {
            // At the other backend.
            let again = self.submit(number + 1, number, &key, &document).await;
            lock(&self.orders)[place].ids.insert(again);
        }
        self.follow(number, &id).await;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        lock(&self.took_ms).push(took_ms);
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// A copy of the document that no other order has.
    async fn upload(&self, number: usize) -> String {
        let mut bytes = self.source.clone();
        bytes.extend(format!("% {number}\n").bytes());
        self.insist("upload", number, |http, base_url| {
            let part = reqwest::multipart::Part::bytes(bytes.clone()).file_name("tender.pdf");
            http.post(format!("{base_url}/api/v1/documents"))
                .bearer_auth(self.token(number))
                .multipart(reqwest::multipart::Form::new().part("file", part))
        })
        .await
    }

    /// Orders under the key of `order`, first at the backend whose turn it is.
    async fn submit(&self, turn: usize, order: usize, key: &str, document: &str) -> String {
        let account = Self::account(order);
        let body = json!({
            "title": format!("Proposal {key}"),
            "instructions": "Write a technical proposal that answers the attached requirements.",
            "document_ids": [document],
            "webhook_url": self.receiver.url(account),
        });
        self.insist("order", turn, |http, base_url| {
            http.post(format!("{base_url}/api/v1/generations"))
                .bearer_auth(self.token(order))
                .header("idempotency-key", key)
                .json(&body)
        })
        .await
    }

    /// Sends a request until it is answered with what was made, and gives its id.
    async fn insist(
        &self,
        name: &str,
        number: usize,
        request: impl Fn(&Client, &str) -> RequestBuilder,
    ) -> String {
        for turn in number.. {
            let base_url = self.fleet.base_url(Seat::ALL[turn % 2]);
            let (_, body) = self.send(name, request(&self.http, &base_url)).await;
            let id = body.as_ref().and_then(|body| body["id"].as_str());
            if let Some(id) = id {
                return id.to_owned();
            }
            sleep(AGAIN_AFTER).await;
        }
        String::new()
    }

    async fn follow(&self, number: usize, id: &str) {
        for turn in number.. {
            let base_url = self.fleet.base_url(Seat::ALL[turn % 2]);
            let url = format!("{base_url}/api/v1/generations/{id}");
            let request = self
                .http
                .request(Method::GET, url)
                .bearer_auth(self.token(number));
            let (wait, body) = self.send("poll", request).await;
            let status = body.as_ref().and_then(|body| body["status"].as_str());
            match status {
                Some("succeeded" | "failed" | "cancelled") => return,
                Some(_) => sleep(wait.unwrap_or(POLL_AFTER)).await,
                None => sleep(AGAIN_AFTER).await,
            }
        }
    }

    /// The delay that an answer names, and its JSON when it is a success.
    async fn send(&self, name: &str, request: RequestBuilder) -> (Option<Duration>, Option<Value>) {
        let (status, answer) = match request.send().await {
            Ok(response) => {
                let status = response.status();
                let wait = response.headers().get("retry-after-ms");
                let wait = wait.and_then(|text| text.to_str().ok()?.parse().ok());
                let wait = wait.map(Duration::from_millis);
                let body = match status.is_success() {
                    true => response.json().await.ok(),
                    false => None,
                };
                (met(status, body.is_some()), (wait, body))
            }
            Err(error) if error.is_timeout() => ("no answer in time".to_owned(), (None, None)),
            Err(error) if error.is_connect() => ("no connection".to_owned(), (None, None)),
            Err(_) => ("connection lost".to_owned(), (None, None)),
        };
        let said = format!("{name}: {status}");
        *lock(&self.answers).entry(said).or_default() += 1;
        answer
    }
}

fn met(status: StatusCode, has_body: bool) -> String {
    if status.is_success() && !has_body {
        format!("{} cut off", status.as_u16())
    } else {
        status.as_u16().to_string()
    }
}

async fn enter(http: &Client, base_url: &str, account: usize) -> Result<Account, UserError> {
    let credentials = json!({
        "email": format!("writer-{account}@example.com"),
        "password": "correct horse battery staple",
    });
    let post = async |what, path: &str, status: u16| {
        let request = http.post(format!("{base_url}{path}")).json(&credentials);
        crate::reference::user::ask(what, request, status).await
    };
    post("register", "/api/v1/auth/register", 201).await?;
    let what = "log in";
    let session = post(what, "/api/v1/auth/login", 200).await?;
    let token = member(session, what, "token").await?;
    let what = "ask for the secret of webhooks";
    let url = format!("{base_url}/api/v1/webhooks/secret");
    let request = http.get(url).bearer_auth(&token);
    let told = crate::reference::user::ask(what, request, 200).await?;
    let secret = secret(&member(told, what, "secret").await?).unwrap_or_default();
    Ok(Account { token, secret })
}

/// A text in an answer's body; empty when it is not there.
async fn member(
    answer: reqwest::Response,
    what: &'static str,
    name: &str,
) -> Result<String, UserError> {
    let body: Value = answer
        .json()
        .await
        .map_err(|source| UserError::Transport { what, source })?;
    Ok(body[name].as_str().unwrap_or_default().to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no thread panics while it holds this lock")
}
