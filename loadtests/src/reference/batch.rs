//! One batch of generations side by side: what each of them took.

use std::path::Path;

use tokio::time::Instant;

use crate::backend_process::chain;
use crate::reference::fate;
use crate::reference::process_tree::ProcessTree;
use crate::reference::service::{Conditions, ServiceError};
use crate::reference::user::{Generation, User};
use crate::stats::{count_as_f64, count_u64_as_f64, mean};

/// What one batch took; where it says nothing else, each figure is of one generation.
pub(super) struct Batch {
    pub(super) cpu_s: f64,
    pub(super) polls: f64,
    pub(super) reading_cpu_s: Option<f64>,
    pub(super) rendering_cpu_s: Option<f64>,
    pub(super) pdf_pages: f64,
    pub(super) pdf_bytes: f64,
    /// Of each that succeeded: seconds from accepted to ended beyond the calls of OpenAI.
    pub(super) beyond_openai_s: Vec<f64>,
    /// Seconds from the first order until the last end.
    pub(super) took_s: f64,
    /// Refused, failed, or not ended in time, of the whole batch.
    pub(super) failed: u32,
    /// Why the first of these did.
    pub(super) failure: Option<String>,
}

/// Runs `generations` side by side and waits for the last one.
pub(super) async fn batch(
    user: &User,
    (tree, log): (&ProcessTree, &Path),
    conditions: &Conditions,
    generations: u32,
) -> Result<Batch, ServiceError> {
    let count = f64::from(generations);
    let (cpu_before_s, polls_before) = (tree.cpu_s(), user.polls());
    let logged_before = std::fs::read_to_string(log).map_or(0, |log| log.len());
    let began = Instant::now();
    let (mut begun, mut failure) = (Vec::new(), None);
    for _ in 0..generations {
        match user.begin().await {
            Ok(generation) => begun.push(generation),
            // Counted with those that fail later.
            Err(error) => failure = failure.or_else(|| Some(chain(&error))),
        }
    }
    let patience = conditions.patience();
    let ended = fate::follow(user, &begun, Instant::now() + patience).await;
    let told = ended.iter().find_map(|one| one.error.as_ref());
    failure = failure.or_else(|| Some(format!("{}: {}", told?.code, told?.detail)));
    if ended.len() < begun.len() {
        failure = failure.or_else(|| Some(format!("not ended in {} s", patience.as_secs())));
    }
    let mut succeeded = ended;
    succeeded.retain(Generation::succeeded);
    let (took_s, cpu_s) = (began.elapsed().as_secs_f64(), tree.cpu_s() - cpu_before_s);
    let polls = count_u64_as_f64(user.polls() - polls_before);
    let logged = std::fs::read_to_string(log).unwrap_or_default();
    let logged = logged.get(logged_before..).unwrap_or_default();
    let mut sizes = Vec::new();
    for generation in &succeeded {
        sizes.push(count_as_f64(user.download(&generation.id).await?.len()));
    }
    let pages: Vec<f64> = succeeded
        .iter()
        .map(|generation| count_as_f64(generation.page_count.unwrap_or(0)))
        .collect();
    let average = |values: &[f64]| mean(values).map_or(0.0, |mean| mean.value);
    let openai_s = conditions.generation().as_secs_f64();
    Ok(Batch {
        cpu_s: cpu_s / count,
        polls: polls / count,
        reading_cpu_s: told_cpu_s(logged, "extract").map(|cpu_s| cpu_s / count),
        rendering_cpu_s: told_cpu_s(logged, "render").map(|cpu_s| cpu_s / count),
        pdf_pages: average(&pages),
        pdf_bytes: average(&sizes),
        beyond_openai_s: succeeded
            .iter()
            .filter_map(|generation| Some(generation.sojourn_s()? - openai_s))
            .collect(),
        took_s,
        failed: generations - u32::try_from(succeeded.len()).unwrap_or(generations),
        failure,
    })
}

/// CPU seconds of one kind of work, by the reference's lines `… render took 0.8412 CPU-s`; `None` without any.
fn told_cpu_s(log: &str, work: &str) -> Option<f64> {
    let mut told = log.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [.., name, "took", cpu_s, "CPU-s"] if name == work => cpu_s.parse::<f64>().ok(),
            _ => None,
        }
    });
    let first = told.next()?;
    Some(first + told.sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_of_rendering_is_the_sum_of_what_the_log_says() {
        let log = "2026-01-02 03:04:05 INFO service.jobs render took 0.8000 CPU-s\n\
                   2026-01-02 03:04:06 INFO service.jobs extract took 0.0500 CPU-s\n\
                   2026-01-02 03:04:07 INFO service.jobs render took 0.7000 CPU-s\n\
                   2026-01-02 03:04:08 INFO service.jobs nothing of the kind\n";
        let rendering = told_cpu_s(log, "render").expect("two lines");
        assert!((rendering - 1.5).abs() < 1e-9);
        assert_eq!(told_cpu_s(log, "paint"), None);
    }
}
