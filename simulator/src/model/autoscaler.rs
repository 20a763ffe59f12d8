//! Application Auto Scaling with target tracking: metric points, alarms, cooldowns.
//!
//! What AWS documents, or what was seen of it: a point a minute; the high alarm after 3 of 3 points above the target,
//! the low alarm after 15 of 15 below 90 % of it; the new capacity in proportion to the metric; the largest capacity
//! of several policies wins, and a scale-in needs all of them to agree; no scale-in on missing data; a scale-in
//! cooldown does not hold a scale-out back; a scale-out within the scale-out cooldown must be larger than the last.
//! AWS says of its scale-ins only that they are careful; here they are proportional as well, which is the fastest
//! they can be.

use crate::scenario::{Autoscaling, Metric, ScalingStep, Tasks};
use crate::time::{Duration, Instant};

/// One point a minute: the default resolution of a service's metrics.
pub(super) const METRIC_PERIOD: Duration = Duration::from_secs(60);
const HIGH_POINTS: u32 = 3;
const LOW_POINTS: u32 = 15;
const LOW_LINE: f64 = 0.9;

/// What the metrics say over the last period; none when no task was there to say anything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Readings {
    /// Share of the vCPU used, 0 to 1.
    pub(super) cpu: Option<f64>,
    /// Share of the memory used, 0 to 1.
    pub(super) memory: Option<f64>,
    /// Queued generations per running task.
    pub(super) queue_depth_per_task: Option<f64>,
    /// Requests answered per running task.
    pub(super) requests_per_task: Option<f64>,
}

/// A change of the desired number of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Keep,
    Out(u32),
    In(u32),
}

#[derive(Debug)]
struct Policy {
    metric: Metric,
    target: f64,
    /// What of a reading is 1 in the unit of the steps: readings are shares where steps are in percent.
    unit: f64,
    /// Steps of step scaling; none is target tracking.
    steps: Vec<ScalingStep>,
    high_points: u32,
    low_points: u32,
}

#[derive(Debug)]
pub(super) struct Autoscaler {
    policies: Vec<Policy>,
    bounds: Tasks,
    out_cooldown: Duration,
    in_cooldown: Duration,
    /// When the last scale-out was, and the capacity before it.
    last_out: Option<(Instant, u32)>,
    last_change: Option<Instant>,
}

impl Autoscaler {
    pub(super) fn new(autoscaling: &Autoscaling, bounds: Tasks) -> Autoscaler {
        let policies = autoscaling
            .metrics
            .iter()
            .map(|metric| Policy {
                metric: *metric,
                target: match metric {
                    Metric::Cpu => autoscaling.cpu_target_percent / 100.0,
                    Metric::Memory => autoscaling.memory_target_percent / 100.0,
                    Metric::QueueDepth => autoscaling.queue_depth_per_task_target,
                    Metric::Requests => autoscaling.requests_per_task_target,
                },
                unit: match metric {
                    Metric::Cpu | Metric::Memory => 0.01,
                    Metric::QueueDepth | Metric::Requests => 1.0,
                },
                steps: autoscaling.steps.clone(),
                high_points: 0,
                low_points: 0,
            })
            .collect();
        Autoscaler {
            policies,
            bounds,
            out_cooldown: autoscaling.scale_out_cooldown,
            in_cooldown: autoscaling.scale_in_cooldown,
            last_out: None,
            last_change: None,
        }
    }

    pub(super) fn is_off(&self) -> bool {
        self.policies.is_empty()
    }

    /// Takes one metric point and decides, with so many tasks desired so far.
    pub(super) fn take_point(
        &mut self,
        now: Instant,
        readings: Readings,
        desired: u32,
    ) -> Decision {
        for policy in &mut self.policies {
            policy.take(readings);
        }
        let decision = match self.scale_out(now, readings, desired) {
            Some(larger) => Decision::Out(larger),
            None => self
                .scale_in(now, readings, desired)
                .map_or(Decision::Keep, Decision::In),
        };
        match decision {
            Decision::Keep => {}
            Decision::Out(_) => {
                // Within a cooldown the capacity already added goes on counting from where it began.
                let before = self.cooling_from(now).unwrap_or(desired);
                self.last_out = Some((now, before));
                self.last_change = Some(now);
            }
            Decision::In(_) => self.last_change = Some(now),
        }
        decision
    }

