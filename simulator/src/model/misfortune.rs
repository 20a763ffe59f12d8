//! What takes tasks away from a fleet that wanted them: Spot interruptions and the loss of an availability zone.

use super::task::{State, Task};
use crate::rng::Stream;
use crate::scenario::{AzLoss, Scenario};
use crate::time::{Duration, Instant, nanos_from_f64};

const DAY_NS: f64 = 86_400e9;

#[derive(Debug)]
pub(super) struct Misfortune {
    stream: Stream,
    interruptions_per_task_day: f64,
    az_loss: Option<AzLoss>,
    zone_lost: bool,
}

/// The zone that is lost.
const LOST_ZONE: u32 = 0;

impl Misfortune {
    pub(super) fn new(scenario: &Scenario) -> Misfortune {
        let fleet = &scenario.fleet;
        Misfortune {
            stream: Stream::named(scenario.seed, "spot"),
            interruptions_per_task_day: fleet
                .spot
                .map_or(0.0, |spot| spot.interruptions_per_task_day),
            az_loss: fleet.az_loss,
            zone_lost: false,
        }
    }

    /// When a task that serves from now on is told that its capacity is wanted back; none if never. Memoryless, for
    /// AWS says nothing of a task's age.
    pub(super) fn interruption(&mut self, now: Instant) -> Option<Instant> {
        if self.interruptions_per_task_day <= 0.0 {
            return None;
        }
        let nanos = self.stream.exponential() * (DAY_NS / self.interruptions_per_task_day);
        Some(now.after(Duration::from_nanos(nanos_from_f64(nanos))))
    }

    /// The zone of the next task: of those that are there, the one with the fewest tasks.
    pub(super) fn zone(&self, slots: &[Task]) -> u32 {
        // Where none is lost they are all one, and a fleet of thousands need not be looked through for each task.
        let Some(AzLoss { zones, .. }) = self.az_loss else {
            return LOST_ZONE;
        };
        (0..zones)
            .filter(|zone| !(self.zone_lost && *zone == LOST_ZONE))
            .min_by_key(|zone| slots.iter().filter(|task| in_zone(task, *zone)).count())
            .unwrap_or(LOST_ZONE)
    }

    /// The zone is gone; gives the slots of its tasks, and when it comes back.
    pub(super) fn lose_zone(&mut self, now: Instant, slots: &[Task]) -> (Vec<usize>, Instant) {
        self.zone_lost = true;
        let gone = (0..slots.len())
            .filter(|slot| in_zone(&slots[*slot], LOST_ZONE))
            .collect();
        let lasts = self.az_loss.map_or(Duration::ZERO, |loss| loss.lasts);
        (gone, now.after(lasts))
    }

    pub(super) fn zone_is_back(&mut self) {
        self.zone_lost = false;
    }
}

fn in_zone(task: &Task, zone: u32) -> bool {
    task.state != State::Free && task.zone == zone
}
