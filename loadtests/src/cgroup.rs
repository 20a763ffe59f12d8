//! A CPU and memory limit for one process by a control group of our own, where that is permitted,
//! and the CPU time that a group or a process has used.
//!
//! Both hierarchies are known: version 1 (`cpu.cfs_quota_us`) and version 2 (`cpu.max`). Creating a
//! group takes root or a delegated tree; where neither is there, the caller runs without a limit and
//! says so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::stats::count_as_f64;

/// Length of one scheduling period, in microseconds: the kernel's own default.
const PERIOD_US: u64 = 100_000;

/// Directories of one control group; removing them needs its processes gone.
#[derive(Debug)]
pub struct Cgroup {
    directories: Vec<PathBuf>,
}

impl Cgroup {
    /// Creates a group `name` with a quota of `vcpu` cores and, where the memory controller
    /// permits it, a limit of `memory_mib`.
    ///
    /// # Errors
    /// When the machine has no CPU controller or this user may not create groups in it.
    pub fn create(name: &str, vcpu: f64, memory_mib: u64) -> io::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        if root.join("cgroup.controllers").is_file() {
            Self::create_unified(&root.join(name), vcpu, memory_mib)
        } else {
            Self::create_legacy(root, name, vcpu, memory_mib)
        }
    }

    fn create_unified(directory: &Path, vcpu: f64, memory_mib: u64) -> io::Result<Self> {
        fs::create_dir(directory)?;
        let group = Self {
            directories: vec![directory.to_owned()],
        };
        fs::write(
            directory.join("cpu.max"),
            format!("{} {PERIOD_US}", quota_us(vcpu)),
        )?;
        // The memory controller may not be enabled for the root's children; the CPU limit is what matters.
        if directory.join("memory.max").exists() {
            fs::write(directory.join("memory.max"), (memory_mib << 20).to_string())?;
        }
        Ok(group)
    }

    fn create_legacy(root: &Path, name: &str, vcpu: f64, memory_mib: u64) -> io::Result<Self> {
        let cpu = root.join("cpu").join(name);
        fs::create_dir(&cpu)?;
        let mut group = Self {
            directories: vec![cpu.clone()],
        };
        fs::write(cpu.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
        fs::write(cpu.join("cpu.cfs_quota_us"), quota_us(vcpu).to_string())?;
        // Accounting and memory may be hierarchies of their own, the same one, or missing.
        let accounting = root.join("cpuacct").join(name);
        if fs::create_dir(&accounting).is_ok() {
            group.directories.push(accounting);
        }
        let memory = root.join("memory").join(name);
        if fs::create_dir(&memory).is_ok() {
            fs::write(
                memory.join("memory.limit_in_bytes"),
                (memory_mib << 20).to_string(),
            )?;
            group.directories.push(memory);
        }
        Ok(group)
    }

    /// Moves a process, with all its threads, into the group.
    ///
    /// # Errors
    /// When the process is gone or the kernel refuses the move.
    pub fn add(&self, pid: u32) -> io::Result<()> {
        self.directories
            .iter()
            .try_for_each(|directory| fs::write(directory.join("cgroup.procs"), pid.to_string()))
    }

    /// The group's directories, for whoever cleans up if this process dies.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in &self.directories {
            // A group that still has a dying process refuses; the harness's reaper tries again.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// CPU seconds, by who spent them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuTime {
    /// In the program itself.
    pub user_s: f64,
    /// In the kernel, on its behalf.
    pub system_s: f64,
}

impl CpuTime {
    /// Both together, in seconds.
    pub fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }

    /// Each part times `factor`.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self {
            user_s: self.user_s * factor,
            system_s: self.system_s * factor,
        }
    }

    /// Each part plus the other's.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            user_s: self.user_s + other.user_s,
            system_s: self.system_s + other.system_s,
        }
    }

    /// `total_s` cut in two in the proportion of two coarser counts; all of it the user's without any.
    fn split(total_s: f64, user: f64, system: f64) -> Self {
        let share = if user + system > 0.0 {
            user / (user + system)
        } else {
            1.0
        };
        Self {
            user_s: total_s * share,
            system_s: total_s * (1.0 - share),
        }
    }
}

/// Reads the CPU time of a process and its children, as exactly as the machine tells it.
///
/// A group's own account counts nanoseconds or microseconds and includes children at once; a
/// process's counts ticks of 10 ms and children only after they were waited for.
#[derive(Clone, Debug)]
pub enum CpuMeter {
    /// `cpuacct.usage` of a version 1 group: nanoseconds.
    Legacy(PathBuf),
    /// `cpu.stat` of a version 2 group: `usage_usec`.
    Unified(PathBuf),
    /// `/proc/PID/stat`: ticks.
    Process(u32),
}

impl CpuMeter {
    /// The meter of process `pid`, which must be alone in its group (with its children) when
    /// `alone_in_group` is set.
    pub fn new(pid: u32, alone_in_group: bool) -> Self {
        alone_in_group
            .then(|| Self::of_group(pid))
            .flatten()
            .unwrap_or(Self::Process(pid))
    }

