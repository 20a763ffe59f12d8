//! The sessions that Redis holds, and what happens when it is full.
//!
//! Each submission is taken for one of its own user, whose session it opens or prolongs: no fleet needs more memory than
//! that. A session that finds no room is refused, and its user with it (sessions fail closed); limits are not counted
//! meanwhile and let every request pass (they fail open).

use std::collections::VecDeque;

use crate::scenario::Redis;
use crate::time::{Duration, Instant, nanos_from_f64};

#[derive(Debug)]
pub(super) struct Sessions {
    most: usize,
    lasts: Duration,
    /// The moments at which they end, which come in order: all last equally long.
    ends: VecDeque<Instant>,
    /// Spells without room, the last of which may reach beyond the end of the run.
    full_ns: u64,
    full_until: Instant,
}

impl Sessions {
    pub(super) fn new(redis: Redis) -> Sessions {
        let most = (redis.memory_mib * 1024.0 / redis.session_kib).floor();
        Sessions {
            most: usize::try_from(nanos_from_f64(most)).unwrap_or(usize::MAX),
            lasts: redis.session_lasts,
            ends: VecDeque::new(),
            full_ns: 0,
            full_until: Instant::START,
        }
    }

    /// A user comes with a submission; false when Redis has no room for the session.
    pub(super) fn let_in(&mut self, now: Instant) -> bool {
        while self.ends.front().is_some_and(|end| *end <= now) {
            self.ends.pop_front();
        }
        if self.ends.len() >= self.most {
            return false;
        }
        self.ends.push_back(now.after(self.lasts));
        if self.ends.len() == self.most
            && let Some(first) = self.ends.front()
        {
            self.full_until = *first;
            self.full_ns += first.since(now).as_nanos();
        }
        true
    }

    /// Seconds without room up to the end of the run.
    pub(super) fn full_s(&self, end: Instant) -> f64 {
        let beyond = self.full_until.since(end).as_nanos();
        Duration::from_nanos(self.full_ns.saturating_sub(beyond)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_store_lets_nobody_in_until_a_session_ends() {
        let mut sessions = Sessions::new(Redis {
            memory_mib: 2.0,
            session_kib: 1024.0,
            session_lasts: Duration::from_secs(10),
            ..Redis::new()
        });
        let at = |seconds| Instant::START.after(Duration::from_secs(seconds));
        let let_in = [0, 4, 5, 9, 10, 12, 14].map(|seconds| sessions.let_in(at(seconds)));
        assert_eq!(let_in, [true, true, false, false, true, false, true]);
        // From 4 to 10, from 10 to 14 and from 14 to 20.
        assert!((sessions.full_s(at(30)) - 16.0).abs() < 1e-9);
        assert!((sessions.full_s(at(15)) - 11.0).abs() < 1e-9);
    }
}
