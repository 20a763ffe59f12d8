//! The scripted OpenAI for tests that assert on calls.
//!
//! wiremock keeps every request it matched for as long as the server lives, which is what assertions
//! need and what load tests cannot afford: those use [`super::LoadOpenAi`].

use std::sync::Arc;

use wiremock::matchers::{any, method, path_regex};
use wiremock::{Mock, MockServer, Respond, ResponseTemplate, Times};

use super::OpenAiError;
use super::clocked::Clocked;
use super::engine::{Billing, CallStats, Request, call_of};
use super::script::{Call, Script};

/// A scripted OpenAI behind a wiremock server; it ends when dropped, and then expectations that were
/// not met fail the test.
pub struct WiremockOpenAi {
    server: MockServer,
    clocked: Arc<Clocked>,
}

impl std::fmt::Debug for WiremockOpenAi {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("WiremockOpenAi")
            .field("uri", &self.server.uri())
            .finish_non_exhaustive()
    }
}

/// wiremock's edge of the state machine.
#[derive(Clone, Debug)]
struct Front(Arc<Clocked>);

impl Respond for Front {
    fn respond(&self, request: &wiremock::Request) -> ResponseTemplate {
        let authorization = request.headers.get("authorization");
        let reply = self.0.handle(&Request {
            method: request.method.as_str(),
            path: request.url.path(),
            query: request.url.query(),
            authorization: authorization.and_then(|value| value.to_str().ok()),
            body: &request.body,
        });
        let mut template = ResponseTemplate::new(reply.status)
            .set_body_raw(reply.body, reply.content_type)
            .set_delay(reply.delay);
        for (name, value) in reply.headers {
            template = template.insert_header(name, value);
        }
        template
    }
}

impl WiremockOpenAi {
    /// Serves `script` on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the script cannot be played or no port can be had.
    pub async fn start(script: Script) -> Result<Self, OpenAiError> {
        let clocked = Arc::new(Clocked::new(script)?);
        let listener =
            std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(OpenAiError::Listen)?;
        let server = MockServer::builder().listener(listener).start().await;
        let everything = Mock::given(any()).respond_with(Front(clocked.clone()));
        // The least of priorities: expectations and a test's own mocks are asked first.
        everything
            .with_priority(u8::MAX)
            .named("the scripted OpenAI")
            .mount(&server)
            .await;
        Ok(Self { server, clocked })
    }

    /// What `OPENAI_BASE_URL` is to be; ends in `/v1`.
    pub fn base_url(&self) -> String {
        format!("{}/v1", self.server.uri())
    }

    /// From here on, expects so many calls of a kind: `expect(Call::Create, 5)`, `expect(Call::Poll,
    /// 1..)`. [`WiremockOpenAi::verify`] and dropping check it.
    pub async fn expect(&self, call: Call, times: impl Into<Times>) {
        let calls = match call {
            Call::Create => {
                let paths = "^/v1/(responses|chat/completions)$";
                Mock::given(method("POST")).and(path_regex(paths))
            }
            Call::Poll => Mock::given(method("GET")).and(path_regex("^/v1/responses/[^/]+$")),
            Call::Cancel => {
                Mock::given(method("POST")).and(path_regex("^/v1/responses/[^/]+/cancel$"))
            }
        };
        calls
            .respond_with(Front(self.clocked.clone()))
            .with_priority(u8::MAX - 1)
            .expect(times)
            .named(format!("{call:?} calls"))
            .mount(&self.server)
            .await;
    }

    /// Checks the expectations now.
    ///
    /// # Panics
    /// When one is not met, with a list of the calls that came.
    pub async fn verify(&self) {
        self.server.verify().await;
    }

    /// Every request so far, in the order of arrival.
    pub async fn received_requests(&self) -> Vec<wiremock::Request> {
        self.server.received_requests().await.unwrap_or_default()
    }

    /// The requests of one kind so far.
    pub async fn received(&self, call: Call) -> Vec<wiremock::Request> {
        let mut requests = self.received_requests().await;
        requests
            .retain(|request| call_of(request.method.as_str(), request.url.path()) == Some(call));
        requests
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

    /// The server, for mocks of a test's own; they are asked before the script.
    pub fn server(&self) -> &MockServer {
        &self.server
    }
}
