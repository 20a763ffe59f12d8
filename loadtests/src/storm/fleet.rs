//! The two backends of a storm, each behind fault proxies of its own, and what is done to them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use harness::openai::LoadOpenAi;
use harness::{FaultProxy, FaultySandbox, NetworkFault, ProxyError, Sandbox, Stack};
use sqlx::PgPool;

use super::audit::Interruption;
use super::schedule::{Fault, Seat, Service};
use super::settings::Size;
use crate::backend_process::{BackendError, BackendProcess, BackendSpec};

/// vCPU of each: more than a storm needs, for it is not about load.
const VCPU: f64 = 2.0;
/// Memory of each, in MiB.
const MEMORY_MIB: u64 = 1_024;
/// Tries to start a backend again: a machine that is busy may take longer than one try waits.
const STARTS: u32 = 3;

/// What surrounds one backend.
struct Place {
    seat: Seat,
    services: FaultySandbox,
    openai: FaultProxy,
    environment: Vec<(String, String)>,
    process: tokio::sync::Mutex<Option<BackendProcess>>,
    /// Where it listens, or did last.
    base_url: Mutex<String>,
    logs: Mutex<Vec<PathBuf>>,
}

/// Both backends.
#[expect(
    missing_debug_implementations,
    reason = "child processes say nothing worth printing"
)]
pub struct Fleet<'a> {
    stack: &'a Stack,
    binary: &'a Path,
    database: PgPool,
    places: [Place; 2],
}

impl<'a> Fleet<'a> {
    /// Starts both.
    ///
    /// # Errors
    /// When a proxy or a backend cannot be started.
    pub async fn start(
        stack: &'a Stack,
        binary: &'a Path,
        (sandbox, openai): (&Sandbox, &LoadOpenAi),
        size: &Size,
        database: PgPool,
    ) -> Result<Fleet<'a>, FleetError> {
        let place = async |seat| {
            let services = sandbox.behind_faults().await?;
            let (proxy, base_url) = FaultProxy::in_front_of(&openai.base_url()).await?;
            let mut environment = services.environment();
            environment.push(("OPENAI_BASE_URL".to_owned(), base_url));
            environment.extend(size.environment(seat));
            Ok::<_, ProxyError>(Place {
                seat,
                services,
                openai: proxy,
                environment,
                process: tokio::sync::Mutex::default(),
                base_url: Mutex::default(),
                logs: Mutex::default(),
            })
        };
        let places = [place(Seat::First).await?, place(Seat::Second).await?];
        let fleet = Fleet {
            stack,
            binary,
            database,
            places,
        };
        for seat in Seat::ALL {
            fleet.run(seat).await?;
        }
        Ok(fleet)
    }

    fn place(&self, seat: Seat) -> &Place {
        &self.places[seat.index()]
    }

    /// Where a backend listens, or did last.
    pub fn base_url(&self, seat: Seat) -> String {
        lock(&self.place(seat).base_url).clone()
    }

    /// The logs of all that ran so far.
    pub fn logs(&self) -> Vec<PathBuf> {
        let logs = self.places.iter().map(|place| lock(&place.logs).clone());
        logs.flatten().collect()
    }

    /// Starts a backend that does not run.
    ///
    /// # Errors
    /// When it does not listen, again and again.
    pub async fn run(&self, seat: Seat) -> Result<(), BackendError> {
        let place = self.place(seat);
        let mut process = place.process.lock().await;
        let mut tries = 0;
        while process.is_none() {
            let name = format!("storm-{}-{}", seat.name(), lock(&place.logs).len() + 1);
            lock(&place.logs).push(self.stack.run_dir().join(format!("{name}.log")));
            let spec = BackendSpec {
                binary: self.binary,
                vcpu: VCPU,
                memory_mib: MEMORY_MIB,
                environment: place.environment.clone(),
                name,
            };
            tries += 1;
            match BackendProcess::start(self.stack, &spec).await {
                Ok(started) => {
                    *lock(&place.base_url) = started.base_url().to_owned();
                    *process = Some(started);
                }
                Err(error) if tries == STARTS => return Err(error),
                Err(error) => tracing::warn!(%error, "a backend is started once more"),
            }
        }
        Ok(())
    }

    /// `kill -9`. Says which steps were being created.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn kill(&self, seat: Seat) -> Result<Interruption, sqlx::Error> {
        let process = self.place(seat).process.lock().await.take();
        let at_ms = now_ms();
        if let Some(process) = process {
            process.kill().await;
        }
        self.interrupted(seat, at_ms).await
    }

    /// SIGTERM, and SIGKILL to one that does not obey: as an engine would. `None`: it obeyed.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn stop(&self, seat: Seat) -> Result<Option<Interruption>, sqlx::Error> {
        let Some(process) = self.place(seat).process.lock().await.take() else {
            return Ok(None);
        };
        if process.stop().await {
            return Ok(None);
        }
        let at_ms = now_ms();
        Ok(Some(self.interrupted(seat, at_ms).await?))
    }

    /// SIGSTOP, and SIGCONT after a while. Says which steps were being created.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn freeze(&self, seat: Seat, time: Duration) -> Result<Interruption, sqlx::Error> {
        let process = self.place(seat).process.lock().await;
        let at_ms = now_ms();
        if let Some(process) = process.as_ref() {
            process.freeze().await;
        }
        let interrupted = self.interrupted(seat, at_ms).await;
        tokio::time::sleep(time).await;
        if let Some(process) = process.as_ref() {
            process.thaw().await;
        }
        let mut interruption = interrupted?;
        interruption.thawed_at_ms = Some(now_ms());
        Ok(interruption)
    }

    async fn interrupted(&self, seat: Seat, at_ms: u64) -> Result<Interruption, sqlx::Error> {
        let sql = "SELECT generation_id::text, name FROM generation_steps WHERE state = 'creating'";
        let creating: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(&self.database).await?;
        Ok(Interruption {
            of: seat,
            at_ms,
            thawed_at_ms: None,
            creating: BTreeSet::from_iter(creating),
        })
    }

    /// Breaks a backend's path to a service.
    pub fn break_path(&self, seat: Seat, service: Service, fault: Fault) {
        let fault = match fault {
            Fault::Refuse => NetworkFault::Refuse,
            Fault::CutAfter { bytes } => NetworkFault::CutAfter { bytes },
            Fault::Stall => NetworkFault::Stall,
            Fault::Delay { delay_ms } => NetworkFault::Delay(Duration::from_millis(delay_ms)),
        };
        self.proxy(seat, service).set(fault);
    }

    /// Mends it.
    pub fn mend_path(&self, seat: Seat, service: Service) {
        self.proxy(seat, service).heal();
    }

    fn proxy(&self, seat: Seat, service: Service) -> &FaultProxy {
        let place = self.place(seat);
        match service {
            Service::Postgres => &place.services.postgres,
            Service::Redis => &place.services.redis,
            Service::S3 => &place.services.s3,
            Service::OpenAi => &place.openai,
        }
    }

    /// Ends both in order.
    pub async fn end(self) {
        for place in self.places {
            if let Some(process) = place.process.into_inner() {
                let obeyed = process.stop().await;
                tracing::debug!(seat = place.seat.name(), obeyed, "a backend has ended");
            }
        }
    }
}

/// Why the backends could not be started.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// No proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// No backend.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no thread panics while it holds this lock")
}
