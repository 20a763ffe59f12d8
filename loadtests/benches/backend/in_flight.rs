//! Thousands of generations in one small process: what each adds to its memory, what polls and CPU
//! time become, and that all of them end well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use harness::Stack;
use loadtests::histogram::Latencies;
use loadtests::source_document::source_document;
use loadtests::stats::count_as_f64;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::service::{Memory, Service, Shape, Subject};
use crate::user::User;

/// How many, how fast, in what.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Generations altogether; all of them are in flight at once when they arrive faster than they end.
    #[arg(long, default_value_t = 5_000)]
    generations: usize,
    /// Time over which they arrive evenly, in seconds.
    #[arg(long, default_value_t = 600.0)]
    arrive: f64,
    /// How long one waits for OpenAI altogether, in seconds.
    #[arg(long, default_value_t = 900.0)]
    generation: f64,
    /// vCPU of the process.
    #[arg(long, default_value_t = 0.5)]
    vcpu: f64,
    /// Memory of the process, in MiB.
    #[arg(long, default_value_t = 512)]
    memory_mib: u64,
    /// Accounts that they are spread over; each uploads its document once.
    #[arg(long, default_value_t = 100)]
    users: usize,
}

/// Generations in flight at which the growth of memory begins to count.
const FEW: usize = 100;

/// What registrations have used is given back ten seconds after the last one.
const REST: Duration = Duration::from_secs(12);

/// When a client comes back that was told nothing: the default of `POLL_RETRY_AFTER_MS`. Sooner, and
/// refusals would breed refusals.
const UNTOLD: Duration = Duration::from_secs(5);

/// Requests in a row that may be refused before a user gives up.
const REFUSALS_MAX: u32 = 30;

/// What all generations of the run count in.
#[derive(Debug, Default)]
struct Counts {
    in_flight: AtomicUsize,
    ended_well: AtomicUsize,
    /// Requests that were refused or not answered, and repeated.
    refused: AtomicUsize,
}

impl Counts {
    /// Counts a refusal and waits as long as a client that is told nothing; gives up after too many in a row.
    async fn refused(&self, in_a_row: &mut u32, error: anyhow::Error) -> anyhow::Result<()> {
        if self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
            println!("  first refusal: {error:#}");
        }
        *in_a_row += 1;
        if *in_a_row > REFUSALS_MAX {
            return Err(error);
        }
        sleep(UNTOLD).await;
        Ok(())
    }
}

pub(crate) async fn run(stack: &Stack, subject: &Subject, options: &Options) -> anyhow::Result<()> {
    let shape = Shape {
        vcpu: options.vcpu,
        memory_mib: options.memory_mib,
        workers: u32::try_from(options.generations)?,
        call_ms: options.generation * 1000.0 / 5.0,
    };
    let service = Service::start(stack, subject, "in-flight", shape).await?;
    println!(
        "{} vCPU ({:?}), {} MiB; {} generations of {} s arrive over {} s",
        options.vcpu,
        service.backend.limit(),
        options.memory_mib,
        options.generations,
        options.generation,
        options.arrive
    );
    let users = accounts(&service, options.users).await?;
    sleep(REST).await;
    let counts = Arc::new(Counts::default());
    let mut running = JoinSet::new();
    let (began, cpu_before_s) = (Instant::now(), service.cpu_s()?);
    let gap = Duration::from_secs_f64(options.arrive / count_as_f64(options.generations));
    let mut arrivals = interval(gap.max(Duration::from_micros(100)));
    arrivals.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut few, mut most) = (None, (0, service.memory()?));
    let mut told = Instant::now();
    for number in 0..options.generations {
        arrivals.tick().await;
        let (user, document) = users[number % users.len()].clone();
        running.spawn(generate(user, document, Arc::clone(&counts)));
        observe(&service, &counts, &mut few, &mut most)?;
        tell(&service, &counts, began, &mut told)?;
    }
    let mut polls = Latencies::default();
    let mut failures = Vec::new();
    let mut watch = interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                None => break,
                Some(ended) => match ended? {
                    Ok(latencies) => polls.add(&latencies),
                    Err(error) => failures.push(error),
                }
            },
            _ = watch.tick() => {
                observe(&service, &counts, &mut few, &mut most)?;
                tell(&service, &counts, began, &mut told)?;
            }
        }
    }
    let wall_s = began.elapsed().as_secs_f64();
    let cpu_s = service.cpu_s()? - cpu_before_s;
    let ms = |share| polls.quantile_s(share).unwrap_or(0.0) * 1000.0;
    println!(
        "{} of {} ended well in {wall_s:.0} s; at most {} in flight",
        counts.ended_well.load(Ordering::Relaxed),
        options.generations,
        most.0
    );
    println!(
        "CPU: {:.4} s a generation, {:.2} vCPU on average",
        cpu_s / count_as_f64(options.generations),
        cpu_s / wall_s
    );
    println!(
        "{} polls, {} requests refused and repeated: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        polls.count(),
        counts.refused.load(Ordering::Relaxed),
        ms(0.5),
        ms(0.99),
        ms(1.0)
    );
    if let Some((from, before)) = few {
        let grown_kib = most.1.total_kib.saturating_sub(before.total_kib);
        println!(
            "memory: {before} with {from} in flight, {} with {}: {:.1} KiB each",
            most.1,
            most.0,
            f64::from(u32::try_from(grown_kib)?) / count_as_f64(most.0 - from)
        );
    }
    for failure in failures.iter().take(3) {
        println!("a generation did not end well: {failure:#}");
    }
    service.stop().await;
    anyhow::ensure!(
        failures.is_empty(),
        "{} generations did not end well",
        failures.len()
    );
    Ok(())
}