    /// The capacity before the last scale-out, while its cooldown lasts.
    fn cooling_from(&self, now: Instant) -> Option<u32> {
        let (at, before) = self.last_out?;
        (now < at.after(self.out_cooldown)).then_some(before)
    }

    fn scale_out(&self, now: Instant, readings: Readings, desired: u32) -> Option<u32> {
        let base = self.cooling_from(now).unwrap_or(desired);
        let wanted = self
            .policies
            .iter()
            .filter(|policy| policy.high_points >= HIGH_POINTS)
            .filter_map(|policy| policy.wanted(readings, base))
            .max()?
            .min(self.bounds.max);
        (wanted > desired).then_some(wanted)
    }

    fn scale_in(&self, now: Instant, readings: Readings, desired: u32) -> Option<u32> {
        if self
            .last_change
            .is_some_and(|at| now < at.after(self.in_cooldown))
        {
            return None;
        }
        if self
            .policies
            .iter()
            .any(|policy| policy.low_points < LOW_POINTS)
        {
            return None;
        }
        let wanted = self
            .policies
            .iter()
            .filter_map(|policy| policy.wanted(readings, desired))
            .max()?
            .max(self.bounds.min);
        (wanted < desired).then_some(wanted)
    }
}

impl Policy {
    fn reading(&self, readings: Readings) -> Option<f64> {
        match self.metric {
            Metric::Cpu => readings.cpu,
            Metric::Memory => readings.memory,
            Metric::QueueDepth => readings.queue_depth_per_task,
            Metric::Requests => readings.requests_per_task,
        }
    }

    fn take(&mut self, readings: Readings) {
        let reading = self.reading(readings);
        let count = |points: u32, counts: bool| if counts { points.saturating_add(1) } else { 0 };
        self.high_points = count(
            self.high_points,
            reading.is_some_and(|value| value > self.target),
        );
        self.low_points = count(
            self.low_points,
            reading.is_some_and(|value| value < self.target * LOW_LINE),
        );
    }

