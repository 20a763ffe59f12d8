//! Watches Postgres, Redis and S3 while a cell runs: their CPU time and the work they were given.
//!
//! Everything here is optional: a figure that this machine does not tell is left out, never guessed.

use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use harness::{Provider, Sandbox, Stack};
use procfs::process::Process;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor, Row};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::cgroup::{CpuMeter, CpuTime, ticks_as_s};
use crate::sampler::unix_s;
use crate::stats::{count_as_f64, count_u64_as_f64, interpolate};

/// How often the services are asked: rarely enough that asking is no load.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// What the services had done at one instant, counted from any start.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceSample {
    /// Seconds since the Unix epoch.
    pub at_s: f64,
    /// CPU time of all of Postgres' processes.
    pub postgres_cpu: Option<CpuTime>,
    /// CPU time of Redis.
    pub redis_cpu: Option<CpuTime>,
    /// CPU time of S3, where it has a container of its own.
    pub s3_cpu: Option<CpuTime>,
    /// What Postgres counted.
    pub database: Option<DatabaseCounts>,
    /// What Redis counted.
    pub redis: Option<RedisCounts>,
}

/// Counters of `pg_stat_database` for the backend's database.
#[derive(Clone, Copy, Debug, Default)]
pub struct DatabaseCounts {
    /// Connections right now.
    pub connections: u64,
    /// Committed transactions.
    pub transactions: f64,
    /// Time spent executing statements, in milliseconds.
    pub active_ms: f64,
    /// Executed statements; `None` without `pg_stat_statements`.
    pub statements: Option<f64>,
}

/// Counters of Redis' `INFO`, without what asking for them took.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisCounts {
    /// Executed commands.
    pub commands: f64,
    /// Received bytes.
    pub bytes_in: f64,
    /// Sent bytes.
    pub bytes_out: f64,
}

/// Samples in ascending order of time.
#[derive(Debug, Default)]
pub struct ServiceSamples(Vec<ServiceSample>);

impl ServiceSamples {
    /// Samples must be in ascending order of time.
    pub fn new(samples: Vec<ServiceSample>) -> Self {
        Self(samples)
    }

    /// Growth of a counter from one instant to another; `None` when fewer than two samples have it.
    pub fn growth(
        &self,
        from_s: f64,
        to_s: f64,
        value: impl Fn(&ServiceSample) -> Option<f64>,
    ) -> Option<f64> {
        let curve: Vec<_> = self
            .0
            .iter()
            .filter_map(|sample| Some((sample.at_s, value(sample)?)))
            .collect();
        if curve.len() < 2 {
            return None;
        }
        Some(interpolate(&curve, to_s)? - interpolate(&curve, from_s)?)
    }

    /// Growth of a CPU time, part by part.
    pub fn cpu(
        &self,
        from_s: f64,
        to_s: f64,
        value: impl Fn(&ServiceSample) -> Option<CpuTime>,
    ) -> Option<CpuTime> {
        Some(CpuTime {
            user_s: self.growth(from_s, to_s, |sample| Some(value(sample)?.user_s))?,
            system_s: self.growth(from_s, to_s, |sample| Some(value(sample)?.system_s))?,
        })
    }

    /// Mean and greatest number of connections to the database between two instants.
    pub fn connections(&self, from_s: f64, to_s: f64) -> Option<(f64, u64)> {
        let within: Vec<u64> = self
            .0
            .iter()
            .filter(|sample| sample.at_s >= from_s && sample.at_s <= to_s)
            .filter_map(|sample| Some(sample.database?.connections))
            .collect();
        let greatest = within.iter().copied().max()?;
        let mean = count_u64_as_f64(within.iter().sum()) / count_as_f64(within.len());
        Some((mean, greatest))
    }
}

/// A running observation of the services.
#[derive(Debug)]
pub struct ServiceSampler {
    task: JoinHandle<Vec<ServiceSample>>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl ServiceSampler {
    /// Starts watching what `stack` runs, and the database of `sandbox`.
    pub async fn start(stack: &Stack, sandbox: &Sandbox) -> Self {
        let mut watch = Watch {
            meters: Meters::find(stack).await,
            database: DatabaseWatch::connect(sandbox.database_url()).await,
            redis: RedisWatch::connect(sandbox.redis_url()).await,
        };
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut samples = Vec::new();
            let mut ticks = tokio::time::interval(SAMPLE_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = &mut stopped => break,
                }
                samples.push(watch.look().await);
            }
            watch.close().await;
            samples
        });
        Self { task, stop }
    }

    /// Ends the observation.
    pub async fn finish(self) -> ServiceSamples {
        // The task ends only by this, or by a panic, after which there is nothing to report.
        let _ = self.stop.send(());
        ServiceSamples(self.task.await.unwrap_or_default())
    }
}

