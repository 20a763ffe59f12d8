//! The same bill in another region: each line by the price there over the price of the book.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{Cost, LineItem};
use crate::prices::{MicroUsd, price_book};

/// The class whose price stands for those of all databases.
const DATABASE_CLASS: &str = "db.t4g.micro";

/// What one line of the bill costs in a region.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionRow {
    /// The line.
    pub line: LineItem,
    /// Billionths of a dollar per unit of the price book.
    pub price_usd_nanos: u64,
    /// Where the figure was read.
    pub source: String,
    /// When it was read or last confirmed, as `YYYY-MM-DD`.
    pub date: String,
}

/// A region beside that of the price book.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its name at AWS.
    pub name: String,
    /// The lines whose prices are known.
    pub row: Vec<RegionRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Regions {
    region: Vec<Region>,
}

static REGIONS: LazyLock<Regions> = LazyLock::new(|| {
    toml::from_str(include_str!("../../prices/regions.toml"))
        .expect("the embedded prices are parsed by a test")
});

/// The regions whose prices are known, without that of the price book.
pub fn regions() -> &'static [Region] {
    &REGIONS.region
}

impl Region {
    /// What a bill of the price book's region comes to in this one; a line without a price here stays as it is.
    /// On-demand prices of ARM are taken to differ by the factor of x86, those of database classes by one factor.
    pub fn reprice(&self, cost: &Cost) -> Cost {
        let lines = cost.lines().map(|(line, amount)| {
            let row = self.row.iter().find(|row| row.line == line);
            match row.zip(book_nanos(line)) {
                Some((row, here)) => {
                    let there = u128::from(amount.as_micros()) * u128::from(row.price_usd_nanos);
                    let here = u128::from(here.max(1));
                    let micros = u64::try_from((there + here / 2) / here).unwrap_or(u64::MAX);
                    (line, MicroUsd::from_micros(micros))
                }
                None => (line, amount),
            }
        });
        Cost {
            lines: lines.collect(),
        }
    }

    /// The lines of this bill that cost something and have no price in this region.
    pub fn unpriced(&self, cost: &Cost) -> Vec<LineItem> {
        cost.lines()
            .filter(|(_, amount)| *amount > MicroUsd::ZERO)
            .map(|(line, _)| line)
            .filter(|line| self.row.iter().all(|row| row.line != *line))
            .collect()
    }
}

/// The price of a line's unit in the price book, for the lines that may have another one elsewhere.
fn book_nanos(line: LineItem) -> Option<u64> {
    let book = price_book();
    match line {
        LineItem::FargateVcpu => book.nanos("fargate_vcpu_x86"),
        LineItem::FargateMemory => book.nanos("fargate_memory_x86"),
        LineItem::NatGatewayHours => book.nanos("nat_gateway"),
        LineItem::NatGatewayData => book.nanos("nat_gateway_data"),
        LineItem::PublicIpv4 => book.nanos("public_ipv4"),
        LineItem::AlbHours => book.nanos("alb"),
        LineItem::AlbLcu => book.nanos("alb_lcu"),
        LineItem::RdsInstance => book.rds_nanos(DATABASE_CLASS),
        LineItem::RdsStorage => book.nanos("rds_storage_gp3"),
        LineItem::Elasticache => book.nanos("elasticache_cache.t4g.micro"),
        LineItem::SecretsManager => book.nanos("secrets_manager"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::monthly;
    use crate::scenario::{Fleet, Tasks};

    #[test]
    fn every_row_has_a_source_a_date_and_a_price_to_compare_with() {
        for region in regions() {
            assert_ne!(region.name, price_book().region);
            for row in &region.row {
                let sourced = !row.source.is_empty() && row.date.len() == 10;
                assert!(sourced && book_nanos(row.line).is_some(), "{row:?}");
            }
        }
    }

    #[test]
    fn a_bill_in_ireland_is_that_of_its_own_prices() {
        let mut fleet = Fleet::new(0.25, 0.5, 6, Tasks::fixed(1));
        fleet.nat_gateways = 1;
        let here = monthly(&fleet, 1.0).expect("the class has a price");
        let ireland = &regions()[0];
        let there = ireland.reprice(&here);
        for (line, usd) in [
            (LineItem::AlbHours, "18.40"),
            (LineItem::NatGatewayHours, "35.04"),
            (LineItem::RdsInstance, "12.41"),
            (LineItem::RdsStorage, "2.54"),
        ] {
            assert_eq!(there.get(line).to_string(), usd, "{line}");
        }
        assert_eq!(there.fargate(), here.fargate());
        assert_eq!(
            there.get(LineItem::Elasticache),
            here.get(LineItem::Elasticache)
        );
        assert!(ireland.unpriced(&here).contains(&LineItem::Elasticache));
    }
}