    /// The capacity that would bring the metric to its target, in proportion; with steps, as many tasks more as the step
    /// reached adds, or one less.
    fn wanted(&self, readings: Readings, capacity: u32) -> Option<u32> {
        if !self.steps.is_empty() {
            let above = (self.reading(readings)? - self.target) / self.unit;
            if above < 0.0 {
                return Some(capacity.saturating_sub(1));
            }
            let reached = self.steps.iter().rev().find(|step| step.above <= above);
            return Some(reached.map_or(capacity, |step| capacity.saturating_add(step.add)));
        }
        let ratio = self.reading(readings)? / self.target;
        // A hair less, so that 2 * 1.5 is 3 whatever the last bit says.
        let tasks = (f64::from(capacity) * ratio - 1e-9).ceil();
        Some(u32::try_from(crate::time::nanos_from_f64(tasks)).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Tasks = Tasks {
        min: 1,
        desired: 2,
        max: 10,
    };

    fn cpu(share: f64) -> Readings {
        Readings {
            cpu: Some(share),
            memory: Some(0.1),
            queue_depth_per_task: Some(0.0),
            requests_per_task: Some(0.0),
        }
    }

    /// Feeds one point a minute and follows the decisions; gives them with their minute.
    fn follow(
        autoscaling: &Autoscaling,
        points: impl IntoIterator<Item = Readings>,
    ) -> Vec<(usize, Decision)> {
        let mut autoscaler = Autoscaler::new(autoscaling, BOUNDS);
        let mut desired = BOUNDS.desired;
        let mut decisions = Vec::new();
        for (minute, readings) in points.into_iter().enumerate() {
            let now = Instant::START.after(Duration::from_minutes(minute as u64 + 1));
            match autoscaler.take_point(now, readings, desired) {
                Decision::Keep => {}
                decision @ (Decision::Out(tasks) | Decision::In(tasks)) => {
                    desired = tasks;
                    decisions.push((minute + 1, decision));
                }
            }
        }
        decisions
    }

    #[test]
    fn three_points_above_the_target_scale_out_in_proportion() {
        let autoscaling = Autoscaling::on(vec![Metric::Cpu]);
        let points = [0.9, 0.9, 0.6, 0.9, 0.9, 0.9].map(cpu);
        // ceil(2 * 0.9 / 0.7) = 3, and not before three points in a row.
        assert_eq!(follow(&autoscaling, points), [(6, Decision::Out(3))]);
    }

    #[test]
    fn fifteen_points_below_nine_tenths_of_the_target_scale_in() {
        let autoscaling = Autoscaling::on(vec![Metric::Cpu]);
        assert_eq!(follow(&autoscaling, [cpu(0.64); 60]), []);
        assert_eq!(
            follow(&autoscaling, [cpu(0.3); 60]),
            [(15, Decision::In(1))]
        );
    }

    #[test]
    fn every_policy_must_agree_to_a_scale_in_and_the_largest_wins_a_scale_out() {
        let both = Autoscaling::on(vec![Metric::Cpu, Metric::Memory]);
        let memory_high = Readings {
            memory: Some(0.79),
            ..cpu(0.01)
        };
        assert_eq!(follow(&both, [memory_high; 60]), []);
        let over = Readings {
            memory: Some(0.9),
            ..cpu(1.0)
        };
        // CPU asks for ceil(2 / 0.7) = 3, memory for ceil(2 * 0.9 / 0.8) = 3; then from 3: 5 and 4.
        assert_eq!(
            follow(&both, [over; 4]),
            [(3, Decision::Out(3)), (4, Decision::Out(5))]
        );
    }

    #[test]
    fn within_the_cooldown_only_a_larger_scale_out_follows() {
        let mut autoscaling = Autoscaling::on(vec![Metric::Cpu]);
        autoscaling.scale_out_cooldown = Duration::from_minutes(5);
        let points = [0.8, 0.8, 0.8, 0.8, 1.0, 1.0, 1.0, 1.0].map(cpu);
        // From 2 tasks 0.8 asks for 3, and 1.0 also: nothing larger until the cooldown ends at minute 8.
        assert_eq!(
            follow(&autoscaling, points),
            [(3, Decision::Out(3)), (8, Decision::Out(5))]
        );
    }

    #[test]
    fn steps_add_what_the_step_reached_says_and_take_one_away() {
        let mut autoscaling = Autoscaling::on(vec![Metric::Cpu]);
        autoscaling.scale_out_cooldown = Duration::ZERO;
        autoscaling.steps = vec![
            ScalingStep { above: 0.0, add: 1 },
            ScalingStep {
                above: 20.0,
                add: 3,
            },
        ];
        // The threshold is 70 %: 75 adds one, 95 adds three; 15 low points take one away.
        let points = [0.75, 0.75, 0.75, 0.95]
            .into_iter()
            .chain([0.1; 15])
            .map(cpu);
        assert_eq!(
            follow(&autoscaling, points),
            [
                (3, Decision::Out(3)),
                (4, Decision::Out(6)),
                (19, Decision::In(5))
            ]
        );
    }

    #[test]
    fn missing_data_never_scales_in() {
        let autoscaling = Autoscaling::on(vec![Metric::Cpu]);
        assert_eq!(follow(&autoscaling, [Readings::default(); 60]), []);
    }

    #[test]
    fn a_scale_in_waits_for_its_cooldown_and_a_scale_out_does_not() {
        let mut autoscaling = Autoscaling::on(vec![Metric::QueueDepth]);
        autoscaling.scale_in_cooldown = Duration::from_minutes(30);
        let deep = Readings {
            queue_depth_per_task: Some(2.0),
            ..Readings::default()
        };
        let empty = Readings {
            queue_depth_per_task: Some(0.0),
            ..Readings::default()
        };
        let points = [deep; 3].into_iter().chain([empty; 40]).chain([deep; 3]);
        assert_eq!(
            follow(&autoscaling, points),
            [
                (3, Decision::Out(4)),
                (33, Decision::In(1)),
                (46, Decision::Out(2))
            ]
        );
    }
}
