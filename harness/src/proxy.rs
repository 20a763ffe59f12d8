//! A TCP proxy that plays a bad network in front of any service.
//!
//! Faults are switched while it runs, and take hold of open connections too. Refusing is refusing:
//! the port is bound but not listening, so that the kernel answers with a reset and nobody else
//! can take the port meanwhile.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use url::Url;

use crate::background::{background, in_background};

/// After so long without a packet an AWS NAT gateway forgets a connection and answers the next one
/// with a reset, in real milliseconds. Source: AWS knowledge centre, "NAT gateway connection".
pub const NAT_GATEWAY_IDLE_MS: u64 = 350_000;

/// The longest idle time-out that an application load balancer can have. Source: Elastic Load Balancing
/// user guide, "Application Load Balancer attributes", `idle_timeout.timeout_seconds`.
const ALB_IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(4_000);
const LISTEN_BACKLOG: u32 = 1024;
/// A proxy that has not begun or ended to refuse by then never will.
const DOOR_TIMEOUT: Duration = Duration::from_secs(5);
const BUFFER_BYTES: usize = 16 << 10;

/// What the network does to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkFault {
    /// New connections are refused; open ones are reset.
    Refuse,
    /// A connection is reset when it has carried so many bytes to the client.
    CutAfter {
        /// Bytes of answers that still arrive, counted from the connection's beginning.
        bytes: u64,
    },
    /// Connections open, and nothing moves on them in either direction.
    Stall,
    /// Every piece of an answer arrives so much later.
    Delay(Duration),
    /// A connection without traffic for so long is forgotten; what the client sends next is
    /// answered with a reset. What the service sends is lost.
    ResetAfterIdle(Duration),
    /// Whoever has waited for an answer for so long, without a byte in either direction, gets
    /// `504 Gateway Timeout` and the end of the connection; one that waits for nothing is only closed.
    GatewayTimeoutAfterIdle(Duration),
}

/// What an application load balancer says of a target that was silent for too long.
const GATEWAY_TIMEOUT: &[u8] =
    b"HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

impl NetworkFault {
    /// A NAT gateway in compressed time: 350 s divided by the speed-up.
    #[must_use]
    pub fn nat_gateway(speedup: f64) -> NetworkFault {
        let real = Duration::from_millis(NAT_GATEWAY_IDLE_MS);
        let idle = Duration::try_from_secs_f64(real.as_secs_f64() / speedup);
        NetworkFault::ResetAfterIdle(idle.unwrap_or(real))
    }

    /// An application load balancer in compressed time, with an idle time-out of so many real seconds.
    #[must_use]
    pub fn load_balancer(idle_timeout_s: f64, speedup: f64) -> NetworkFault {
        let idle = Duration::try_from_secs_f64(idle_timeout_s / speedup);
        NetworkFault::GatewayTimeoutAfterIdle(idle.unwrap_or(ALB_IDLE_TIMEOUT_MAX))
    }

    /// After how long a silent connection is ended.
    fn idle_limit(self) -> Option<Duration> {
        match self {
            NetworkFault::ResetAfterIdle(idle) | NetworkFault::GatewayTimeoutAfterIdle(idle) => {
                Some(idle)
            }
            _ => None,
        }
    }
}

