//! Requests back to back over a few connections, with as little work on this side as HTTP allows.

use std::time::{Duration, Instant};

use anyhow::Context;
use axum::body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use loadtests::histogram::Latencies;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What to ask.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// `http://127.0.0.1:PORT` of the service.
    pub(crate) base_url: String,
    pub(crate) path: String,
    pub(crate) token: Option<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) latencies: Latencies,
    pub(crate) wall_s: f64,
}

/// Asks for `time` over so many connections, each with one request at a time.
pub(crate) async fn ask(
    question: &Question,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Answers> {
    let began = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..connections {
        running.spawn(one(question.clone(), began + time));
    }
    let mut latencies = Latencies::default();
    while let Some(ended) = running.join_next().await {
        latencies.add(&ended??);
    }
    Ok(Answers {
        latencies,
        wall_s: began.elapsed().as_secs_f64(),
    })
}

async fn one(question: Question, end: Instant) -> anyhow::Result<Latencies> {
    let host = question
        .base_url
        .strip_prefix("http://")
        .context("read the service's address")?;
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut latencies = Latencies::default();
    while Instant::now() < end {
        let mut request = hyper::Request::get(&question.path).header("host", host);
        if let Some(token) = &question.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let asked = Instant::now();
        let response = sender.send_request(request.body(Body::empty())?).await?;
        let status = response.status();
        let body = axum::body::to_bytes(Body::new(response.into_body()), 1 << 20).await?;
        anyhow::ensure!(
            status.is_success(),
            "{status}: {}",
            String::from_utf8_lossy(&body)
        );
        latencies.record(asked.elapsed().as_secs_f64());
    }
    drop(sender);
    connection.await??;
    Ok(latencies)
}
