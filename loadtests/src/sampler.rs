//! Watches the backend, the load generator and the machine while a cell runs: CPU time and memory.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use procfs::process::Process;
use procfs::{CurrentSI, KernelStats};
use tokio::task::JoinHandle;

use crate::cgroup::{CpuMeter, CpuTime, ticks_as_s};
use crate::measurement::Observer;
use crate::stats::{count_as_f64, interpolate, mean};
use crate::threads::{ThreadMeter, ThreadTimes};

/// How often a sample is taken: often enough to interpolate, rare enough to cost nothing.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// One look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Seconds since the Unix epoch.
    pub at_s: f64,
    /// CPU time of the backend and of its children.
    pub cpu: CpuTime,
    /// Resident memory of the backend in KiB.
    pub memory_kib: u64,
    /// CPU seconds of this process, the load generator.
    pub load_generator_cpu_s: f64,
    /// The same, by part.
    pub threads: ThreadTimes,
    /// Seconds, over all cores, in which the machine's CPUs were busy.
    pub host_busy_s: f64,
}

/// Samples in ascending order of time.
#[derive(Debug)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Samples must be in ascending order of time.
    pub fn new(samples: Vec<Sample>) -> Self {
        Self(samples)
    }

    /// CPU time of the backend from one instant to another.
    pub fn cpu(&self, from_s: f64, to_s: f64) -> CpuTime {
        CpuTime {
            user_s: self.growth(from_s, to_s, |sample| sample.cpu.user_s),
            system_s: self.growth(from_s, to_s, |sample| sample.cpu.system_s),
        }
    }

    /// CPU seconds of the load generator from one instant to another.
    pub fn load_generator_cpu_s(&self, from_s: f64, to_s: f64) -> f64 {
        self.growth(from_s, to_s, |sample| sample.load_generator_cpu_s)
    }

    /// CPU time of S3 from one instant to another, where it runs in this process.
    pub fn s3_cpu(&self, from_s: f64, to_s: f64) -> CpuTime {
        CpuTime {
            user_s: self.growth(from_s, to_s, |sample| sample.threads.s3.user_s),
            system_s: self.growth(from_s, to_s, |sample| sample.threads.s3.system_s),
        }
    }

    /// The CPU of the machine and of the processes that measured, between two instants.
    pub fn observer(&self, from_s: f64, to_s: f64) -> Observer {
        let length_s = to_s - from_s;
        let cores = count_as_f64(std::thread::available_parallelism().map_or(1, usize::from));
        let busy_s = self.growth(from_s, to_s, |sample| sample.host_busy_s);
        let part = |value: fn(&Sample) -> f64| self.growth(from_s, to_s, value) / length_s;
        Observer {
            host_cpu_utilization: busy_s / length_s / cores,
            users_cores: part(|sample| sample.threads.users_s),
            openai_cores: part(|sample| sample.threads.openai_s),
            busiest_thread_cores: part(|sample| sample.threads.busiest_s),
        }
    }

    /// Mean and greatest resident memory between two instants, in KiB; zero without samples.
    pub fn memory_kib(&self, from_s: f64, to_s: f64) -> (u64, u64) {
        let within: Vec<u64> = self
            .0
            .iter()
            .filter(|sample| sample.at_s >= from_s && sample.at_s <= to_s)
            .map(|sample| sample.memory_kib)
            .collect();
        let count = u64::try_from(within.len()).unwrap_or(u64::MAX).max(1);
        (
            within.iter().sum::<u64>() / count,
            within.iter().copied().max().unwrap_or(0),
        )
    }

    /// Resident memory over the generations in flight, until `to_s`: pairs of a level and the mean
    /// memory in KiB while it held. `in_flight` tells the level at an instant.
    pub fn memory_by_level(&self, to_s: f64, in_flight: impl Fn(f64) -> usize) -> Vec<(f64, f64)> {
        let mut levels: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for sample in self.0.iter().filter(|sample| sample.at_s <= to_s) {
            let kib = crate::stats::count_u64_as_f64(sample.memory_kib);
            levels.entry(in_flight(sample.at_s)).or_default().push(kib);
        }
        levels
            .into_iter()
            .filter_map(|(level, kib)| Some((count_as_f64(level), mean(&kib)?.value)))
            .collect()
    }

    fn growth(&self, from_s: f64, to_s: f64, value: impl Fn(&Sample) -> f64) -> f64 {
        let curve: Vec<_> = self
            .0
            .iter()
            .map(|sample| (sample.at_s, value(sample)))
            .collect();
        let at = |instant_s| interpolate(&curve, instant_s).unwrap_or(0.0);
        at(to_s) - at(from_s)
    }
}

/// A running observation.
#[derive(Debug)]
pub struct Sampler {
    task: JoinHandle<Vec<Sample>>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl Sampler {
    /// Starts watching process `pid` of this machine.
    pub fn start(pid: u32, meter: CpuMeter) -> Self {
        Self::start_with(move || Some((meter.read()?, memory_kib(pid)?)))
    }

    /// Starts watching this process and the machine only: the backend is somebody else's.
    pub fn start_without_backend() -> Self {
        Self::start_with(|| Some((CpuTime::default(), 0)))
    }

    fn start_with(backend: impl Fn() -> Option<(CpuTime, u64)> + Send + 'static) -> Self {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut samples = Vec::new();
            let mut threads = ThreadMeter::default();
            let mut ticks = tokio::time::interval(SAMPLE_EVERY);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = &mut stopped => break,
                }
                // A process that is gone ends the curve; the cell notices by itself that it died.
                let Some(sample) = sample(&backend, &mut threads) else {
                    break;
                };
                samples.push(sample);
            }
            samples
        });
        Self { task, stop }
    }

    /// Ends the observation.
    pub async fn finish(self) -> Samples {
        // The task may have ended already, with the process.
        let _ = self.stop.send(());
        Samples(self.task.await.unwrap_or_default())
    }
}

/// Resident memory of a process in KiB; `None` when it is gone.
pub fn memory_kib(pid: u32) -> Option<u64> {
    Process::new(i32::try_from(pid).ok()?)
        .ok()?
        .status()
        .ok()?
        .vmrss
}

fn sample(
    backend: &impl Fn() -> Option<(CpuTime, u64)>,
    threads: &mut ThreadMeter,
) -> Option<Sample> {
    let kernel = KernelStats::current().ok()?.total;
    let busy_ticks = kernel.user
        + kernel.nice
        + kernel.system
        + kernel.irq.unwrap_or(0)
        + kernel.softirq.unwrap_or(0)
        + kernel.steal.unwrap_or(0);
    let (cpu, memory_kib) = backend()?;
    Some(Sample {
        at_s: unix_s(SystemTime::now()),
        cpu,
        memory_kib,
        load_generator_cpu_s: CpuMeter::Process(std::process::id()).read()?.total_s(),
        threads: threads.read(),
        host_busy_s: ticks_as_s(busy_ticks),
    })
}

/// Seconds since the Unix epoch.
pub fn unix_s(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
