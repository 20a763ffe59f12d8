//! The monthly bill by line item, from the fleet's shape and the task time that really ran.

mod elsewhere;
mod extras;
mod regions;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::prices::{MicroUsd, PriceBook, price_book};
use crate::scenario::{Architecture, Bill, CacheMode, Fleet, InvalidScenario};

pub use regions::{Region, RegionRow, regions};

/// One line of the monthly bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineItem {
    /// vCPU time of the tasks.
    FargateVcpu,
    /// Memory time of the tasks.
    FargateMemory,
    /// Hours of the NAT gateways.
    NatGatewayHours,
    /// Bytes through the NAT gateways.
    NatGatewayData,
    /// Public addresses of the load balancer and of the NAT gateways, or of the tasks where there is no gateway.
    PublicIpv4,
    /// Hours of the load balancer.
    AlbHours,
    /// Capacity units of the load balancer.
    AlbLcu,
    /// Hours of the database, twice with Multi-AZ.
    RdsInstance,
    /// Storage of the database, twice with Multi-AZ.
    RdsStorage,
    /// Hours of the managed cache.
    Elasticache,
    /// Logs and alarms.
    Cloudwatch,
    /// Stored PDFs and images.
    S3Ecr,
    /// Secrets kept.
    SecretsManager,
    /// Bytes to the internet.
    InternetEgress,
    /// Bytes between zones, on both sides.
    CrossAz,
    /// `PostgreSQL` on RDS beyond its standard support, on the standby as well.
    RdsExtendedSupport,
    /// CPU of a burstable database beyond its credits.
    RdsCpuCredits,
    /// Tokens of the AI provider.
    OpenaiTokens,
    /// Fee, or price per instance, of a platform other than Fargate.
    PlatformPlan,
    /// vCPU time on such a platform.
    PlatformVcpu,
    /// Memory time on such a platform.
    PlatformMemory,
    /// Database beside such a platform.
    Supabase,
    /// Cache beside such a platform.
    Upstash,
    /// Stored PDFs beside such a platform.
    ObjectStorage,
}

impl LineItem {
    /// Every line, in the order of the bill.
    pub const ALL: [LineItem; 24] = [
        LineItem::FargateVcpu,
        LineItem::FargateMemory,
        LineItem::NatGatewayHours,
        LineItem::NatGatewayData,
        LineItem::PublicIpv4,
        LineItem::AlbHours,
        LineItem::AlbLcu,
        LineItem::RdsInstance,
        LineItem::RdsStorage,
        LineItem::Elasticache,
        LineItem::Cloudwatch,
        LineItem::S3Ecr,
        LineItem::SecretsManager,
        LineItem::InternetEgress,
        LineItem::CrossAz,
        LineItem::RdsExtendedSupport,
        LineItem::RdsCpuCredits,
        LineItem::OpenaiTokens,
        LineItem::PlatformPlan,
        LineItem::PlatformVcpu,
        LineItem::PlatformMemory,
        LineItem::Supabase,
        LineItem::Upstash,
        LineItem::ObjectStorage,
    ];

    /// The name that JSON uses.
    pub fn name(self) -> &'static str {
        match self {
            LineItem::FargateVcpu => "fargate_vcpu",
            LineItem::FargateMemory => "fargate_memory",
            LineItem::NatGatewayHours => "nat_gateway_hours",
            LineItem::NatGatewayData => "nat_gateway_data",
            LineItem::PublicIpv4 => "public_ipv4",
            LineItem::AlbHours => "alb_hours",
            LineItem::AlbLcu => "alb_lcu",
            LineItem::RdsInstance => "rds_instance",
            LineItem::RdsStorage => "rds_storage",
            LineItem::Elasticache => "elasticache",
            LineItem::Cloudwatch => "cloudwatch",
            LineItem::S3Ecr => "s3_ecr",
            LineItem::SecretsManager => "secrets_manager",
            LineItem::InternetEgress => "internet_egress",
            LineItem::CrossAz => "cross_az",
            LineItem::RdsExtendedSupport => "rds_extended_support",
            LineItem::RdsCpuCredits => "rds_cpu_credits",
            LineItem::OpenaiTokens => "openai_tokens",
            LineItem::PlatformPlan => "platform_plan",
            LineItem::PlatformVcpu => "platform_vcpu",
            LineItem::PlatformMemory => "platform_memory",
            LineItem::Supabase => "supabase",
            LineItem::Upstash => "upstash",
            LineItem::ObjectStorage => "object_storage",
        }
    }
}

