//! What the review's table leaves out, in dollars.

use simulator::cost::{LineItem, Metered, bill};
use simulator::scenario::{Bill, Fleet, Scenario, Tasks};
use simulator::simulate;

const HOUR_NS: u64 = 3_600_000_000_000;

fn fleet() -> Fleet {
    Fleet::new(2.0, 4.0, 6, Tasks::fixed(2))
}

/// A month in which so many generations ran.
fn month(generations: u64) -> Metered {
    Metered {
        task_ns: u128::from(2 * 730 * HOUR_NS),
        window_ns: 730 * HOUR_NS,
        vcpu_used: 0.1,
        memory_gib_used: 0.1,
        db_surplus_vcpu_h: 0.0,
        started: generations,
        completed: generations,
    }
}

fn terms(text: &str) -> Bill {
    let scenario = include_str!("../../scenarios/proposal.toml");
    Scenario::from_toml(&format!("{scenario}\n[bill]\n{text}"))
        .expect("valid")
        .bill
}

fn line(fleet: &Fleet, text: &str, metered: &Metered, item: LineItem) -> String {
    let cost = bill(fleet, &terms(text), metered).expect("everything has a price");
    cost.get(item).to_string()
}

#[test]
fn postgres_14_costs_146_dollars_more_from_march_2027_on() {
    let on = |day: &str, fleet: &Fleet| {
        let text = format!("on = \"{day}\"\npostgres_major = 14");
        line(fleet, &text, &month(0), LineItem::RdsExtendedSupport)
    };
    assert_eq!(on("2027-02-28", &fleet()), "0.00");
    assert_eq!(on("2027-03-01", &fleet()), "146.00");
    assert_eq!(on("2029-03-01", &fleet()), "292.00");
    let mut standby = fleet();
    standby.db_multi_az = true;
    assert_eq!(on("2027-03-01", &standby), "292.00");
}

#[test]
fn a_thousand_generations_cost_what_their_tokens_and_their_traffic_cost() {
    let openai = "[bill.openai]\nmodel = \"gpt-5\"\ninput_per_generation = 20000\noutput_per_generation = 30000";
    // 0.020 million at $1.25 and 0.030 million at $10: 32.5 cents each.
    assert_eq!(
        line(&fleet(), openai, &month(1000), LineItem::OpenaiTokens),
        "325.00"
    );
    // A mebibyte each is 1.048576 GB: 9 cents a GB out, twice 1 cent between zones.
    let traffic = "egress_kib_per_generation = 1024\ncross_az_kib_per_generation = 1024";
    assert_eq!(
        line(&fleet(), traffic, &month(1000), LineItem::InternetEgress),
        "0.09"
    );
    assert_eq!(
        line(&fleet(), traffic, &month(100_000), LineItem::CrossAz),
        "2.10"
    );
}

#[test]
fn cpu_beyond_the_credits_is_billed_by_the_vcpu_hour() {
    let metered = Metered {
        db_surplus_vcpu_h: 60.0,
        ..month(0)
    };
    assert_eq!(
        line(&fleet(), "", &metered, LineItem::RdsCpuCredits),
        "4.50"
    );
    let text = include_str!("../../scenarios/proposal.toml");
    let mut scenario = Scenario::from_toml(text).expect("valid");
    scenario.workload.db_cpu_s_per_generation = Some(1.0);
    let light = simulate(&scenario).expect("valid");
    assert!(light.db_credits_min > Some(280.0), "{light:?}");
    assert_eq!(
        light
            .cost_usd_month
            .get(LineItem::RdsCpuCredits)
            .to_string(),
        "0.00"
    );
    scenario.workload.db_cpu_s_per_generation = Some(900.0);
    let heavy = simulate(&scenario).expect("valid");
    // A class of another family has no credits to spend.
    scenario.fleet.db_instance_class = "db.m6g.large".to_owned();
    let dedicated = simulate(&scenario).expect("valid");
    assert_eq!(dedicated.db_credits_min, None);
    assert!(
        heavy.cost_usd_month.get(LineItem::RdsCpuCredits).as_usd() > 50.0,
        "{heavy:?}"
    );
}

#[test]
fn what_has_no_price_is_named_with_what_has() {
    let text = include_str!("../../scenarios/proposal.toml");
    let complaints: Vec<String> = [
        "postgres_major = 9",
        "on = \"2027-3-1\"",
        "[bill.openai]\nmodel = \"gpt-2\"\ninput_per_generation = 1\noutput_per_generation = 1",
    ]
    .iter()
    .map(|terms| {
        Scenario::from_toml(&format!("{text}\n[bill]\n{terms}"))
            .expect_err("no such price")
            .to_string()
    })
    .collect();
    insta::assert_snapshot!(complaints.join("\n"), @r#"
    line 38, column 18, key `bill.postgres_major`: the price book does not know PostgreSQL 9; take one of 14, 15, 16, 17, 18
    line 38, column 6, key `bill.on`: "2027-3-1" is no day; write it as "2027-03-01"
    line 39, column 9, key `bill.openai.model`: the price book has no price for "gpt-2"; take one of gpt-5, gpt-5-mini, gpt-5.4, gpt-6-sol, gpt-6.1-sol
    "#);
}