struct Watch {
    meters: Meters,
    database: Option<DatabaseWatch>,
    redis: Option<RedisWatch>,
}

impl Watch {
    async fn look(&mut self) -> ServiceSample {
        let at_s = unix_s(SystemTime::now());
        let database = match &mut self.database {
            Some(watch) => watch.look().await,
            None => None,
        };
        let (redis, redis_cpu) = match &mut self.redis {
            Some(watch) => watch.look().await.unzip(),
            None => (None, None),
        };
        ServiceSample {
            at_s,
            postgres_cpu: self.meters.postgres.as_ref().and_then(Meter::read),
            redis_cpu,
            s3_cpu: self.meters.s3.as_ref().and_then(Meter::read),
            database,
            redis,
        }
    }

    async fn close(self) {
        if let Some(watch) = self.database {
            // It ends with the run in any case.
            let _ = watch.connection.close().await;
        }
    }
}

/// Where the CPU time of a service is read.
#[derive(Debug)]
enum Meter {
    Group(CpuMeter),
    /// A process and its children, which it waits for when they end.
    Tree(u32),
}

impl Meter {
    fn read(&self) -> Option<CpuTime> {
        match self {
            Meter::Group(meter) => meter.read(),
            Meter::Tree(pid) => {
                let ended_and_own = CpuMeter::Process(*pid).read()?;
                let process = Process::new(i32::try_from(*pid).ok()?).ok()?;
                let children = process.task_main_thread().ok()?.children().ok()?;
                let living = children.into_iter().filter_map(|child| {
                    // One that has just ended is in its parent's count.
                    let stat = Process::new(i32::try_from(child).ok()?).ok()?.stat().ok()?;
                    Some(CpuTime {
                        user_s: ticks_as_s(stat.utime),
                        system_s: ticks_as_s(stat.stime),
                    })
                });
                Some(living.fold(ended_and_own, CpuTime::plus))
            }
        }
    }
}

#[derive(Debug, Default)]
struct Meters {
    postgres: Option<Meter>,
    s3: Option<Meter>,
}

impl Meters {
    async fn find(stack: &Stack) -> Self {
        match stack.provider() {
            Provider::Native => Self {
                postgres: postmaster(&stack.run_dir().join("postgres")).map(Meter::Tree),
                // In this process: its threads are counted there.
                s3: None,
            },
            Provider::Docker => containers(stack).await,
        }
    }
}

/// The process that owns a Postgres data folder: the first line of its `postmaster.pid`.
fn postmaster(data: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// The control groups of the run's containers, told apart by the names of their images.
async fn containers(stack: &Stack) -> Meters {
    let mut meters = Meters::default();
    for (id, image) in containers_of(stack).await {
        let arguments = ["inspect", "--format={{.State.Pid}}", &id].map(str::to_owned);
        let pid = docker(&arguments)
            .await
            .and_then(|text| text.trim().parse().ok());
        let meter = pid.and_then(CpuMeter::of_group).map(Meter::Group);
        if image.contains("postgres") {
            meters.postgres = meter;
        } else if image.contains("localstack") {
            meters.s3 = meter;
        }
    }
    meters
}

/// Ids and image names of the run's containers; none without a docker program.
pub(crate) async fn containers_of(stack: &Stack) -> Vec<(String, String)> {
    let mut arguments = vec!["ps".to_owned(), "--format={{.ID}} {{.Image}}".to_owned()];
    for (name, value) in stack.container_labels() {
        arguments.extend(["--filter".to_owned(), format!("label={name}={value}")]);
    }
    let listed = docker(&arguments).await.unwrap_or_default();
    listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(id, image)| (id.to_owned(), image.to_owned()))
        .collect()
}

/// What the docker program prints; `None` when it is missing, fails or hangs.
pub(crate) async fn docker(arguments: &[String]) -> Option<String> {
    let output = tokio::process::Command::new("docker")
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(5), output)
        .await
        .ok()?
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

struct DatabaseWatch {
    connection: PgConnection,
    database: String,
    statements: bool,
}