/// Why a proxy could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No port.
    #[error("bind a port for the fault proxy")]
    Bind(#[source] io::Error),
    /// What is to be proxied has no address.
    #[error("put a fault proxy in front of {url}: {reason}")]
    Address {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// A proxy on a port of its own, without a fault at first. It ends when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<Option<NetworkFault>>,
    connections: Arc<AtomicU64>,
    door: Arc<Door>,
    serving: JoinHandle<()>,
}

/// Whether new connections are refused, as the serving part has last arranged it.
#[derive(Debug, Default)]
struct Door {
    shut: Mutex<bool>,
    moved: Condvar,
}

impl Door {
    fn set(&self, shut: bool) {
        *self.shut.lock().unwrap_or_else(PoisonError::into_inner) = shut;
        self.moved.notify_all();
    }

    /// Blocks until it is so. That takes a moment of another thread, unless this machine is at its end.
    fn wait_until(&self, shut: bool) {
        let now = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = self
            .moved
            .wait_timeout_while(now, DOOR_TIMEOUT, |now| *now != shut);
        drop(moved);
    }
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 and forwards to `target`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(target: SocketAddr) -> Result<FaultProxy, ProxyError> {
        in_background(async move {
            let socket = reserve((Ipv4Addr::LOCALHOST, 0).into()).map_err(ProxyError::Bind)?;
            let address = socket.local_addr().map_err(ProxyError::Bind)?;
            let listener = socket.listen(LISTEN_BACKLOG).map_err(ProxyError::Bind)?;
            let (fault, watched) = watch::channel(None);
            let connections = Arc::new(AtomicU64::new(0));
            let door = Arc::new(Door::default());
            let proxy = Proxy {
                door: Arc::clone(&door),
                address,
                target,
                fault: watched,
                connections: Arc::clone(&connections),
            };
            Ok(FaultProxy {
                address,
                fault,
                connections,
                door,
                serving: background().spawn(proxy.serve(listener)),
            })
        })
        .await
    }

    /// A proxy in front of the service of a URL, and the URL that leads through it: the rest of it
    /// (user, path, query) stays.
    ///
    /// # Errors
    /// When the URL names no IP address and port, or no port can be had.
    pub async fn in_front_of(url: &str) -> Result<(FaultProxy, String), ProxyError> {
        let wrong = |reason| ProxyError::Address {
            url: url.to_owned(),
            reason,
        };
        let mut through = Url::parse(url).map_err(|_| wrong("it is not a URL"))?;
        let host = through.host_str().and_then(|host| host.parse().ok());
        let host = host.ok_or_else(|| wrong("its host is not an IP address"))?;
        let port = through.port_or_known_default();
        let port = port.ok_or_else(|| wrong("it has no port"))?;
        let proxy = FaultProxy::start(SocketAddr::new(host, port)).await?;
        let set = through.set_port(Some(proxy.address.port()));
        set.map_err(|()| wrong("its scheme has no ports"))?;
        // A URL without a path is shown with one, which an endpoint without one has to lose again.
        let mut text = through.to_string();
        if !url.ends_with('/') && through.path() == "/" {
            text.truncate(text.trim_end_matches('/').len());
        }
        Ok((proxy, text))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for open and for new connections: a connection that is tried when this returns
    /// meets the fault.
    pub fn set(&self, fault: NetworkFault) {
        self.fault.send_replace(Some(fault));
        self.door.wait_until(fault == NetworkFault::Refuse);
    }

    /// The network is well again when this returns. Connections that a fault has closed stay closed.
    pub fn heal(&self) {
        self.fault.send_replace(None);
        self.door.wait_until(false);
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A socket that has the port and does not listen: connecting to it is refused.
fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The part that serves.
#[derive(Debug)]
struct Proxy {
    address: SocketAddr,
    target: SocketAddr,
    fault: watch::Receiver<Option<NetworkFault>>,
    connections: Arc<AtomicU64>,
    door: Arc<Door>,
}

impl Proxy {
    async fn serve(mut self, mut listener: TcpListener) {
        loop {
            self.accept_until_refused(listener).await;
            let Some(next) = self.refuse().await else {
                return;
            };
            listener = next;
        }
    }

    /// Serves until connections are to be refused. The listener is closed with them.
    async fn accept_until_refused(&mut self, listener: TcpListener) {
        let mut open = JoinSet::new();
        let mut fault = self.fault.clone();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((client, _)) => {
                        self.connections.fetch_add(1, Ordering::Relaxed);
                        open.spawn(connection(client, self.target, self.fault.clone()));
                    }
                    // Out of descriptors: the next ones may be luckier, in a while.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                },
                Some(_) = open.join_next() => {}
                () = until_refused(&mut fault) => break,
            }
        }
        // Each connection sees the same fault and resets itself.
        drop(listener);
        while open.join_next().await.is_some() {}
    }

    /// Holds the port without listening until the fault is another one; `None` at the end.
    async fn refuse(&mut self) -> Option<TcpListener> {
        let socket = loop {
            match reserve(self.address) {
                Ok(socket) => break socket,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        self.door.set(true);
        let healed = self
            .fault
            .wait_for(|fault| *fault != Some(NetworkFault::Refuse));
        healed.await.ok()?;
        let listener = socket.listen(LISTEN_BACKLOG).ok()?;
        self.door.set(false);
        Some(listener)
    }
}

/// Returns when connections are to be refused, or the proxy was dropped.
async fn until_refused(fault: &mut watch::Receiver<Option<NetworkFault>>) {
    // An error says that nobody can set a fault any more.
    fault
        .wait_for(|fault| *fault == Some(NetworkFault::Refuse))
        .await
        .ok();
}

/// One connection through the proxy.
#[derive(Debug)]
struct Connection {
    from_client: OwnedReadHalf,
    to_client: OwnedWriteHalf,
    from_server: OwnedReadHalf,
    to_server: OwnedWriteHalf,
    /// Bytes that the client was given.
    answered_bytes: u64,
    last_traffic: Instant,
    client_sends: bool,
    server_sends: bool,
    /// The client has asked and was not answered yet.
    waits: bool,
    /// The path has forgotten it; the client learns that when it sends.
    forgotten: bool,
}

/// Said instead of an orderly end.
struct Reset;

async fn connection(
    client: TcpStream,
    target: SocketAddr,
    mut fault: watch::Receiver<Option<NetworkFault>>,
) {
    let Ok(server) = TcpStream::connect(target).await else {
        client.set_zero_linger().ok();
        return;
    };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut connection = Connection {
        from_client,
        to_client,
        from_server,
        to_server,
        answered_bytes: 0,
        last_traffic: Instant::now(),
        client_sends: true,
        server_sends: true,
        waits: false,
        forgotten: false,
    };
    let mut refused = fault.clone();
    let reset = tokio::select! {
        carried = connection.carry(&mut fault) => carried.is_err(),
        // Also while it waits for a peer that does not read.
        () = until_refused(&mut refused) => true,
    };
    if reset {
        connection.reset();
    }
}

impl Connection {
    /// Closing without lingering is what sends a reset; a dropped writing half would say goodbye.
    fn reset(self) {
        for half in [self.to_client, self.to_server] {
            half.as_ref().set_zero_linger().ok();
            half.forget();
        }
    }

    /// Carries until both sides have said all, or the connection is to be reset.
    async fn carry(
        &mut self,
        watched: &mut watch::Receiver<Option<NetworkFault>>,
    ) -> Result<(), Reset> {
        let mut question = vec![0; BUFFER_BYTES];
        let mut answer = vec![0; BUFFER_BYTES];
        while self.client_sends || self.server_sends {
            let fault = *watched.borrow_and_update();
            if let Some(NetworkFault::CutAfter { bytes }) = fault
                && self.answered_bytes >= bytes
            {
                return Err(Reset);
            }
            let moves = fault != Some(NetworkFault::Stall);
            let idle = fault
                .and_then(NetworkFault::idle_limit)
                .filter(|_| !self.forgotten);
            let forget_at = self.last_traffic + idle.unwrap_or_default();
            tokio::select! {
                changed = watched.changed() => changed.map_err(|_| Reset)?,
                read = self.from_client.read(&mut question), if self.client_sends && moves => {
                    let count = read.map_err(|_| Reset)?;
                    self.carry_up(&question[..count]).await?;
                }
                read = self.from_server.read(&mut answer),
                    if self.server_sends && moves && !self.forgotten =>
                {
                    let count = read.map_err(|_| Reset)?;
                    self.carry_down(&answer[..count], fault).await?;
                }
                () = tokio::time::sleep_until(forget_at), if idle.is_some() => {
                    if matches!(fault, Some(NetworkFault::GatewayTimeoutAfterIdle(_))) {
                        return self.give_up().await;
                    }
                    self.forgotten = true;
                }
            }
        }
        Ok(())
    }

    /// Ends the connection as a load balancer does that has waited for long enough.
    async fn give_up(&mut self) -> Result<(), Reset> {
        if self.waits {
            let said = self.to_client.write_all(GATEWAY_TIMEOUT).await;
            said.map_err(|_| Reset)?;
        }
        self.to_client.shutdown().await.map_err(|_| Reset)
    }

    /// Nothing is the end of what the client sends.
    async fn carry_up(&mut self, bytes: &[u8]) -> Result<(), Reset> {
        if self.forgotten {
            return Err(Reset);
        }
        self.last_traffic = Instant::now();
        if bytes.is_empty() {
            self.client_sends = false;
            return self.to_server.shutdown().await.map_err(|_| Reset);
        }
        self.waits = true;
        let written = self.to_server.write_all(bytes).await;
        written.map_err(|_| Reset)
    }

    /// Nothing is the end of what the service sends.
    async fn carry_down(&mut self, bytes: &[u8], fault: Option<NetworkFault>) -> Result<(), Reset> {
        if let Some(NetworkFault::Delay(delay)) = fault {
            tokio::time::sleep(delay).await;
        }
        self.last_traffic = Instant::now();
        if bytes.is_empty() {
            self.server_sends = false;
            return self.to_client.shutdown().await.map_err(|_| Reset);
        }
        self.waits = false;
        let mut carried = bytes;
        if let Some(NetworkFault::CutAfter { bytes: limit }) = fault {
            let left = usize::try_from(limit.saturating_sub(self.answered_bytes));
            carried = &bytes[..bytes.len().min(left.unwrap_or(usize::MAX))];
        }
        let written = self.to_client.write_all(carried).await;
        self.answered_bytes += u64::try_from(carried.len()).unwrap_or(u64::MAX);
        if carried.len() < bytes.len() {
            return Err(Reset);
        }
        written.map_err(|_| Reset)
    }
}
