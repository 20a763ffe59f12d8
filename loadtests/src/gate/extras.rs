//! The lines of the bill that the settings of a stage add to the fleet's: a simulation does not need them.

use simulator::cost::LineItem;
use simulator::prices::price_book;

use crate::stats::count_u64_as_f64;
use crate::terraform::{CacheMode, Configuration};

/// Rules of the firewall in `terraform/edge.tf`: a rate limit and AWS's three groups.
const WAF_RULES: f64 = 4.0;

/// Each line with its dollars a month; lines that cost nothing are left out.
pub(super) fn lines(configuration: &Configuration) -> Vec<(&'static str, f64)> {
    let book = price_book();
    let hours = count_u64_as_f64(book.hours_per_month);
    let usd = |nanos: Option<u64>| nanos.map_or(0.0, |nanos| count_u64_as_f64(nanos) / 1e9);
    let price = |key: &str| usd(book.nanos(key));
    let sizing = &configuration.sizing;

    let replicas = configuration.number("database_read_replicas");
    let instance = usd(book.rds_nanos(&sizing.db_instance_class)) * hours;
    let storage = configuration.number("database_storage_gb") * price("rds_storage_gp3");
    let cache_replicas = match sizing.cache_mode {
        CacheMode::Elasticache => configuration.number("cache_replicas"),
        CacheMode::Sidecar | CacheMode::None => 0.0,
    };
    let node = price("elasticache_cache.t4g.micro") * hours;
    let waf = if configuration.flag("waf_enabled") {
        price("waf_acl") + WAF_RULES * price("waf_rule")
    } else {
        0.0
    };
    [
        ("rds_read_replicas", replicas * (instance + storage)),
        ("elasticache_replicas", cache_replicas * node),
        ("waf", waf),
    ]
    .into_iter()
    .filter(|(_, usd)| *usd > 0.0)
    .inspect(|(line, _)| debug_assert!(LineItem::ALL.iter().all(|item| item.name() != *line)))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn stage(name: &str) -> Configuration {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../terraform/environments");
        let settings = folder.join(format!("settings/{name}.tfvars"));
        Configuration::read(&folder.join(format!("{name}.tfvars")), Some(&settings))
            .expect("the committed files are valid")
    }

    #[test]
    fn the_scale_stage_pays_for_its_standbys_and_its_firewall() {
        // 0.065 x 730 + 20 x 0.115; 0.016 x 730; 5 + 4 x 1.
        let lines = lines(&stage("scale"));
        let names: Vec<_> = lines.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["rds_read_replicas", "elasticache_replicas", "waf"]);
        let usd: Vec<_> = lines.iter().map(|(_, usd)| format!("{usd:.2}")).collect();
        assert_eq!(usd, ["49.75", "11.68", "9.00"]);
    }

    #[test]
    fn the_other_stages_add_nothing() {
        assert_eq!(lines(&stage("mvp")), []);
        assert_eq!(lines(&stage("growth")), []);
    }

    #[test]
    fn the_firewall_has_as_many_rules_as_are_paid_for() {
        let edge = include_str!("../../../terraform/edge.tf");
        let groups = edge
            .lines()
            .find(|line| line.trim().starts_with("waf_managed_rules"))
            .map_or(0, |line| line.matches("AWSManagedRules").count());
        let rules = edge.lines().filter(|line| line.trim() == "rule {").count() + groups;
        assert_eq!(
            crate::stats::count_as_f64(rules).to_bits(),
            WAF_RULES.to_bits()
        );
    }
}
