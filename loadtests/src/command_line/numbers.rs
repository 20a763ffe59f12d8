//! Numbers as a person types them, each with its range and the sentence that refuses any other.

use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::measurement::Shard;

pub(super) fn threads(text: &str) -> Result<usize, String> {
    within(
        text,
        1..=1024,
        "a thread count is a whole number from 1 to 1024",
    )
}

pub(super) fn workers(text: &str) -> Result<u32, String> {
    within(
        text,
        1..=10_000,
        "a worker count is a whole number from 1 to 10000",
    )
}

pub(super) fn generations(text: &str) -> Result<u32, String> {
    within(
        text,
        1..=1_000_000,
        "a number of generations is a whole number from 1 to 1000000",
    )
}

pub(super) fn generations_at_a_time(text: &str) -> Result<u32, String> {
    within(
        text,
        1..=1_000,
        "a number of generations in flight is a whole number from 1 to 1000",
    )
}

pub(super) fn vcpu(text: &str) -> Result<f64, String> {
    within(
        text,
        0.05..=192.0,
        "a vCPU count is a number from 0.05 to 192, such as 0.25",
    )
}

pub(super) fn vcpu_quota(text: &str) -> Result<f64, String> {
    within(
        text,
        0.25..=100_000.0,
        "a quota is a number of vCPU from 0.25 to 100000, such as 6",
    )
}

pub(super) fn memory(text: &str) -> Result<f64, String> {
    within(
        text,
        0.0625..=1024.0,
        "a memory size is a number of GiB from 0.0625 to 1024, such as 0.5",
    )
}

pub(super) fn score(text: &str) -> Result<f64, String> {
    within(
        text,
        1.0..=100_000.0,
        "a score is the number that `sizing cpu-score` prints, from 1 to 100000",
    )
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    within(
        text,
        0.001..=10_000_000.0,
        "a rate is a number of arrivals per hour above 0",
    )
}

pub(super) fn length(text: &str) -> Result<f64, String> {
    within(
        text,
        0.1..=10_000.0,
        "a length is a number from 0.1 to 10000",
    )
}

pub(super) fn schedule(text: &str) -> Result<f64, String> {
    within(
        text,
        2.0..=10_000.0,
        "a schedule is 2 to 10000 generations long; the first one is its warm-up",
    )
}

pub(super) fn idle_timeout(text: &str) -> Result<f64, String> {
    within(
        text,
        1.0..=4000.0,
        "an idle time-out of a load balancer is a number of seconds from 1 to 4000",
    )
}

pub(super) fn speedup(text: &str) -> Result<f64, String> {
    within(
        text,
        1.0..=3600.0,
        "a speedup is a number from 1 (real time) to 3600",
    )
}

pub(super) fn shard(text: &str) -> Result<Shard, String> {
    let parts = text
        .split_once('/')
        .and_then(|(index, of)| Some((index.parse::<u32>().ok()?, of.parse::<u32>().ok()?)));
    match parts {
        Some((index, of)) if (1..=of).contains(&index) => Ok(Shard { index, of }),
        _ => Err("a shard is I/N with I from 1 to N, such as 2/5".to_owned()),
    }
}

/// The number in `text`, or `complaint`; NaN is in no range.
fn within<N: FromStr + PartialOrd>(
    text: &str,
    range: RangeInclusive<N>,
    complaint: &str,
) -> Result<N, String> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| complaint.to_owned())
}