impl DatabaseWatch {
    /// Connects to the server's own database, so that asking is no work of the one asked about.
    async fn connect(url: &str) -> Option<Self> {
        let options = PgConnectOptions::from_str(url).ok()?;
        let database = options.get_database()?.to_owned();
        let options = options.database("postgres").disable_statement_logging();
        let mut connection = PgConnection::connect_with(&options).await.ok()?;
        // The view is there where the server was started with its library, which it may not have.
        let statements = connection
            .execute(
                "CREATE EXTENSION IF NOT EXISTS pg_stat_statements; \
                 SELECT count(*) FROM pg_stat_statements",
            )
            .await
            .is_ok();
        Some(Self {
            connection,
            database,
            statements,
        })
    }

    async fn look(&mut self) -> Option<DatabaseCounts> {
        let row = sqlx::query(
            "SELECT numbackends::int8, xact_commit::float8, active_time
             FROM pg_stat_database WHERE datname = $1",
        )
        .bind(&self.database)
        .fetch_one(&mut self.connection)
        .await
        .ok()?;
        let connections: i64 = row.try_get(0).ok()?;
        Some(DatabaseCounts {
            connections: u64::try_from(connections).ok()?,
            transactions: row.try_get(1).ok()?,
            active_ms: row.try_get(2).ok()?,
            statements: self.statements().await,
        })
    }

    async fn statements(&mut self) -> Option<f64> {
        if !self.statements {
            return None;
        }
        sqlx::query_scalar(
            "SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = $1)",
        )
        .bind(&self.database)
        .fetch_one(&mut self.connection)
        .await
        .ok()
    }
}

struct RedisWatch {
    connection: BufReader<TcpStream>,
    asked: f64,
    asked_bytes_out: f64,
}

/// Bytes of one question.
const INFO: &[u8] = b"INFO\r\n";

impl RedisWatch {
    /// Connects to the host and port of a `redis://` address without a password.
    async fn connect(url: &str) -> Option<Self> {
        let address = url.strip_prefix("redis://")?.split('/').next()?;
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self {
            connection: BufReader::new(stream),
            asked: 0.0,
            asked_bytes_out: 0.0,
        })
    }

    async fn look(&mut self) -> Option<(RedisCounts, CpuTime)> {
        let text = tokio::time::timeout(Duration::from_secs(2), self.info())
            .await
            .ok()??;
        let number = |key: &str| -> Option<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.strip_prefix(':')?.trim().parse().ok()
        };
        let counts = RedisCounts {
            commands: number("total_commands_processed")? - self.asked,
            bytes_in: number("total_net_input_bytes")?
                - (self.asked + 1.0) * count_as_f64(INFO.len()),
            bytes_out: number("total_net_output_bytes")? - self.asked_bytes_out,
        };
        let cpu = CpuTime {
            user_s: number("used_cpu_user")?,
            system_s: number("used_cpu_sys")?,
        };
        self.asked += 1.0;
        self.asked_bytes_out += count_as_f64(text.len());
        Some((counts, cpu))
    }

    /// The whole answer to `INFO`: a bulk string, `$LENGTH`, then so many bytes.
    async fn info(&mut self) -> Option<String> {
        self.connection.get_mut().write_all(INFO).await.ok()?;
        let mut head = String::new();
        self.connection.read_line(&mut head).await.ok()?;
        let length: usize = head.strip_prefix('$')?.trim().parse().ok()?;
        let mut body = vec![0; length + 2];
        self.connection.read_exact(&mut body).await.ok()?;
        String::from_utf8(body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_bounded_by_the_window_and_absent_without_samples() {
        let samples = ServiceSamples::new(
            (0..10)
                .map(|i| ServiceSample {
                    at_s: f64::from(i),
                    database: Some(DatabaseCounts {
                        connections: u64::from(i % 3 == 0) * 5 + 1,
                        transactions: 100.0 * f64::from(i),
                        ..DatabaseCounts::default()
                    }),
                    ..ServiceSample::default()
                })
                .collect(),
        );
        let transactions = samples.growth(2.0, 4.5, |sample| Some(sample.database?.transactions));
        assert!((transactions.expect("ten samples") - 250.0).abs() < 1e-9);
        assert_eq!(samples.connections(1.0, 3.0), Some((8.0 / 3.0, 6)));
        assert_eq!(
            samples.growth(2.0, 4.5, |sample| Some(sample.redis?.commands)),
            None
        );
        assert_eq!(samples.cpu(0.0, 9.0, |sample| sample.postgres_cpu), None);
    }
}
