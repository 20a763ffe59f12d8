//! From the instants of single generations to what their users went through. Pure, and the same for
//! measured and for simulated generations, so that the two are compared like with like.

use crate::histogram::Latencies;
use crate::stats::{Mean, count_as_f64, mean};

/// The life of one generation, in seconds on any one clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Track {
    /// When it was accepted.
    pub created_s: f64,
    /// When a worker took it up; `None` while it queues.
    pub started_s: Option<f64>,
    /// When it ended; `None` while it queues or runs.
    pub finished_s: Option<f64>,
}

/// Waits and sojourns of the generations that ended between two instants.
pub fn latencies(tracks: &[Track], from_s: f64, to_s: f64) -> (Latencies, Latencies) {
    let ended = || {
        tracks.iter().filter_map(move |track| {
            let finished_s = track.finished_s?;
            (from_s..=to_s)
                .contains(&finished_s)
                .then_some((track, finished_s))
        })
    };
    let wait =
        Latencies::of(ended().filter_map(|(track, _)| Some(track.started_s? - track.created_s)));
    let sojourn = Latencies::of(ended().map(|(track, finished_s)| finished_s - track.created_s));
    (wait, sojourn)
}

/// Share of `workers` that were busy between two instants, 0 to 1; 0 when there is no time between them.
pub fn worker_utilization(tracks: &[Track], workers: u32, from_s: f64, to_s: f64) -> f64 {
    if to_s <= from_s {
        return 0.0;
    }
    let busy_s: f64 = tracks
        .iter()
        .filter_map(|track| {
            let began = track.started_s?.max(from_s);
            let ended = track.finished_s.unwrap_or(to_s).min(to_s);
            (ended > began).then_some(ended - began)
        })
        .sum();
    busy_s / (to_s - from_s) / f64::from(workers)
}

/// Instants at which generations ended, ascending.
pub fn finishes(tracks: &[Track]) -> Vec<f64> {
    let mut finished: Vec<f64> = tracks.iter().filter_map(|track| track.finished_s).collect();
    finished.sort_by(f64::total_cmp);
    finished
}

/// Generations that ended after the first instant and until the second one, per hour.
pub fn completed_per_hour(tracks: &[Track], from_s: f64, to_s: f64) -> f64 {
    let count = tracks
        .iter()
        .filter_map(|track| track.finished_s)
        .filter(|finished_s| *finished_s > from_s && *finished_s <= to_s)
        .count();
    count_as_f64(count) / (to_s - from_s) * 3600.0
}

/// The time that one slot of saturated workers takes for a generation, in seconds: the mean of
/// `f[i + workers] - f[i]` over the ascending ends `f`. While there are always more users than
/// workers, the generation that is `workers` places later ran in the same slot, so the difference is
/// one slot's whole cycle. Unlike a count per window this has no rounding error of one generation
/// per worker. `None` when not even one worker has ended two generations.
pub fn slot_cycle_s(finished: &[f64], workers: u32) -> Option<Mean> {
    let workers = usize::try_from(workers).unwrap_or(usize::MAX);
    let cycles: Vec<f64> = finished
        .windows(workers.saturating_add(1))
        .map(|window| window[workers] - window[0])
        .collect();
    mean(&cycles)
}

/// The rounds of saturated workers: in each as many generations ended as there are workers. Pairs of
/// the instants between which they lie.
pub fn rounds(finished: &[f64], workers: u32) -> Vec<(f64, f64)> {
    let workers = usize::try_from(workers).unwrap_or(usize::MAX).max(1);
    let ends: Vec<f64> = finished.iter().step_by(workers).copied().collect();
    ends.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Generations per hour in each of `rounds`.
pub fn round_throughputs_per_hour(rounds: &[(f64, f64)], workers: u32) -> Vec<f64> {
    rounds
        .iter()
        .map(|(from_s, to_s)| f64::from(workers) / (to_s - from_s) * 3600.0)
        .collect()
}

/// Half the 95 % confidence interval of a mean over rounds, as a share of it; `None` for one round.
pub fn ci95_share(samples: &[f64]) -> Option<f64> {
    mean(samples)?.ci95_share()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(created_s: f64, started_s: f64, finished_s: Option<f64>) -> Track {
        Track {
            created_s,
            started_s: Some(started_s),
            finished_s,
        }
    }

    #[test]
    fn only_what_ended_in_the_window_is_a_latency_and_all_that_ran_is_busy() {
        let tracks = [
            track(0.0, 0.0, Some(4.0)),
            track(1.0, 4.0, Some(8.0)),
            track(2.0, 8.0, None),
        ];
        let (wait, sojourn) = latencies(&tracks, 5.0, 10.0);
        assert_eq!((wait.count(), sojourn.count()), (1, 1));
        assert!((sojourn.quantile_s(1.0).expect("one") - 7.0).abs() < 0.01);
        assert!((worker_utilization(&tracks, 1, 5.0, 10.0) - 1.0).abs() < 1e-12);
        assert!((worker_utilization(&tracks, 2, 5.0, 10.0) - 0.5).abs() < 1e-12);
        assert!((completed_per_hour(&tracks, 0.0, 10.0) - 720.0).abs() < 1e-9);
    }

    #[test]
    fn rounds_and_cycles_of_even_slots_agree() {
        // Three workers of 6 s each, one end every 2 s.
        let finished: Vec<f64> = (0..10).map(|i| 6.0 + 2.0 * f64::from(i)).collect();
        let cycle = slot_cycle_s(&finished, 3).expect("ten ends");
        assert!((cycle.value - 6.0).abs() < 1e-12);
        let rounds = rounds(&finished, 3);
        assert_eq!(rounds, [(6.0, 12.0), (12.0, 18.0), (18.0, 24.0)]);
        let per_hour = round_throughputs_per_hour(&rounds, 3);
        assert!(per_hour.iter().all(|rate| (rate - 1800.0).abs() < 1e-9));
        assert!(ci95_share(&per_hour).expect("three rounds") < 1e-9);
        assert_eq!(ci95_share(&per_hour[..1]), None);
        assert_eq!(slot_cycle_s(&finished[..3], 3), None);
    }
}