impl fmt::Display for LineItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A monthly bill. JSON is flat: every line item by name, then `total`, in dollars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    lines: BTreeMap<LineItem, MicroUsd>,
}

impl Cost {
    /// The lines in their order, zeros included.
    pub fn lines(&self) -> impl Iterator<Item = (LineItem, MicroUsd)> + '_ {
        self.lines.iter().map(|(item, amount)| (*item, *amount))
    }

    /// One line; zero when the bill lacks it.
    pub fn get(&self, item: LineItem) -> MicroUsd {
        self.lines.get(&item).copied().unwrap_or(MicroUsd::ZERO)
    }

    /// vCPU and memory of the tasks together.
    pub fn fargate(&self) -> MicroUsd {
        self.get(LineItem::FargateVcpu)
            .plus(self.get(LineItem::FargateMemory))
    }

    /// The whole bill.
    pub fn total(&self) -> MicroUsd {
        self.lines
            .values()
            .fold(MicroUsd::ZERO, |sum, amount| sum.plus(*amount))
    }
}

impl Serialize for Cost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = self.lines().map(|(item, amount)| (item.name(), amount));
        serializer.collect_map(named.chain([("total", self.total())]))
    }
}

impl<'de> Deserialize<'de> for Cost {
    /// The total is recomputed, not read.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cost, D::Error> {
        let amounts = BTreeMap::<String, MicroUsd>::deserialize(deserializer)?;
        let mut lines = BTreeMap::new();
        for (name, amount) in amounts.into_iter().filter(|(name, _)| name != "total") {
            let item = LineItem::ALL
                .into_iter()
                .find(|item| item.name() == name)
                .ok_or_else(|| de::Error::custom(format!("unknown line item \"{name}\"")))?;
            lines.insert(item, amount);
        }
        Ok(Cost { lines })
    }
}

/// What ran in a window of a run, and is billed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metered {
    /// Nanoseconds that tasks existed, summed over them.
    pub task_ns: u128,
    /// Length of the window.
    pub window_ns: u64,
    /// vCPU in use on average, of all tasks together.
    pub vcpu_used: f64,
    /// Memory in use on average, of all tasks together.
    pub memory_gib_used: f64,
    /// vCPU-hours of the database beyond its CPU credits.
    pub db_surplus_vcpu_h: f64,
    /// Generations that a worker took up for the first time: the AI provider bills them, whatever becomes of them.
    pub started: u64,
    /// Generations completed.
    pub completed: u64,
}

/// The bill of a fleet in which `tasks_mean` tasks exist on average, all month long, all of whose CPU and memory are in
/// use, and which does nothing.
///
/// # Errors
/// When the price book has no price for the fleet's database class.
pub fn monthly(fleet: &Fleet, tasks_mean: f64) -> Result<Cost, InvalidScenario> {
    const SCALE: u64 = 1_000_000_000;
    bill(
        fleet,
        &Bill::default(),
        &Metered {
            task_ns: u128::from(crate::time::nanos_from_f64(tasks_mean * SCALE as f64)),
            window_ns: SCALE,
            vcpu_used: fleet.vcpu * tasks_mean,
            memory_gib_used: fleet.memory_gib * tasks_mean,
            db_surplus_vcpu_h: 0.0,
            started: 0,
            completed: 0,
        },
    )
}

/// The bill of what was metered, stretched to a month. Lines beyond those of the review's stack appear when they are
/// not zero.
///
/// # Errors
/// When the price book has no price for something that the fleet or the bill names.
pub fn bill(fleet: &Fleet, terms: &Bill, metered: &Metered) -> Result<Cost, InvalidScenario> {
    let mut cost = match fleet.platform.offer() {
        None => stack(fleet, metered.task_ns, metered.window_ns)?,
        Some(offer) => elsewhere::hosting(fleet, offer, metered),
    };
    for (item, amount) in extras::lines(fleet, terms, metered)? {
        if amount > MicroUsd::ZERO {
            cost.lines.insert(item, amount);
        }
    }
    Ok(cost)
}

