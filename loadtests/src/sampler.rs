//! Watches one process while a cell runs: CPU time, memory, and how busy the machine is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use procfs::process::Process;
use procfs::{CurrentSI, KernelStats};
use tokio::task::JoinHandle;

use crate::cgroup::{CpuMeter, ticks_as_s};
use crate::stats::interpolate;

/// How often a sample is taken: often enough to interpolate, rare enough to cost nothing.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// One look at the process.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Seconds since the Unix epoch.
    pub at_s: f64,
    /// CPU seconds of the process and of its children that have ended.
    pub cpu_s: f64,
    /// Resident memory in KiB.
    pub memory_kib: u64,
    /// CPU seconds of this process, the load generator.
    pub load_generator_cpu_s: f64,
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

    /// CPU seconds of the process from one instant to another.
    pub fn cpu_s(&self, from_s: f64, to_s: f64) -> f64 {
        self.growth(from_s, to_s, |sample| sample.cpu_s)
    }

    /// CPU seconds of the load generator from one instant to another.
    pub fn load_generator_cpu_s(&self, from_s: f64, to_s: f64) -> f64 {
        self.growth(from_s, to_s, |sample| sample.load_generator_cpu_s)
    }

    /// Busy seconds of the machine, over all cores, from one instant to another.
    pub fn host_busy_s(&self, from_s: f64, to_s: f64) -> f64 {
        self.growth(from_s, to_s, |sample| sample.host_busy_s)
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
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut samples = Vec::new();
            let mut ticks = tokio::time::interval(SAMPLE_EVERY);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = &mut stopped => break,
                }
                // A process that is gone ends the curve; the cell notices by itself that it died.
                let Some(sample) = sample(pid, &meter) else {
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

fn sample(pid: u32, meter: &CpuMeter) -> Option<Sample> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    let kernel = KernelStats::current().ok()?.total;
    let busy_ticks = kernel.user
        + kernel.nice
        + kernel.system
        + kernel.irq.unwrap_or(0)
        + kernel.softirq.unwrap_or(0)
        + kernel.steal.unwrap_or(0);
    Some(Sample {
        at_s: unix_s(SystemTime::now()),
        cpu_s: meter.read_s()?,
        memory_kib: process.status().ok()?.vmrss?,
        load_generator_cpu_s: CpuMeter::Process(std::process::id()).read_s()?,
        host_busy_s: ticks_as_s(busy_ticks),
    })
}

/// Seconds since the Unix epoch.
pub fn unix_s(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
