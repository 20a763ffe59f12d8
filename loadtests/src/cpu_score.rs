//! One figure for how fast one core is at the kind of work that a generation is made of, so that
//! measurements of two machines can be put on one scale.
//!
//! The work: JSON written and read, SHA-256, a PDF built and compressed, a PDF read and decompressed,
//! and rows of text assembled, escaped, searched and sorted as a client of SQL does. Everything is seeded and
//! runs on one thread, so that only the core differs.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::source_document::source_document;

/// Rounds per second that count as a score of 100: what one core of the machine on which the score was first
/// taken did (AMD EPYC of a shared virtual machine). Only ratios of scores mean anything.
const ROUNDS_PER_S_AT_100: f64 = 100.0;

/// How long the short version takes: it is part of every run's fingerprint.
const QUICK: Duration = Duration::from_millis(400);

/// What `sizing cpu-score` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuScore {
    /// Score of one core: 100 is the machine of the first one, 50 is half as fast.
    pub score: f64,
    /// Half the 95 % confidence interval as a share of the score, over the repetitions.
    pub ci95_share: Option<f64>,
    /// CPU model as the kernel names it.
    pub cpu_model: String,
    /// Cores by this process's quota; absent without one.
    pub cpu_quota_cores: Option<f64>,
}

/// The score of this machine within `length` per repetition.
pub fn measure(
    length: Duration,
    repetitions: usize,
    hardware: &crate::hardware::Hardware,
) -> CpuScore {
    let scores: Vec<f64> = (0..repetitions.max(1)).map(|_| score(length)).collect();
    CpuScore {
        // The best: whatever else runs can only make a core slower.
        score: scores.iter().copied().fold(0.0, f64::max),
        ci95_share: crate::observation::ci95_share(&scores),
        cpu_model: hardware.cpu_model.clone(),
        cpu_quota_cores: hardware.cpu_quota_cores,
    }
}

/// The score within less than half a second; good to a few per cent.
pub fn quick() -> f64 {
    score(QUICK)
}

/// By CPU time of this thread, not of the clock: a core that is shared is not a slower one.
fn score(length: Duration) -> f64 {
    let began = Instant::now();
    let cpu_before_s = thread_cpu_s();
    let mut rounds = 0_u32;
    let mut digest = [0; 32];
    while began.elapsed() < length {
        digest = round(rounds, digest);
        rounds += 1;
    }
    // Ticks are too coarse for a fraction of a second: the clock, where the kernel tells nothing finer.
    let cpu_s = match (cpu_before_s, thread_cpu_s()) {
        (Some(before_s), Some(after_s)) if after_s > before_s => after_s - before_s,
        _ => began.elapsed().as_secs_f64(),
    };
    std::hint::black_box(digest);
    f64::from(rounds) / cpu_s / ROUNDS_PER_S_AT_100 * 100.0
}

/// CPU seconds of this thread, to the nanosecond: the first field of `schedstat`.
fn thread_cpu_s() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds).as_secs_f64())
}

/// One round of the work; what it returns depends on all of it, so that nothing can be left out.
fn round(seed: u32, before: [u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    // What a poll of OpenAI and of a user is: JSON in and out.
    let sections: Vec<serde_json::Value> = (0..40)
        .map(|i| {
            serde_json::json!({
                "id": format!("resp_{seed:08x}{i:04x}"),
                "status": if i % 3 == 0 { "completed" } else { "in_progress" },
                "output": [{"type": "message", "text": "The plant treats 120 m3 per day. ".repeat(12)}],
                "usage": {"input_tokens": 1000 + i, "output_tokens": 4 * i},
            })
        })
        .collect();
    let text = serde_json::to_string(&sections).unwrap_or_default();
    let read: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap_or_default();
    hash.update(read.len().to_le_bytes());
    // What an upload and a finished proposal are: a PDF compressed, then decompressed and read.
    let pdf = source_document(2).unwrap_or_default();
    hash.update(&pdf);
    let words = lopdf::Document::load_mem(&pdf)
        .and_then(|document| document.extract_text(&[1, 2]))
        .unwrap_or_default();
    hash.update(words.as_bytes());
    // What a statement and its rows are: text assembled, escaped, searched, sorted.
    let mut rows: Vec<String> = (0..400_u32)
        .map(|i| {
            let id = i.wrapping_mul(2_654_435_761).wrapping_add(seed);
            format!(
                "('{id:010}', 'O''Neill & Sons', '{}')",
                words.len() + i as usize
            )
        })
        .collect();
    rows.sort_unstable();
    let statement = format!("INSERT INTO t VALUES {}", rows.join(", "));
    let quotes = statement.matches("''").count();
    hash.update(statement.replace("''", "'").as_bytes());
    hash.update(quotes.to_le_bytes());
    hash.finalize().into()
}

/// How much CPU time the same work takes on the target of a deployment, relative to the machine that
/// was calibrated: 1 when nobody measured the target.
///
/// Both are scores of `sizing cpu-score`.
pub fn factor(calibrated: Option<f64>, target: Option<f64>) -> f64 {
    match (calibrated, target) {
        (Some(calibrated), Some(target)) if calibrated > 0.0 && target > 0.0 => calibrated / target,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_is_the_same_every_time_and_depends_on_its_seed() {
        assert_eq!(round(1, [0; 32]), round(1, [0; 32]));
        assert_ne!(round(1, [0; 32]), round(2, [0; 32]));
    }

    #[test]
    fn a_slower_target_needs_more_cpu_time() {
        assert!((factor(Some(100.0), Some(50.0)) - 2.0).abs() < 1e-12);
        assert!((factor(None, Some(50.0)) - 1.0).abs() < 1e-12);
        assert!((factor(Some(100.0), None) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_score_is_positive() {
        assert!(score(Duration::from_millis(20)) > 0.0);
    }
}
