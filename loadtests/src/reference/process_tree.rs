//! CPU time and memory of a service that is more than one process.

use procfs::process::{Process, all_processes};

use crate::cgroup::{CpuMeter, ticks_as_s};

/// All processes of one process group: a service started in a group of its own, and what it has forked.
#[derive(Clone, Debug)]
pub struct ProcessTree {
    group: i32,
    /// The account of the control group that holds them and nothing else.
    account: Option<CpuMeter>,
}

impl ProcessTree {
    /// The group that process `leader` leads.
    pub fn led_by(leader: u32) -> Self {
        Self {
            group: i32::try_from(leader).unwrap_or(i32::MAX),
            account: None,
        }
    }

    /// Read by `meter` where that is the account of a control group: it counts microseconds, and processes do ticks of
    /// 10 ms, of which a batch of six generations of the backend has some twenty.
    #[must_use]
    pub fn metered_by(self, meter: CpuMeter) -> Self {
        let account = (!matches!(meter, CpuMeter::Process(_))).then_some(meter);
        Self { account, ..self }
    }

    /// How many processes it has.
    pub fn count(&self) -> usize {
        self.processes().count()
    }

    /// CPU seconds so far: of the living processes and of those that they have waited for.
    pub fn cpu_s(&self) -> f64 {
        if let Some(used) = self.account.as_ref().and_then(CpuMeter::read) {
            return used.total_s();
        }
        let ticks = self.processes().map(|(_, stat)| {
            stat.utime + stat.stime + u64::try_from(stat.cutime + stat.cstime).unwrap_or(0)
        });
        ticks_as_s(ticks.sum())
    }

    /// Memory in KiB: of a page that several processes share, each counts its part (PSS).
    pub fn memory_kib(&self) -> u64 {
        self.processes()
            .filter_map(|(process, _)| pss_kib(&process))
            .sum()
    }

    fn processes(&self) -> impl Iterator<Item = (Process, procfs::process::Stat)> {
        let group = self.group;
        all_processes()
            .into_iter()
            .flatten()
            .filter_map(move |process| {
                let process = process.ok()?;
                let stat = process.stat().ok()?;
                (stat.pgrp == group && stat.state != 'Z').then_some((process, stat))
            })
    }
}

/// Memory of single processes in KiB, by their ids; those that are gone count nothing.
pub fn memory_of_kib(pids: &[i32]) -> u64 {
    pids.iter()
        .filter_map(|pid| pss_kib(&Process::new(*pid).ok()?))
        .sum()
}

fn pss_kib(process: &Process) -> Option<u64> {
    let rollup = process.smaps_rollup().ok()?;
    let map = rollup.memory_map_rollup.iter().next()?;
    map.extension.map.get("Pss").map(|bytes| bytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_of_a_child_counts() {
        // `cat` waits for its input, and the shell for it.
        let mut leader = Command::new("sh")
            .args(["-c", "cat; exit 0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell");
        let tree = ProcessTree::led_by(leader.id());
        while tree.count() < 2 {
            std::thread::yield_now();
        }
        let alone = memory_of_kib(&[i32::try_from(leader.id()).expect("a process id")]);
        assert!(
            tree.memory_kib() > alone,
            "{} KiB, {alone} KiB alone",
            tree.memory_kib()
        );
        drop(leader.stdin.take());
        leader.wait().expect("it ends with its input");
        assert_eq!(tree.count(), 0);
    }
}