/// Whether everything that the bill names has a price.
pub(crate) fn check_bill(terms: &Bill) -> Result<(), InvalidScenario> {
    extras::check(terms)
}

/// The review's stack on AWS. Integer arithmetic throughout: each line is rounded once, half up.
fn stack(fleet: &Fleet, task_ns: u128, window_ns: u64) -> Result<Cost, InvalidScenario> {
    let book = price_book();
    let hours = u128::from(book.hours_per_month);
    let assumed = &book.assumptions;
    let window = u128::from(window_ns.max(1));
    let price = |key: &str| {
        u128::from(
            book.nanos(key)
                .expect("a test asks for every key of the cost model"),
        )
    };

    let (vcpu_key, memory_key) = match fleet.architecture {
        Architecture::X86 => ("fargate_vcpu_x86", "fargate_memory_x86"),
        Architecture::Arm => ("fargate_vcpu_arm", "fargate_memory_arm"),
    };
    // Thousandths of a vCPU and of a GiB are exact for every size that Fargate sells.
    let milli = |size: f64| u128::from(crate::time::nanos_from_f64(size * 1000.0));
    let discount_percent = fleet.spot.map_or(0, |spot| spot.discount_percent.min(100));
    let paid_percent = u128::from(100 - discount_percent);
    let task_share = |size: f64, key: &str| {
        micros(
            milli(size) * price(key) * hours * task_ns * paid_percent,
            1000 * window * 100,
        )
    };

    let nat = u128::from(fleet.nat_gateways);
    let nat_data_gb = if nat == 0 {
        0
    } else {
        u128::from(assumed.nat_data_gb_month)
    };
    let fixed_addresses = u128::from(assumed.alb_addresses) + nat;
    let task_addresses = if nat == 0 { task_ns } else { 0 };
    let rds_copies: u128 = if fleet.db_multi_az { 2 } else { 1 };
    let cache_nodes: u128 = match fleet.cache_mode {
        CacheMode::Elasticache => 1,
        CacheMode::Sidecar | CacheMode::None => 0,
    };

    let lines = [
        (LineItem::FargateVcpu, task_share(fleet.vcpu, vcpu_key)),
        (
            LineItem::FargateMemory,
            task_share(fleet.memory_gib, memory_key),
        ),
        (
            LineItem::NatGatewayHours,
            micros(nat * price("nat_gateway") * hours, 1),
        ),
        (
            LineItem::NatGatewayData,
            micros(nat_data_gb * price("nat_gateway_data"), 1),
        ),
        (
            LineItem::PublicIpv4,
            micros(
                (fixed_addresses * window + task_addresses) * price("public_ipv4") * hours,
                window,
            ),
        ),
        (LineItem::AlbHours, micros(price("alb") * hours, 1)),
        (
            LineItem::AlbLcu,
            micros(
                u128::from(assumed.alb_lcu_milli) * price("alb_lcu") * hours,
                1000,
            ),
        ),
        (
            LineItem::RdsInstance,
            micros(rds_copies * rds_nanos(book, fleet)? * hours, 1),
        ),
        (
            LineItem::RdsStorage,
            micros(
                rds_copies * u128::from(fleet.db_storage_gb) * price("rds_storage_gp3"),
                1,
            ),
        ),
        (
            LineItem::Elasticache,
            micros(
                cache_nodes * price("elasticache_cache.t4g.micro") * hours,
                1,
            ),
        ),
        (
            LineItem::Cloudwatch,
            MicroUsd::from_micros(assumed.cloudwatch_usd_micros),
        ),
        (
            LineItem::S3Ecr,
            MicroUsd::from_micros(assumed.s3_ecr_usd_micros),
        ),
        (
            LineItem::SecretsManager,
            micros(u128::from(assumed.secrets) * price("secrets_manager"), 1),
        ),
    ];
    Ok(Cost {
        lines: lines.into_iter().collect(),
    })
}