/// Accounts with a document each.
async fn accounts(service: &Service, count: usize) -> anyhow::Result<Vec<(User, String)>> {
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(60))
        .build()?;
    let pdf = source_document(12)?;
    let mut accounts = Vec::with_capacity(count);
    for _ in 0..count {
        let user = User::register(&http, service.backend.base_url()).await?;
        let document = user.upload(pdf.clone()).await?;
        accounts.push((user, document));
    }
    Ok(accounts)
}

/// One generation from order to end; the latencies of its polls.
async fn generate(user: User, document: String, counts: Arc<Counts>) -> anyhow::Result<Latencies> {
    let mut refusals = 0;
    let generation = loop {
        match user.generate(&document).await {
            Ok(generation) => break generation,
            Err(error) => counts.refused(&mut refusals, error).await?,
        }
    };
    counts.in_flight.fetch_add(1, Ordering::Relaxed);
    let mut latencies = Latencies::default();
    let mut rest = UNTOLD;
    let result = loop {
        sleep(rest).await;
        match user.poll(&generation).await {
            Err(error) => {
                if let Err(error) = counts.refused(&mut refusals, error).await {
                    break Err(error);
                }
            }
            Ok(polled) => {
                refusals = 0;
                latencies.record(polled.took.as_secs_f64());
                rest = polled.come_back_after;
                match polled.status.as_str() {
                    "queued" | "running" => {}
                    "succeeded" => break Ok(()),
                    other => break Err(anyhow::anyhow!("the generation ended {other}")),
                }
            }
        }
    };
    counts.in_flight.fetch_sub(1, Ordering::Relaxed);
    result?;
    counts.ended_well.fetch_add(1, Ordering::Relaxed);
    Ok(latencies)
}

/// Notes the memory with few generations and with the most.
fn observe(
    service: &Service,
    counts: &Counts,
    few: &mut Option<(usize, Memory)>,
    most: &mut (usize, Memory),
) -> anyhow::Result<()> {
    let now = counts.in_flight.load(Ordering::Relaxed);
    if few.is_none() && now >= FEW {
        *few = Some((now, service.memory()?));
    }
    if now > most.0 {
        *most = (now, service.memory()?);
    }
    Ok(())
}

/// One line each half minute: a long run that says nothing looks like one that hangs.
fn tell(
    service: &Service,
    counts: &Counts,
    began: Instant,
    told: &mut Instant,
) -> anyhow::Result<()> {
    if told.elapsed() < Duration::from_secs(30) {
        return Ok(());
    }
    *told = Instant::now();
    println!(
        "  after {:.0} s: {} in flight, {} ended, {}",
        began.elapsed().as_secs_f64(),
        counts.in_flight.load(Ordering::Relaxed),
        counts.ended_well.load(Ordering::Relaxed),
        service.memory()?
    );
    Ok(())
}
