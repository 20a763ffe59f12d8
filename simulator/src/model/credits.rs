//! CPU credits of a burstable database: earned all the time, spent by generations, billed when there are none left.
//!
//! db.t4g.micro: 12 credits an hour, at most 288, a credit being a vCPU-minute; the table of the family in AWS's
//! `ElastiCache` guide. In unlimited mode what is spent beyond the balance is billed per vCPU-hour. A later surplus of
//! earned credits pays such a debt back within a day at AWS; here it does not, so that the bill is an upper bound.

use crate::time::Instant;

const EARNED_PER_HOUR: f64 = 12.0;
const BALANCE_MAX: f64 = 288.0;
const NANOS_PER_HOUR: f64 = 3.6e12;

/// Whether classes of this name have credits: those of the t families.
pub(super) fn is_burstable(db_instance_class: &str) -> bool {
    db_instance_class.starts_with("db.t")
}

#[derive(Debug)]
pub(super) struct Credits {
    credits_per_generation: f64,
    balance: f64,
    updated: Instant,
    balance_min: f64,
    owed: f64,
    owed_at_window: f64,
}

impl Credits {
    /// A full balance.
    pub(super) fn new(db_cpu_s_per_generation: f64) -> Credits {
        Credits {
            credits_per_generation: db_cpu_s_per_generation / 60.0,
            balance: BALANCE_MAX,
            updated: Instant::START,
            balance_min: BALANCE_MAX,
            owed: 0.0,
            owed_at_window: 0.0,
        }
    }

    /// One generation is done, and paid for by what its database calls took.
    pub(super) fn spend(&mut self, now: Instant) {
        let hours = now.since(self.updated).as_nanos() as f64 / NANOS_PER_HOUR;
        self.updated = now;
        self.balance = (self.balance + EARNED_PER_HOUR * hours).min(BALANCE_MAX);
        self.balance -= self.credits_per_generation;
        if self.balance < 0.0 {
            self.owed -= self.balance;
            self.balance = 0.0;
        }
        self.balance_min = self.balance_min.min(self.balance);
    }

    pub(super) fn begin_window(&mut self) {
        self.owed_at_window = self.owed;
    }

    /// vCPU-hours beyond the credits since the window began.
    pub(super) fn surplus_vcpu_h(&self) -> f64 {
        (self.owed - self.owed_at_window) / 60.0
    }

    /// The lowest balance of the run.
    pub(super) fn balance_min(&self) -> f64 {
        self.balance_min
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn a_load_at_the_baseline_keeps_its_balance_and_one_above_pays_for_the_rest() {
        // 12 CPU-minutes an hour are earned: 60 generations of 12 s are just that, of 24 s twice as much. That is 72 times
        // 12 credits beyond what is earned, less the 288 at hand; what is earned before the first is lost, for the
        // balance is full.
        for (cpu_s, owed) in [(12.0, 0.0), (24.0, 576.2)] {
            let mut credits = Credits::new(cpu_s);
            for minute in 1..=60 * 72 {
                credits.spend(Instant::START.after(Duration::from_minutes(minute)));
            }
            assert!(
                (credits.surplus_vcpu_h() - owed / 60.0).abs() < 1e-6,
                "{credits:?}"
            );
        }
    }
}
