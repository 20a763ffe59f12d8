//! What of a sizing the gate leaves out, where it has any of it.

use simulator::replications::Replications;
use simulator::scenario::Scenario;

use crate::terraform::{CacheMode, Configuration, Finding};

/// The node that the price book has.
const CACHE_NODE: &str = "cache.t4g.micro";

/// Warnings of what is neither billed nor simulated as it stands in the configuration.
pub(super) fn warnings(configuration: &Configuration) -> Vec<Finding> {
    let mut warnings = Vec::new();
    let mut warn = |name: &str, remedy: String| {
        warnings.push(Finding {
            name: name.to_owned(),
            remedy,
        });
    };
    let percent = configuration.number("spot_percent");
    if percent > 0.0 {
        warn(
            "spot",
            format!(
                "spot_percent is {percent}, but the bill is that of on-demand tasks and no task is taken back: both \
                 change by the hour. [fleet.spot] of a scenario for `cargo sizing simulate` states a discount and a \
                 rate of interruptions."
            ),
        );
    }
    let node = configuration
        .value("cache_node_type")
        .and_then(|value| value.as_str());
    if let Some(node) = node.filter(|node| *node != CACHE_NODE)
        && configuration.sizing.cache_mode == CacheMode::Elasticache
    {
        warn(
            "cache_price",
            format!(
                "cache_node_type is {node}, which has no price here: billed as a {CACHE_NODE}."
            ),
        );
    }
    if configuration.flag("cloudfront_enabled") {
        warn(
            "cloudfront_price",
            "what CloudFront bills for requests and traffic is not in the bill.".to_owned(),
        );
    }
    warnings
}

/// That the days differ by more than what is left to the promised wait: a mean that keeps it says little then.
pub(super) fn doubtful_days(scenario: &Scenario, replications: &Replications) -> Option<Finding> {
    let promised_s = scenario.slo.wait_p95?.as_secs_f64();
    let days = &replications.outcomes;
    let broken = days
        .iter()
        .filter(|day| day.wait_s.p95 > promised_s)
        .count();
    (broken > 0 && replications.wait_p95_s.mean <= promised_s).then(|| Finding {
        name: "wait_p95_days".to_owned(),
        remedy: format!(
            "{broken} of {} simulated days have a wait p95 above the {promised_s:.0} s promised, though not their \
             mean: leave more room, or more seeds (--replications) tell how sure the mean is.",
            days.len()
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_not_billed_as_it_stands_is_told() {
        let growth = include_str!("../../../terraform/environments/growth.tfvars");
        let told = |settings: &str| -> Vec<String> {
            let text = format!("{growth}\n{settings}");
            let configuration = Configuration::parse(Path::new("growth"), &text);
            warnings(&configuration.expect("values that Terraform takes"))
                .into_iter()
                .map(|warning| warning.remedy)
                .collect()
        };
        assert!(told("spot_percent = 0").is_empty());
        assert!(told("spot_percent = 70")[0].starts_with("spot_percent is 70, but the bill"));
        assert!(told("cache_node_type = \"cache.r7g.large\"")[0].contains("no price here"));
        assert!(told("cloudfront_enabled = true")[0].contains("CloudFront"));
    }
}
