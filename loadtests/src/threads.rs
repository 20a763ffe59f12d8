//! The CPU time of this process by what its threads do: simulated users, the scripted OpenAI, S3.

use std::collections::BTreeMap;

use procfs::process::Process;

use crate::cgroup::{CpuTime, ticks_as_s};

/// The harness names its threads; everything else here serves the simulated users.
const OPENAI_THREAD: &str = "openai";
/// The runtime on which the harness serves S3, when S3 is in this process.
const S3_THREAD: &str = "harness";
/// Threads are looked at on every so manyeth sample: there are a dozen of them, and they change slowly.
const EVERY: u32 = 4;

/// CPU seconds so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ThreadTimes {
    /// Threads on which S3 runs.
    pub s3: CpuTime,
    /// The scripted OpenAI's thread.
    pub openai_s: f64,
    /// All others: the simulated users and the measuring itself.
    pub users_s: f64,
    /// The sum, over the looks so far, of what the busiest single thread took between two looks.
    pub busiest_s: f64,
}

/// Adds up the CPU time of threads that come and go.
#[derive(Debug, Default)]
pub struct ThreadMeter {
    looks: u32,
    seen: BTreeMap<i32, (Part, CpuTime)>,
    so_far: ThreadTimes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    S3,
    OpenAi,
    Users,
}

impl ThreadMeter {
    /// CPU seconds by part since the first look.
    pub fn read(&mut self) -> ThreadTimes {
        if self.looks.is_multiple_of(EVERY) {
            self.look(threads());
        }
        self.looks += 1;
        self.so_far
    }

    fn look(&mut self, threads: Vec<(i32, String, CpuTime)>) {
        let first = self.looks == 0;
        let mut busiest_s = 0.0_f64;
        let seen = std::mem::take(&mut self.seen);
        for (id, name, now) in threads {
            let part = match name.as_str() {
                OPENAI_THREAD => Part::OpenAi,
                S3_THREAD => Part::S3,
                _ => Part::Users,
            };
            self.seen.insert(id, (part, now));
            // A thread that the first look met had a life before it; a later one is new.
            let before = match seen.get(&id) {
                Some((_, before)) => *before,
                None if first => now,
                None => CpuTime::default(),
            };
            let grown = now.plus(before.scaled(-1.0));
            busiest_s = busiest_s.max(grown.total_s());
            match part {
                Part::S3 => self.so_far.s3 = self.so_far.s3.plus(grown),
                Part::OpenAi => self.so_far.openai_s += grown.total_s(),
                Part::Users => self.so_far.users_s += grown.total_s(),
            }
        }
        self.so_far.busiest_s += busiest_s;
    }
}

/// Id, name and CPU time of each thread of this process.
fn threads() -> Vec<(i32, String, CpuTime)> {
    let Ok(tasks) = Process::myself().and_then(|process| process.tasks()) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| {
            let stat = task.stat().ok()?;
            let time = CpuTime {
                user_s: ticks_as_s(stat.utime),
                system_s: ticks_as_s(stat.stime),
            };
            Some((task.tid, stat.comm, time))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(meter: &mut ThreadMeter, threads: &[(i32, &str, f64)]) {
        let threads = threads
            .iter()
            .map(|(id, name, user_s)| {
                let time = CpuTime {
                    user_s: *user_s,
                    system_s: 0.0,
                };
                (*id, (*name).to_owned(), time)
            })
            .collect();
        meter.look(threads);
        meter.looks += 1;
    }

    #[test]
    fn each_part_grows_by_what_its_threads_took_and_the_busiest_is_found() {
        let mut meter = ThreadMeter::default();
        look(&mut meter, &[(1, "sizing", 10.0), (2, "openai", 5.0)]);
        assert_eq!(meter.so_far, ThreadTimes::default());
        look(
            &mut meter,
            &[(1, "sizing", 10.1), (2, "openai", 5.9), (3, "harness", 0.3)],
        );
        assert!((meter.so_far.users_s - 0.1).abs() < 1e-9);
        assert!((meter.so_far.openai_s - 0.9).abs() < 1e-9);
        assert!((meter.so_far.s3.user_s - 0.3).abs() < 1e-9);
        assert!((meter.so_far.busiest_s - 0.9).abs() < 1e-9);
        // A thread that ends takes nothing back.
        look(&mut meter, &[(1, "sizing", 10.1)]);
        assert!((meter.so_far.openai_s - 0.9).abs() < 1e-9);
    }

    #[test]
    fn this_thread_is_among_them() {
        assert!(!threads().is_empty());
    }
}
