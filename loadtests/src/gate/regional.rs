//! The bill in the region that the configuration names, as far as its prices are known.

use simulator::cost::{Cost, Region, regions};
use simulator::outcome::Outcome;
use simulator::prices::price_book;
use simulator::replications::{Replications, combine};

use super::extras;
use crate::terraform::{Configuration, Finding};

/// What a region without prices, or with some only, is told under.
const NAME: &str = "region_prices";

/// The region, unless it is that of the price book.
fn name(configuration: &Configuration) -> Option<&str> {
    let name = configuration.value("region")?.as_str()?;
    (name != price_book().region).then_some(name)
}

fn region(configuration: &Configuration) -> Option<&'static Region> {
    let name = name(configuration)?;
    regions().iter().find(|region| region.name == name)
}

/// A bill of the price book at the prices of the configuration's region.
pub(super) fn cost(configuration: &Configuration, cost: Cost) -> Cost {
    region(configuration).map_or_else(|| cost.clone(), |region| region.reprice(&cost))
}

/// The same runs with the bill of the configuration's region.
pub(super) fn priced(configuration: &Configuration, runs: Replications) -> Replications {
    let Some(region) = region(configuration) else {
        return runs;
    };
    let mut outcomes = runs.outcomes;
    for outcome in &mut outcomes {
        outcome.cost_usd_month = region.reprice(&outcome.cost_usd_month);
    }
    combine(outcomes)
}

/// Which lines of this bill have the price book's prices for want of the region's.
pub(super) fn warning(configuration: &Configuration, first: Option<&Outcome>) -> Option<Finding> {
    let name = name(configuration)?;
    let (book, cost) = (&price_book().region, &first?.cost_usd_month);
    let remedy = match region(configuration) {
        None => format!("billed at the prices of {book}: there are none of {name}."),
        Some(region) => {
            let mut lines: Vec<String> = region
                .unpriced(cost)
                .iter()
                .map(|line| line.name().replace('_', " "))
                .collect();
            let extras = extras::lines(configuration).into_iter();
            lines.extend(extras.map(|(line, _)| line.replace('_', " ")));
            if lines.is_empty() {
                return None;
            }
            format!(
                "billed at the prices of {book}, for want of a source for {name}: {}.",
                lines.join(", ")
            )
        }
    };
    Some(Finding {
        name: NAME.to_owned(),
        remedy,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use simulator::scenario::{Profile, Tasks};

    use super::*;

    fn told(settings: &str) -> Option<String> {
        let mvp = include_str!("../../../terraform/environments/mvp.tfvars");
        let configuration = Configuration::parse(Path::new("mvp"), &format!("{mvp}\n{settings}"))
            .expect("values that Terraform takes");
        let text = include_str!("../../slo.toml");
        let profile = Profile {
            cpu_s_per_generation: 0.1,
            memory_base_mib: 32.0,
            memory_per_generation_kib: 88.0,
            cpu_s_per_poll: 0.0,
        };
        let mut fleet = configuration.fleet();
        fleet.tasks = Tasks::fixed(1);
        let scenario = crate::requirements::Requirements::parse(Path::new("slo.toml"), text)
            .expect("the committed file")
            .scenario(fleet, profile)
            .expect("a possible fleet");
        let outcome = simulator::simulate(&scenario).expect("valid");
        warning(&configuration, Some(&outcome)).map(|warning| warning.remedy)
    }

    #[test]
    fn what_has_no_price_in_the_region_is_told() {
        assert_eq!(told(""), None);
        let in_region = |region: &str| {
            let zones = format!("availability_zones = [\"{region}a\", \"{region}b\"]");
            told(&format!(
                "region = \"{region}\"\n{zones}\ndatabase_read_replicas = 1"
            ))
        };
        let ireland = in_region("eu-west-1").expect("some lines have no price");
        for line in ["cloudwatch", "rds read replicas"] {
            assert!(ireland.contains(line), "{ireland}");
        }
        assert_eq!(
            in_region("ap-southeast-2").as_deref(),
            Some("billed at the prices of us-east-1: there are none of ap-southeast-2.")
        );
    }
}
