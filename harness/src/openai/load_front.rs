//! The scripted OpenAI for load tests: bounded memory, thousands of polls a second.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::serve::ListenerExt as _;
use tokio::sync::oneshot;

use super::OpenAiError;
use super::clocked::Clocked;
use super::engine::{Billing, CallStats, Created, Request};
use super::script::Script;

/// Prompts quote whole documents; beyond this a request is answered 413.
const BODY_BYTES_MAX: usize = 32 << 20;

/// A scripted OpenAI on a thread of its own, so that it outlives the runtime it was started from and
/// never waits for the load generator's tasks. It ends when dropped.
#[derive(Debug)]
pub struct LoadOpenAi {
    base_url: String,
    clocked: Arc<Clocked>,
    /// Dropping the sender ends the thread.
    stop: Option<oneshot::Sender<()>>,
    stopped: oneshot::Receiver<()>,
}

impl LoadOpenAi {
    /// Serves `script` on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the script cannot be played, or no port or thread can be had.
    pub async fn start(script: Script) -> Result<Self, OpenAiError> {
        Self::start_on(script, 0).await
    }

    /// Serves `script` on a port of 127.0.0.1; 0 is any free one.
    ///
    /// # Errors
    /// When the script cannot be played, the port is in use, or no thread can be had.
    #[expect(
        clippy::unused_async,
        reason = "starting is asynchronous by contract, like the other front's"
    )]
    pub async fn start_on(script: Script, port: u16) -> Result<Self, OpenAiError> {
        let clocked = Arc::new(Clocked::new(script)?);
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(OpenAiError::Listen)?;
        listener
            .set_nonblocking(true)
            .map_err(OpenAiError::Listen)?;
        let address = listener.local_addr().map_err(OpenAiError::Listen)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(OpenAiError::Listen)?;
        let (stop, stop_requested) = oneshot::channel::<()>();
        let (ended, stopped) = oneshot::channel();
        let router = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(clocked.clone());
        std::thread::Builder::new()
            .name("openai".to_owned())
            .spawn(move || {
                let served = runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|stream| {
                        // Without it a small answer may wait 40 ms for an acknowledgement.
                        if let Err(error) = stream.set_nodelay(true) {
                            tracing::debug!(%error, "no TCP_NODELAY");
                        }
                    });
                    tokio::select! {
                        served = axum::serve(listener, router).into_future() => served,
                        _ = stop_requested => Ok(()),
                    }
                });
                if let Err(error) = served {
                    tracing::error!(%error, "the scripted OpenAI ended");
                }
                // Answers that are held back, perhaps for ever, are not waited for.
                runtime.shutdown_background();
                // Nobody listens when it was dropped instead of stopped.
                let _ = ended.send(());
            })
            .map_err(OpenAiError::Listen)?;
        let base_url = format!("http://{address}/v1");
        Ok(Self {
            base_url,
            clocked,
            stop: Some(stop),
            stopped,
        })
    }

    /// What `OPENAI_BASE_URL` is to be; ends in `/v1`.
    pub fn base_url(&self) -> String {
        self.base_url.clone()
    }

    /// Goes on with another script: fault rules count from 1 again, responses that exist stay.
    ///
    /// # Errors
    /// When the script cannot be played; the old one stays.
    pub fn set_script(&self, script: Script) -> Result<(), OpenAiError> {
        Ok(self.clocked.set_script(script)?)
    }

    /// What OpenAI would put on the bill.
    pub fn billing(&self) -> Billing {
        self.clocked.billing()
    }

    /// What clients did, and how late they noticed.
    pub fn stats(&self) -> CallStats {
        self.clocked.stats()
    }

    /// From now on every response that is created is kept a note of, which takes memory for each.
    pub fn keep_journal(&self) {
        self.clocked.keep_journal();
    }

    /// Every response created since [`Self::keep_journal`], in the order of creation.
    pub fn journal(&self) -> Vec<Created> {
        self.clocked.journal()
    }

    /// Closes the port and all connections, and waits until that is done.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        // An error means that the thread has ended already.
        let _ = (&mut self.stopped).await;
    }
}

async fn answer(
    State(clocked): State<Arc<Clocked>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let request = Request {
        method: method.as_str(),
        path: uri.path(),
        query: uri.query(),
        authorization,
        body: &body,
    };
    let reply = clocked.handle(&request);
    // A prompt may be large and an answer far away.
    drop((headers, body));
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    let mut response = Response::new(Body::from(reply.body));
    // Scripts are checked: every status lies between 200 and 599.
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(reply.content_type),
    );
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}
