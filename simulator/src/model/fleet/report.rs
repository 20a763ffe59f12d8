//! What the run showed.

use super::{Fleet, PICO, WindowStart};
use crate::cost::Metered;
use crate::model::Run;
use crate::model::credits::Credits;
use crate::outcome::{Outcome, SCHEMA_VERSION};
use crate::scenario::InvalidScenario;
use crate::time::Instant;
use crate::{capacity, cost};

impl Fleet<'_> {
    pub(super) fn begin_window(&mut self, now: Instant) {
        self.service.advance_all(now);
        if let Some(credits) = &mut self.db_credits {
            credits.begin_window();
        }
        self.window = WindowStart {
            at: now,
            usage: self.service.usage,
            existing_ns: self.service.existing_ns(),
            in_system_ns: self.meter.in_system_ns(now),
        };
    }

    /// What the run showed, when it ends now.
    pub(in super::super) fn finish(mut self, end: Instant) -> Result<Run, InvalidScenario> {
        self.service.advance_all(end);
        let outages = self.gunicorn.as_mut().map(|workers| workers.outages_s(end));
        let in_system_ns = self.meter.in_system_ns(end);
        let mut still_in_system_ns = 0_u128;
        for generation in self.generations.iter().filter(|generation| !generation.cut) {
            still_in_system_ns += u128::from(end.since(generation.submitted).as_nanos());
            self.meter.censor(end, generation);
        }
        debug_assert_eq!(
            in_system_ns,
            self.meter.left_after_ns + still_in_system_ns,
            "Little's law"
        );

        let usage = self.service.usage.since(self.window.usage);
        let window = end.since(self.window.at);
        let window_ns = window.as_nanos() as f64;
        let existing_ns = self.service.existing_ns() - self.window.existing_ns;
        let tasks_mean = existing_ns as f64 / window_ns;
        let seen = usage.serving_ns > 0;
        let share = |value: f64| if seen { value } else { 0.0 };
        let serving_mean = usage.serving_ns as f64 / window_ns;
        let metered = Metered {
            task_ns: existing_ns,
            window_ns: window.as_nanos(),
            vcpu_used: share(self.cpu_share(usage)) * self.scenario.fleet.vcpu * serving_mean,
            memory_gib_used: share(self.memory_share(usage))
                * self.scenario.fleet.memory_gib
                * serving_mean,
            db_surplus_vcpu_h: self
                .db_credits
                .as_ref()
                .map_or(0.0, Credits::surplus_vcpu_h),
            started: self.meter.started_in_window,
            completed: self.meter.completed_in_window,
        };
        let capacity_per_hour = capacity::capacity_per_hour(self.scenario, tasks_mean);
        let waits = self.meter.waits.count();
        let outcome = Outcome {
            schema_version: SCHEMA_VERSION,
            seed: self.scenario.seed,
            horizon: self.scenario.horizon,
            warmup: self.scenario.warmup,
            mode: self.scenario.fleet.mode,
            throughput_per_hour: self.meter.completed_in_window as f64 / window.as_hours_f64(),
            wait_s: self.meter.waits.distribution(),
            sojourn_s: self.meter.sojourns.distribution(),
            probability_of_wait: if waits == 0 {
                0.0
            } else {
                self.meter.waited as f64 / waits as f64
            },
            submitted: self.meter.submitted,
            completed: self.meter.completed,
            in_flight_at_end: self.meter.in_system,
            never_started: self.meter.never_started,
            censored_waits: self.meter.censored,
            requeued: self.meter.requeued,
            worker_utilization: share(
                usage.busy_ns as f64
                    / (usage.serving_ns as f64 * self.scenario.fleet.generations_per_task()),
            ),
            cpu_utilization: share(self.cpu_share(usage)),
            memory_utilization: share(self.memory_share(usage)),
            in_system_mean: (in_system_ns - self.window.in_system_ns) as f64 / window_ns,
            tasks_mean,
            tasks_max: self.service.running_max(),
            tasks_at_end: self.service.running(),
            scale_out_count: self.meter.scale_outs,
            scale_in_count: self.meter.scale_ins,
            deployments_completed: self
                .scenario
                .fleet
                .deployments
                .map(|_| self.service.deployments_completed()),
            bottleneck: capacity::bottleneck(&capacity_per_hour),
            capacity_per_hour,
            cost_usd_month: cost::bill(&self.scenario.fleet, &self.scenario.bill, &metered)?,
            unanswering_s: outages.map(|(unanswering_s, _)| unanswering_s),
            db_exhausted_s: outages.map(|(_, exhausted_s)| exhausted_s),
            starts_refused: self.pools.refused(),
            redis_full_s: self.sessions.as_ref().map(|sessions| sessions.full_s(end)),
            unhealthy_replaced: self
                .scenario
                .fleet
                .health_check
                .map(|_| self.unhealthy_replaced),
            db_credits_min: self.db_credits.as_ref().map(Credits::balance_min),
            events: self.meter.events,
            events_per_second: None,
            lost: self.meter.lost,
        };
        Ok(Run {
            outcome,
            metered,
            demand_peak_vcpu: self.service.demand_peak_pico_vcpu() as f64 / PICO,
        })
    }
}
