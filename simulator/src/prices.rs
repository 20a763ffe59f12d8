//! The price book and the seed's own cost table: embedded data with a source and a date per row.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::cost::LineItem;
use crate::scenario::Day;

/// Money in millionths of a US dollar. JSON and TOML carry it as a number of dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MicroUsd(u64);

impl MicroUsd {
    /// No money.
    pub const ZERO: MicroUsd = MicroUsd(0);

    /// So many millionths of a dollar.
    pub const fn from_micros(micros: u64) -> MicroUsd {
        MicroUsd(micros)
    }

    /// Dollars, rounded to the nearest millionth; negative and not-a-number become zero.
    pub fn from_usd(usd: f64) -> MicroUsd {
        MicroUsd(crate::time::nanos_from_f64(usd * 1e6))
    }

    /// Millionths of a dollar.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Dollars.
    pub fn as_usd(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The sum; more than 64 bits count as the largest amount.
    #[must_use]
    pub const fn plus(self, other: MicroUsd) -> MicroUsd {
        MicroUsd(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for MicroUsd {
    /// Dollars and cents, rounded half up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = self.0.saturating_add(5_000) / 10_000;
        write!(f, "{}.{:02}", cents / 100, cents % 100)
    }
}

impl Serialize for MicroUsd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_usd())
    }
}

impl<'de> Deserialize<'de> for MicroUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MicroUsd, D::Error> {
        let usd = f64::deserialize(deserializer)?;
        if !(0.0..=1e12).contains(&usd) {
            return Err(de::Error::custom(format!(
                "{usd} is not an amount of dollars; write a number from 0 to 1000000000000"
            )));
        }
        Ok(MicroUsd::from_usd(usd))
    }
}

/// One price with its origin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Name that the cost model asks for.
    pub key: String,
    /// What one price buys, such as `vCPU-hour`.
    pub unit: String,
    /// Billionths of a dollar per unit.
    pub price_usd_nanos: u64,
    /// Where the figure was read.
    pub source: String,
    /// When it was read or last confirmed, as `YYYY-MM-DD`.
    pub date: String,
}

/// The hourly price of one RDS instance class, single-AZ `PostgreSQL`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RdsInstancePrice {
    /// Such as `db.t4g.micro`.
    pub class: String,
    /// Memory as AWS's table of the classes has it.
    pub memory_gib: u32,
    /// Billionths of a dollar per hour.
    pub price_usd_nanos: u64,
    /// Where the figure was read.
    pub source: String,
    /// When it was read or last confirmed, as `YYYY-MM-DD`.
    pub date: String,
}

/// When a version of `PostgreSQL` costs extra on RDS.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresSupport {
    /// Major version.
    pub major: u32,
    /// First day of extended support.
    pub extended_from: Day,
    /// First day of its third, dearer year.
    pub third_year_from: Day,
}

/// Prices of a model, in billionths of a dollar per million tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAiModel {
    /// Its name at the provider.
    pub model: String,
    /// Tokens read.
    pub input_usd_nanos: u64,
    /// Tokens read that the provider had kept.
    pub cached_input_usd_nanos: u64,
    /// Tokens written.
    pub output_usd_nanos: u64,
}

/// What the bill depends on and no scenario states.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumptions {
    /// Gigabytes through NAT gateways a month.
    pub nat_data_gb_month: u64,
    /// Public addresses of the load balancer.
    pub alb_addresses: u64,
    /// Average load balancer capacity units, in thousandths.
    pub alb_lcu_milli: u64,
    /// Secrets kept.
    pub secrets: u64,
    /// Logs, alarms and dashboards a month, in millionths of a dollar.
    pub cloudwatch_usd_micros: u64,
    /// Stored PDFs and images a month, in millionths of a dollar.
    pub s3_ecr_usd_micros: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FargatePair {
    cpu_units: u32,
    memory_mib: Vec<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FargateRange {
    cpu_units: u32,
    memory_mib_min: u32,
    memory_mib_max: u32,
    memory_mib_step: u32,
}

/// The prices of one region, and the Fargate sizes sold there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceBook {
    /// AWS region.
    pub region: String,
    /// Hours that make a month.
    pub hours_per_month: u64,
    /// All prices but those of database instances.
    pub price: Vec<Price>,
    /// Database instances.
    pub rds_instance: Vec<RdsInstancePrice>,
    /// When versions of `PostgreSQL` cost extra.
    pub postgres_support: Vec<PostgresSupport>,
    /// Models of the AI provider.
    pub openai_model: Vec<OpenAiModel>,
    /// What no scenario states.
    pub assumptions: Assumptions,
    fargate_pair: Vec<FargatePair>,
    fargate_range: Vec<FargateRange>,
}

impl PriceBook {
    /// The price of this key in billionths of a dollar per unit, if the book has it.
    pub fn nanos(&self, key: &str) -> Option<u64> {
        self.price
            .iter()
            .find(|price| price.key == key)
            .map(|price| price.price_usd_nanos)
    }

    /// The hourly price of an RDS instance class in billionths of a dollar, if the book has it.
    pub fn rds_nanos(&self, class: &str) -> Option<u64> {
        self.rds_instance
            .iter()
            .find(|price| price.class == class)
            .map(|price| price.price_usd_nanos)
    }