    /// The meter of the control group that `pid` is in; `None` when that is the whole machine's.
    pub fn of_group(pid: u32) -> Option<Self> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let root = Path::new("/sys/fs/cgroup");
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
            // The root group holds every process of the machine.
            if path.is_empty() {
                return None;
            }
            let meter = if controllers.is_empty() {
                Self::Unified(root.join(path).join("cpu.stat"))
            } else if controllers
                .split(',')
                .any(|controller| controller == "cpuacct")
            {
                Self::Legacy(root.join("cpuacct").join(path).join("cpuacct.usage"))
            } else {
                return None;
            };
            meter.read().map(|_| meter)
        })
    }

    /// CPU time so far; `None` when the process or its group is gone.
    pub fn read(&self) -> Option<CpuTime> {
        match self {
            Self::Legacy(path) => {
                let seconds = |path: &Path| {
                    let nanoseconds: u64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
                    Some(Duration::from_nanos(nanoseconds).as_secs_f64())
                };
                let total_s = seconds(path)?;
                let user_s = seconds(&path.with_file_name("cpuacct.usage_user")).unwrap_or(0.0);
                let system_s = seconds(&path.with_file_name("cpuacct.usage_sys")).unwrap_or(0.0);
                Some(CpuTime::split(total_s, user_s, system_s))
            }
            Self::Unified(path) => {
                let text = fs::read_to_string(path).ok()?;
                let seconds = |key: &str| {
                    let microseconds = text.lines().find_map(|line| line.strip_prefix(key))?;
                    Some(Duration::from_micros(microseconds.trim().parse().ok()?).as_secs_f64())
                };
                let total_s = seconds("usage_usec ")?;
                let user_s = seconds("user_usec ").unwrap_or(0.0);
                let system_s = seconds("system_usec ").unwrap_or(0.0);
                Some(CpuTime::split(total_s, user_s, system_s))
            }
            Self::Process(pid) => {
                let process = procfs::process::Process::new(i32::try_from(*pid).ok()?).ok()?;
                let stat = process.stat().ok()?;
                let with_children = |own: u64, children: i64| {
                    ticks_as_s(own + u64::try_from(children).unwrap_or(0))
                };
                Some(CpuTime {
                    user_s: with_children(stat.utime, stat.cutime),
                    system_s: with_children(stat.stime, stat.cstime),
                })
            }
        }
    }

    /// The most memory that the group ever held at once, its processes together, in KiB; `None`
    /// without a group or where its memory is not counted.
    pub fn memory_peak_kib(&self) -> Option<u64> {
        let file = match self {
            Self::Legacy(path) => {
                let group = path.parent()?.strip_prefix("/sys/fs/cgroup/cpuacct").ok()?;
                Path::new("/sys/fs/cgroup/memory")
                    .join(group)
                    .join("memory.max_usage_in_bytes")
            }
            Self::Unified(path) => path.with_file_name("memory.peak"),
            Self::Process(_) => return None,
        };
        let bytes: u64 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
        Some(bytes / 1024)
    }
}

/// The quota of this process's own control group in cores: that of a container, as a rule. `None`
/// where there is no quota or it cannot be read.
pub fn own_quota_cores() -> Option<f64> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|value| *value > 0.0);
    let read = |path: PathBuf| fs::read_to_string(path).ok();
    let root = Path::new("/sys/fs/cgroup");
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        if controllers.is_empty() {
            let text = read(root.join(path).join("cpu.max"))?;
            let (quota, period) = text.trim().split_once(' ')?;
            return Some(number(quota)? / number(period)?);
        }
        if controllers.split(',').any(|controller| controller == "cpu") {
            let group = root.join("cpu").join(path);
            let quota = number(&read(group.join("cpu.cfs_quota_us"))?)?;
            return Some(quota / number(&read(group.join("cpu.cfs_period_us"))?)?);
        }
        None
    })
}

/// Scheduler ticks in seconds.
pub fn ticks_as_s(ticks: u64) -> f64 {
    let per_second = usize::try_from(procfs::ticks_per_second()).unwrap_or(100);
    count_as_f64(usize::try_from(ticks).unwrap_or(usize::MAX)) / count_as_f64(per_second)
}

/// Microseconds of CPU per period.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "vCPU counts are positive and far below the limits of either type"
)]
fn quota_us(vcpu: f64) -> u64 {
    (vcpu * PERIOD_US as f64).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_a_vcpu_is_a_quarter_of_each_period() {
        assert_eq!(quota_us(0.25), 25_000);
        assert_eq!(quota_us(2.0), 200_000);
    }

    #[test]
    fn a_total_is_cut_in_the_proportion_of_coarser_counts() {
        let got = CpuTime::split(2.0, 3.0, 1.0);
        assert!((got.user_s - 1.5).abs() < 1e-12 && (got.system_s - 0.5).abs() < 1e-12);
        assert!((CpuTime::split(2.0, 0.0, 0.0).user_s - 2.0).abs() < 1e-12);
    }

    #[test]
    fn own_cpu_time_grows_with_work() {
        let meter = CpuMeter::new(std::process::id(), false);
        let now_s = || meter.read().expect("this process lives").total_s();
        let before_s = now_s();
        let mut sum = 0_u64;
        // At least two ticks of 10 ms, however fast the machine is.
        while now_s() < before_s + 0.02 {
            sum = (0..1_000_000_u64).fold(sum, |sum, i| sum.wrapping_mul(31).wrapping_add(i));
        }
        assert_ne!(sum, 1, "the loop did work");
    }
}