fn rds_nanos(book: &PriceBook, fleet: &Fleet) -> Result<u128, InvalidScenario> {
    book.rds_nanos(&fleet.db_instance_class)
        .map(u128::from)
        .ok_or_else(|| {
            let known: Vec<&str> = book
                .rds_instance
                .iter()
                .map(|row| row.class.as_str())
                .collect();
            InvalidScenario::new(
                "fleet.db_instance_class",
                format!(
                    "the price book has no price for \"{}\"",
                    fleet.db_instance_class
                ),
                format!("take one of {}", known.join(", ")),
            )
        })
}

/// Billionths of a dollar over a divisor, in millionths, rounded half up.
fn micros(nanos: u128, divisor: u128) -> MicroUsd {
    let divisor = divisor * 1000;
    MicroUsd::from_micros(u64::try_from((nanos + divisor / 2) / divisor).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::seed_table;
    use crate::scenario::Tasks;

    fn proposal() -> Fleet {
        let mut fleet = Fleet::new(
            2.0,
            4.0,
            6,
            Tasks {
                min: 1,
                desired: 2,
                max: 3,
            },
        );
        fleet.nat_gateways = 2;
        fleet
    }

    #[test]
    fn two_tasks_of_the_proposal_cost_278_dollars_not_183() {
        let cost = monthly(&proposal(), 2.0).expect("the class has a price");
        assert_eq!(cost.fargate().to_string(), "144.16");
        assert_eq!(cost.total().to_string(), "278.23");
        assert_eq!(seed_table().total().to_string(), "183.00");
    }

    #[test]
    fn arm_saves_what_its_prices_say() {
        let mut fleet = proposal();
        fleet.architecture = Architecture::Arm;
        let cost = monthly(&fleet, 2.0).expect("the class has a price");
        assert_eq!(cost.fargate().to_string(), "115.34");
        assert_eq!(cost.total().to_string(), "249.41");
    }

    #[test]
    fn the_mvp_of_one_small_task_costs_122_dollars() {
        let mut fleet = Fleet::new(1.0, 2.0, 6, Tasks::fixed(1));
        fleet.nat_gateways = 1;
        fleet.cache_mode = CacheMode::Sidecar;
        let cost = monthly(&fleet, 1.0).expect("the class has a price");
        assert_eq!(cost.fargate().to_string(), "36.04");
        assert_eq!(cost.get(LineItem::Elasticache), MicroUsd::ZERO);
        assert_eq!(cost.total().to_string(), "121.93");
    }

    #[test]
    fn tasks_without_a_gateway_pay_for_their_own_addresses() {
        let mut fleet = proposal();
        fleet.nat_gateways = 0;
        let cost = monthly(&fleet, 2.0).expect("the class has a price");
        // 65.70 of hours, 7.30 of addresses and 0.90 of data less, two task addresses of 3.65 more.
        assert_eq!(cost.total().to_string(), "211.63");
    }

    #[test]
    fn multi_az_doubles_the_database() {
        let mut fleet = proposal();
        let single = monthly(&fleet, 2.0).expect("the class has a price");
        fleet.db_multi_az = true;
        let double = monthly(&fleet, 2.0).expect("the class has a price");
        assert_eq!(
            double.total().as_micros() - single.total().as_micros(),
            13_980_000
        );
    }

    #[test]
    fn an_unknown_database_class_is_named_with_the_known_ones() {
        let mut fleet = proposal();
        fleet.db_instance_class = "db.x9.huge".to_owned();
        let error = monthly(&fleet, 2.0)
            .expect_err("the class has no price")
            .to_string();
        assert!(
            error.contains("db.x9.huge") && error.contains("db.t4g.micro"),
            "{error}"
        );
    }

    #[test]
    fn cost_never_falls_with_more_tasks() {
        let totals: Vec<MicroUsd> = (0..50)
            .map(|tasks| {
                monthly(&proposal(), f64::from(tasks))
                    .expect("the class has a price")
                    .total()
            })
            .collect();
        assert!(totals.is_sorted());
    }

    #[test]
    fn json_is_flat_and_reads_back() {
        let cost = monthly(&proposal(), 2.0).expect("the class has a price");
        let json = serde_json::to_string(&cost).expect("a bill is plain data");
        assert!(json.starts_with("{\"fargate_vcpu\":118.2016,"), "{json}");
        assert!(json.ends_with(",\"total\":278.2294}"), "{json}");
        assert_eq!(
            serde_json::from_str::<Cost>(&json).expect("it was just written"),
            cost
        );
    }
}
