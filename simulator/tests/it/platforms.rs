//! The same workload elsewhere: what is refused there, and what it costs.

use simulator::cost::LineItem;
use simulator::outcome::LossCause;
use simulator::platform::{Platform, findings, moved};
use simulator::scenario::{Arrivals, Mode, Scenario};
use simulator::simulate;
use simulator::time::Duration;

/// The proposal under a load that the one task which its alarms leave carries.
fn sync() -> Scenario {
    let text = include_str!("../../scenarios/proposal-sync.toml");
    let mut scenario = Scenario::from_toml(text).expect("a valid file");
    scenario.workload.arrivals = Arrivals::Poisson { per_hour: 20.0 };
    scenario
}

fn keys(scenario: &Scenario) -> Vec<(String, bool)> {
    findings(scenario)
        .into_iter()
        .map(|finding| (finding.key, finding.fatal))
        .collect()
}

#[test]
fn a_platform_that_cannot_hold_a_quarter_of_an_hour_says_so_and_loses_it() {
    for (platform, limit) in [
        (Platform::AppRunner, "2m"),
        (Platform::Railway, "5m"),
        (Platform::Fargate, "1m"),
    ] {
        let there = moved(&sync(), platform);
        let finding = findings(&there)
            .into_iter()
            .find(|finding| finding.key == "request_limit")
            .expect("a finding");
        assert!(finding.fatal && finding.text.contains(limit), "{finding:?}");
        let outcome = simulate(&there).expect("valid");
        assert_eq!(outcome.completed, 0, "{platform}");
        let cause = if platform == Platform::Fargate {
            LossCause::AlbIdleTimeout
        } else {
            LossCause::PlatformRequestLimit
        };
        assert!(outcome.lost[&cause] > 100, "{outcome:?}");
    }
    for platform in [Platform::CloudRun, Platform::Render] {
        let there = moved(&sync(), platform);
        assert!(!keys(&there).iter().any(|(key, _)| key == "request_limit"));
        let outcome = simulate(&there).expect("valid");
        assert!(outcome.completed > 300, "{platform}: {outcome:?}");
        assert!(!outcome.lost.contains_key(&LossCause::PlatformRequestLimit));
    }
}

#[test]
fn a_queue_needs_no_long_request_but_a_cpu_between_requests() {
    let mut queue = sync();
    queue.fleet.mode = Mode::Queue;
    let there = moved(&queue, Platform::Railway);
    assert_eq!(keys(&there), []);
    assert_eq!(simulate(&there).expect("valid").lost_total(), 0);
    let there = moved(&queue, Platform::AppRunner);
    for key in ["closed_to_new_customers", "no_background_cpu"] {
        assert!(keys(&there).contains(&(key.to_owned(), true)), "{key}");
    }
}

#[test]
fn two_instances_of_the_proposal_cost_what_the_price_lists_say() {
    let mut base = sync();
    base.fleet.mode = Mode::Queue;
    base.fleet.autoscaling.metrics.clear();
    base.fleet.tasks = simulator::scenario::Tasks::fixed(2);
    let total = |platform| {
        let there = moved(&base, platform);
        let cost = simulate(&there).expect("valid").cost_usd_month;
        cost.total().to_string()
    };
    // App Runner: 2 x (2 x 0.064 + 4 x 0.007) x 730 = 227.76; Cloud Run: 2 x (2 x 0.0648 + 4 x 0.0072) x 730 = 231.26;
    // Render: two Pro instances of 85; each with Supabase 25, Upstash 10 and 3 of stored PDFs.
    assert_eq!(total(Platform::AppRunner), "265.76");
    assert_eq!(total(Platform::CloudRun), "269.26");
    assert_eq!(total(Platform::Render), "208.00");
    // Railway bills what is used, and at least its fee of 20.
    assert_eq!(total(Platform::Railway), "58.00");
}

#[test]
fn what_is_used_is_billed_where_use_is_billed() {
    let mut busy = sync();
    busy.fleet.mode = Mode::Queue;
    busy.profile.cpu_s_per_generation = 600.0;
    busy.horizon = Duration::from_hours(72);
    let outcome = simulate(&moved(&busy, Platform::Railway)).expect("valid");
    let used = outcome.cpu_utilization * 2.0 * outcome.tasks_mean;
    let billed = outcome.cost_usd_month.get(LineItem::PlatformVcpu).as_usd();
    // $20 a vCPU-month; tasks that start exist without serving.
    assert!(
        (billed / (used * 20.0) - 1.0).abs() < 0.02,
        "{billed} for {used}"
    );
}

#[test]
fn a_size_that_is_not_sold_is_refused_with_one_that_is() {
    let mut there = moved(&sync(), Platform::Render);
    there.fleet.memory_gib = 5.0;
    let error = there.validate().expect_err("no such plan").to_string();
    assert!(
        error.contains("Render") && error.contains("4 vCPU with 8 GiB"),
        "{error}"
    );
}
