//! A bad network in front of each service, switched on and off.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::openai::{Latency, Script};
use harness::{FaultProxy, NetworkFault, Stack, Template};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers each line with as many bytes as it says.
async fn generous_server() -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut line = [0; 4];
                while stream.read_exact(&mut line).await.is_ok() {
                    let count = u32::from_be_bytes(line);
                    let answer = vec![7; usize::try_from(count).unwrap_or(0)];
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

/// Asks for so many bytes and reads them.
async fn ask(stream: &mut TcpStream, count: u32) -> std::io::Result<Vec<u8>> {
    stream.write_all(&count.to_be_bytes()).await?;
    let mut answer = vec![0; usize::try_from(count).unwrap_or(0)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn without_a_fault_everything_passes() -> Result<()> {
    let proxy = FaultProxy::start(generous_server().await?).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    ensure!(
        ask(&mut stream, 300_000).await?.len() == 300_000,
        "not all came"
    );
    ensure!(proxy.connections() == 1, "{}", proxy.connections());
    Ok(())
}

#[tokio::test]
async fn a_refused_connection_is_refused_and_the_port_comes_back() -> Result<()> {
    let proxy = FaultProxy::start(generous_server().await?).await?;
    let mut open = TcpStream::connect(proxy.address()).await?;
    ask(&mut open, 1).await?;
    // Often: what `set` and `heal` say holds when they return, not a moment later.
    for _ in 0..50 {
        proxy.set(NetworkFault::Refuse);
        match TcpStream::connect(proxy.address()).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            other => anyhow::bail!("it is not refused: {other:?}"),
        }
        ensure!(
            ask(&mut open, 1).await.is_err(),
            "the open one still serves"
        );
        proxy.heal();
        open = TcpStream::connect(proxy.address()).await?;
        ensure!(ask(&mut open, 10).await?.len() == 10, "nothing comes");
    }
    Ok(())
}

#[tokio::test]
async fn a_cut_connection_has_carried_its_bytes_and_no_more() -> Result<()> {
    let proxy = FaultProxy::start(generous_server().await?).await?;
    proxy.set(NetworkFault::CutAfter { bytes: 1000 });
    let mut stream = TcpStream::connect(proxy.address()).await?;
    stream.write_all(&5000_u32.to_be_bytes()).await?;
    let mut received = 0;
    let mut buffer = [0; 512];
    let error = loop {
        match stream.read(&mut buffer).await {
            Ok(0) => anyhow::bail!("an orderly end"),
            Ok(count) => received += count,
            Err(error) => break error,
        }
    };
    ensure!(received == 1000, "{received}");
    ensure!(error.kind() == ErrorKind::ConnectionReset, "{error}");
    Ok(())
}

#[tokio::test]
async fn a_stalled_connection_goes_on_when_the_stall_ends() -> Result<()> {
    let proxy = FaultProxy::start(generous_server().await?).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    ask(&mut stream, 1).await?;
    proxy.set(NetworkFault::Stall);
    let stalled = tokio::time::timeout(Duration::from_millis(200), ask(&mut stream, 8)).await;
    ensure!(stalled.is_err(), "an answer came: {stalled:?}");
    proxy.heal();
    let mut answer = [0; 8];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await??;
    Ok(())
}

#[tokio::test]
async fn a_delayed_answer_comes_late() -> Result<()> {
    let proxy = FaultProxy::start(generous_server().await?).await?;
    let delay = Duration::from_millis(120);
    proxy.set(NetworkFault::Delay(delay));
    let mut stream = TcpStream::connect(proxy.address()).await?;
    let asked = Instant::now();
    ask(&mut stream, 8).await?;
    ensure!(asked.elapsed() >= delay, "{:?}", asked.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_silent_answer_is_a_gateway_timeout_and_a_silent_client_is_only_closed() -> Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = FaultProxy::start(silent.local_addr()?).await?;
    // 60 s at 1000 times the speed.
    let fault = NetworkFault::load_balancer(60.0, 1000.0);
    ensure!(
        fault == NetworkFault::GatewayTimeoutAfterIdle(Duration::from_millis(60)),
        "{fault:?}"
    );
    proxy.set(fault);
    let address = proxy.address();
    let heard = |asks: bool| async move {
        let mut stream = TcpStream::connect(address).await?;
        if asks {
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
        }
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
        anyhow::Ok(answer)
    };
    let (asked, silent) = tokio::try_join!(heard(true), heard(false))?;
    ensure!(asked.starts_with("HTTP/1.1 504 "), "{asked}");
    ensure!(silent.is_empty(), "{silent}");
    Ok(())
}

#[tokio::test]
async fn an_idle_connection_is_forgotten_and_a_busy_one_is_not() -> Result<()> {
    let proxy = FaultProxy::start(generous_server().await?).await?;
    // 350 s at 1000 times the speed.
    let fault = NetworkFault::nat_gateway(1000.0);
    ensure!(
        fault == NetworkFault::ResetAfterIdle(Duration::from_millis(350)),
        "{fault:?}"
    );
    proxy.set(fault);
    let mut idle = TcpStream::connect(proxy.address()).await?;
    let mut busy = TcpStream::connect(proxy.address()).await?;
    let started = Instant::now();
    ask(&mut idle, 1).await?;
    while started.elapsed() < Duration::from_millis(900) {
        ask(&mut busy, 1).await.context("the busy one")?;
        tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>())
            .await
            .ok();
    }
    let error = ask(&mut idle, 1).await.err().context("it is remembered")?;
    ensure!(error.kind() == ErrorKind::ConnectionReset, "{error}");
    Ok(())
}

#[tokio::test]
async fn each_service_of_a_sandbox_can_fail_alone() -> Result<()> {
    let sandbox = Stack::shared().await?.sandbox(&Template::empty()).await?;
    let faulty = sandbox.behind_faults().await?;
    let openai = sandbox
        .openai(Script::default().latency(Latency::Fixed { ms: 0.0 }))
        .await?;
    let (openai_proxy, openai_url) = FaultProxy::in_front_of(&openai.base_url()).await?;
    ensure!(openai_url.ends_with("/v1"), "{openai_url}");

    let reach = || async {
        let postgres = match PgConnection::connect(faulty.database_url()).await {
            Ok(mut connection) => connection.ping().await.is_ok(),
            Err(_) => false,
        };
        let redis = match redis::Client::open(faulty.redis_url()) {
            Ok(client) => client.get_multiplexed_async_connection().await.is_ok(),
            Err(_) => false,
        };
        let s3 = reqwest::get(faulty.s3_endpoint()).await.is_ok();
        let openai = reqwest::get(format!("{openai_url}/models")).await.is_ok();
        [postgres, redis, s3, openai]
    };
    ensure!(reach().await == [true; 4], "all are well at first");
    let proxies = [&faulty.postgres, &faulty.redis, &faulty.s3, &openai_proxy];
    for (at, proxy) in proxies.into_iter().enumerate() {
        let mut expected = [true; 4];
        expected[at] = false;
        proxy.set(NetworkFault::CutAfter { bytes: 0 });
        ensure!(reach().await == expected, "service {at}");
        proxy.heal();
    }
    ensure!(reach().await == [true; 4], "all are well again");
    let environment = faulty.environment();
    let changed = environment.iter().zip(sandbox.environment());
    let changed: Vec<_> = changed
        .filter(|(through, direct)| *through != direct)
        .map(|((name, _), _)| name.as_str())
        .collect();
    ensure!(
        changed == ["DATABASE_URL", "REDIS_URL", "AWS_ENDPOINT_URL"],
        "{changed:?}"
    );
    Ok(())
}