    /// Connections that an RDS instance class takes from the service, if the book has it.
    ///
    /// RDS sets `max_connections` to LEAST(memory / 9531392, 5000), of the memory that is left beside the system's
    /// (<https://gist.github.com/guizmaii/1cacffef793c2ba9645083c3e18b3d8c>): 112 of a whole GiB, and 79 the fewest that
    /// were seen on one of 1 GiB, so 79 for each. Three of them `PostgreSQL` keeps for the superuser.
    pub fn rds_connections(&self, class: &str) -> Option<u32> {
        const PER_GIB: u32 = 79;
        const MOST: u32 = 5000;
        const RESERVED: u32 = 3;
        self.rds_instance
            .iter()
            .find(|price| price.class == class)
            .map(|price| (PER_GIB * price.memory_gib).min(MOST) - RESERVED)
    }
}

/// One row of the seed's cost table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedRow {
    /// Stable name.
    pub key: String,
    /// The row's own title.
    pub item: String,
    /// Millionths of a dollar a month.
    pub usd_micros_month: u64,
    /// Lines of the cost model that the row stands for.
    pub lines: Vec<LineItem>,
    /// What is wrong or right with it.
    pub note: String,
}

/// The seed's cost table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedTable {
    /// Date of the review.
    pub date: String,
    /// Its rows in its order.
    pub row: Vec<SeedRow>,
}

impl SeedTable {
    /// The sum of the rows.
    pub fn total(&self) -> MicroUsd {
        MicroUsd::from_micros(self.row.iter().map(|row| row.usd_micros_month).sum())
    }
}

static BOOK: LazyLock<PriceBook> = LazyLock::new(|| {
    toml::from_str(include_str!("../prices/us-east-1.toml"))
        .expect("the embedded price book is parsed by a test")
});

static SEED: LazyLock<SeedTable> = LazyLock::new(|| {
    toml::from_str(include_str!("../prices/seed.toml"))
        .expect("the embedded seed table is parsed by a test")
});

/// The prices of us-east-1.
pub fn price_book() -> &'static PriceBook {
    &BOOK
}

/// The cost table of the infrastructure review.
pub fn seed_table() -> &'static SeedTable {
    &SEED
}

/// Every Fargate size as (vCPU, GiB), smallest first.
pub fn fargate_pairs() -> Vec<(f64, f64)> {
    let lists = BOOK
        .fargate_pair
        .iter()
        .map(|pair| (pair.cpu_units, pair.memory_mib.clone()));
    let ranges = BOOK.fargate_range.iter().map(|range| {
        let step = usize::try_from(range.memory_mib_step)
            .unwrap_or(usize::MAX)
            .max(1);
        (
            range.cpu_units,
            (range.memory_mib_min..=range.memory_mib_max)
                .step_by(step)
                .collect(),
        )
    });
    let mut pairs: Vec<(u32, u32)> = lists
        .chain(ranges)
        .flat_map(|(cpu, memories)| memories.into_iter().map(move |memory| (cpu, memory)))
        .collect();
    pairs.sort_unstable();
    pairs
        .into_iter()
        .map(|(cpu, memory)| (f64::from(cpu) / 1024.0, f64::from(memory) / 1024.0))
        .collect()
}

/// The memories in GiB that Fargate sells with so many vCPU, or none when it does not sell that many.
pub fn fargate_memories_gib(vcpu: f64) -> Option<Vec<f64>> {
    let memories: Vec<f64> = fargate_pairs()
        .into_iter()
        .filter(|(size, _)| (size - vcpu).abs() < 1e-9)
        .map(|(_, memory)| memory)
        .collect();
    (!memories.is_empty()).then_some(memories)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_source_and_a_date() {
        let book = price_book();
        for price in &book.price {
            assert!(
                !price.source.is_empty() && price.date.len() == 10,
                "{}",
                price.key
            );
        }
        for price in &book.rds_instance {
            assert!(
                !price.source.is_empty() && price.date.len() == 10,
                "{}",
                price.class
            );
        }
    }

    #[test]
    fn fargate_sells_what_its_table_says() {
        assert_eq!(fargate_memories_gib(0.25), Some(vec![0.5, 1.0, 2.0]));
        assert_eq!(
            fargate_memories_gib(2.0).map(|memories| memories.len()),
            Some(13)
        );
        assert_eq!(
            fargate_memories_gib(16.0).map(|memories| memories.len()),
            Some(12)
        );
        assert_eq!(fargate_memories_gib(3.0), None);
        assert_eq!(fargate_pairs().len(), 3 + 4 + 7 + 13 + 23 + 12 + 12);
    }

    #[test]
    fn the_seed_adds_up_to_183_dollars() {
        assert_eq!(seed_table().total().to_string(), "183.00");
    }

    #[test]
    fn money_is_rounded_to_cents_only_for_display() {
        assert_eq!(MicroUsd::from_micros(278_229_400).to_string(), "278.23");
        assert_eq!(MicroUsd::from_usd(0.005).to_string(), "0.01");
        assert_eq!(MicroUsd::from_usd(-3.0), MicroUsd::ZERO);
    }
}
