//! A scripted OpenAI: one pure state machine, two HTTP fronts.
//!
//! [`OpenAiState`] speaks the Responses API (create in background or blocking, retrieve, cancel,
//! streams of ended responses from `starting_after` on) and chat completions, and does what a [`Script`] says: how long responses take, what they say, what goes wrong when. It has
//! no clock and does no I/O, so the same script and the same calls at the same instants give the same
//! replies. [`WiremockOpenAi`] serves it to tests that assert on calls; [`LoadOpenAi`] serves it to
//! load tests, in bounded memory.

mod chat;
mod clocked;
mod engine;
mod load_front;
mod random;
mod rate_limit;
mod script;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod wire;
mod wiremock_front;

pub use engine::{Billing, CallStats, Created, Fate, OpenAiState, RESPONSES_MAX, Reply, Request};
pub use load_front::LoadOpenAi;
pub use rate_limit::RateLimits;
pub use script::{
    Action, Call, Fault, Latency, Outputs, Override, Script, ScriptError, Tokens, When, Which,
};
pub use wiremock_front::WiremockOpenAi;

/// Why a scripted OpenAI could not be started or re-scripted.
#[derive(Debug, thiserror::Error)]
pub enum OpenAiError {
    /// The script cannot be played.
    #[error("play the script of OpenAI")]
    Script(#[from] ScriptError),
    /// No port on the loopback interface, or no thread to serve it.
    #[error("serve the scripted OpenAI on 127.0.0.1")]
    Listen(#[source] std::io::Error),
}
