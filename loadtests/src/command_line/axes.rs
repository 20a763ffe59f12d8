//! The values of a plan's axes, as a person types them.

use simulator::prices::{fargate_memories_gib, fargate_pairs};
use simulator::scenario::{Architecture, Autoscaling, CacheMode, Metric, Tasks};

/// `1x2`: 1 vCPU and 2 GiB.
pub(super) fn size(text: &str) -> Result<(f64, f64), String> {
    let (vcpu, memory_gib) = text
        .split_once('x')
        .and_then(|(vcpu, memory_gib)| {
            Some((vcpu.parse::<f64>().ok()?, memory_gib.parse::<f64>().ok()?))
        })
        .ok_or("a task size is vCPU x GiB, such as 0.5x1")?;
    let Some(memories) = fargate_memories_gib(vcpu) else {
        let mut sizes: Vec<_> = fargate_pairs()
            .iter()
            .map(|(vcpu, _)| vcpu.to_string())
            .collect();
        sizes.dedup();
        let sizes = sizes.join(", ");
        return Err(format!(
            "Fargate has no task of {vcpu} vCPU: take one of {sizes}"
        ));
    };
    if memories.iter().any(|sold| (sold - memory_gib).abs() < 1e-9) {
        return Ok((vcpu, memory_gib));
    }
    let sold: Vec<_> = memories.iter().map(f64::to_string).collect();
    Err(format!(
        "Fargate has no task of {vcpu} vCPU with {memory_gib} GiB: take one of {}",
        sold.join(", ")
    ))
}

/// `2`, or `1-3`.
pub(super) fn tasks(text: &str) -> Result<Tasks, String> {
    let count = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|count| (1..=5_000).contains(count))
    };
    let found = match text.split_once('-') {
        None => count(text).map(Tasks::fixed),
        Some((min, max)) => count(min).zip(count(max)).map(|(min, max)| Tasks {
            min,
            desired: min,
            max,
        }),
    };
    found.filter(|tasks| tasks.min <= tasks.max).ok_or_else(|| {
        "a task count is a number from 1 to 5000, such as 2, or a range such as 1-3".to_owned()
    })
}

/// `none`, `cpu=70`, `memory=80`, `queue_depth=1`.
pub(super) fn autoscaling(text: &str) -> Result<Autoscaling, String> {
    if text == "none" {
        return Ok(Autoscaling::none());
    }
    let (name, target) = text.split_once('=').unwrap_or((text, ""));
    let (metric, usual, most) = match name {
        "cpu" => (Metric::Cpu, 70.0, 100.0),
        "memory" => (Metric::Memory, 80.0, 100.0),
        "queue_depth" => (Metric::QueueDepth, 1.0, 1e6),
        "requests" => (Metric::Requests, 1000.0, 1e9),
        _ => {
            return Err(
                "autoscaling is none, cpu=70, memory=80, queue_depth=1 or requests=1000".to_owned(),
            );
        }
    };
    let target = match target {
        "" => usual,
        stated => stated
            .parse()
            .ok()
            .filter(|target| (0.001..=most).contains(target))
            .ok_or_else(|| format!("a target of {name} is a number from 0.001 to {most}"))?,
    };
    Ok(Autoscaling::tracking(metric, target))
}

/// As Terraform writes them.
pub(super) fn cache_mode(text: &str) -> Result<CacheMode, String> {
    named(
        text,
        &[
            ("elasticache", CacheMode::Elasticache),
            ("sidecar", CacheMode::Sidecar),
            ("none", CacheMode::None),
        ],
    )
}

/// As scenarios write them.
pub(super) fn architecture(text: &str) -> Result<Architecture, String> {
    named(
        text,
        &[("x86", Architecture::X86), ("arm", Architecture::Arm)],
    )
}

fn named<T: Copy>(text: &str, names: &[(&'static str, T)]) -> Result<T, String> {
    names
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            format!("take one of {}", names.join(", "))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_understood() {
        assert_eq!(size("0.5x1"), Ok((0.5, 1.0)));
        assert_eq!(tasks("2"), Ok(Tasks::fixed(2)));
        assert_eq!(tasks("1-3").map(|tasks| (tasks.min, tasks.max)), Ok((1, 3)));
        assert_eq!(
            autoscaling("cpu=50"),
            Ok(Autoscaling::tracking(Metric::Cpu, 50.0))
        );
        assert_eq!(
            autoscaling("queue_depth"),
            Ok(Autoscaling::on(vec![Metric::QueueDepth]))
        );
        assert_eq!(cache_mode("sidecar"), Ok(CacheMode::Sidecar));
        assert_eq!(architecture("arm"), Ok(Architecture::Arm));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_can() {
        for (error, named) in [
            (size("3x8").err(), "take one of 0.25, 0.5, 1"),
            (size("1x9").err(), "take one of 2, 3, 4"),
            (size("NaNx2").err(), "Fargate"),
            (tasks("3-1").err(), "1-3"),
            (tasks("0").err(), "from 1"),
            (autoscaling("cpu=200").err(), "to 100"),
            (autoscaling("cpu=NaN").err(), "to 100"),
            (autoscaling("latency").err(), "queue_depth=1"),
            (cache_mode("redis").err(), "sidecar"),
        ] {
            assert!(
                error.as_ref().is_some_and(|error| error.contains(named)),
                "{error:?} without {named}"
            );
        }
    }
}
