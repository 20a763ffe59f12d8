//! What a script means, refuses and draws.

use super::*;
use proptest::prelude::*;

#[test]
fn real_milliseconds_are_divided_by_the_speedup() {
    for (ms, speedup, compressed_us) in [
        (180_000.0, 60.0, 3_000_000),
        (180_000.0, 1.0, 180_000_000),
        (900.0, 0.5, 1_800_000),
        (1.0, 1000.0, 1),
    ] {
        let script = Script::default().speedup(speedup);
        assert_eq!(
            script.compressed(ms),
            Duration::from_micros(compressed_us),
            "{ms}/{speedup}"
        );
    }
}

#[test]
fn a_duration_beyond_all_bounds_is_for_ever() {
    let script = Script::default().speedup(f64::MIN_POSITIVE);
    assert_eq!(script.compressed(f64::MAX), FOREVER);
}

#[test]
fn a_script_that_cannot_be_played_says_why() {
    let fault = |when, action| Script::default().fault(Call::Cancel, when, action);
    for (script, sentence) in [
        (Script::default().speedup(0.0), "use 0 as speed-up"),
        (Script::default().speedup(f64::NAN), "use NaN as speed-up"),
        (
            Script::default().latency(Latency::Fixed { ms: -1.0 }),
            "use latency.ms = -1",
        ),
        (
            Script::default().latency(Latency::Trace(vec![])),
            "use the latency trace",
        ),
        (
            Script::default().latency(Latency::Uniform {
                min_ms: 2.0,
                max_ms: 1.0,
            }),
            "use the latency uniform",
        ),
        (
            fault(When::Nth(0), Action::Garbage),
            "use fault rule 1: calls are counted from 1",
        ),
        (
            fault(When::Probability(1.1), Action::Garbage),
            "use fault rule 1: a probability",
        ),
        (
            fault(When::Always, Action::NeverEnds),
            "use fault rule 1: how a response ends",
        ),
        (
            fault(When::Always, Action::ServerError { status: 404 }),
            "use fault rule 1: the status",
        ),
        (
            Script::default().rate_limits(RateLimits {
                requests_per_minute: 0,
                tokens_per_minute: 1,
            }),
            "use a rate limit of 0",
        ),
    ] {
        let error = script.validate().expect_err(sentence);
        assert!(error.to_string().starts_with(sentence), "{error}");
    }
    assert_eq!(Script::default().validate(), Ok(()));
}

#[test]
fn a_script_survives_json_and_refuses_unknown_keys() -> anyhow::Result<()> {
    let script = Script::default()
        .latency(Latency::LogNormal {
            median_ms: 90_000.0,
            sigma: 0.4,
        })
        .speedup(60.0)
        .tokens(Tokens::Fixed {
            input: 20_000,
            output: 6000,
        })
        .outline("[\"Scope\"]")
        .with_override(Override {
            which: Which::Step("write_section_2".to_owned()),
            latency: Some(Latency::Trace(vec![1.0, 2.0])),
            text: None,
        })
        .fault(
            Call::Create,
            When::First(2),
            Action::RateLimited {
                retry_after_ms: 1500.0,
            },
        )
        .fault(Call::Poll, When::Probability(0.25), Action::Garbage);
    let json = serde_json::to_string(&script)?;
    assert_eq!(serde_json::from_str::<Script>(&json)?, script);

    let sparse: Script = serde_json::from_str(r#"{"latency": {"fixed": {"ms": 5}}}"#)?;
    assert_eq!(
        sparse,
        Script::default().latency(Latency::Fixed { ms: 5.0 })
    );
    let unknown = serde_json::from_str::<Script>(r#"{"latncy": 1}"#).expect_err("a typing error");
    assert!(unknown.to_string().contains("latncy"), "{unknown}");
    Ok(())
}

#[test]
fn a_trace_is_played_in_order_and_again() {
    let latency = Latency::Trace(vec![10.0, 20.0, 30.0]);
    let drawn: Vec<f64> = (0..5).map(|ordinal| latency.draw_ms(9, ordinal)).collect();
    assert_eq!(drawn, [10.0, 20.0, 30.0, 10.0, 20.0]);
}

#[test]
fn half_of_lognormal_latencies_lie_below_the_median() {
    let latency = Latency::LogNormal {
        median_ms: 1000.0,
        sigma: 0.5,
    };
    let draws: Vec<f64> = (0..10_000)
        .map(|ordinal| latency.draw_ms(5, ordinal))
        .collect();
    let below = draws.iter().filter(|ms| **ms < 1000.0).count();
    // Five standard deviations of a fair coin tossed 10,000 times.
    assert!((4750..=5250).contains(&below), "{below}");
    // One standard deviation up is exp(0.5) medians: 84.13 % lie below.
    let below = draws.iter().filter(|ms| **ms < 1648.7).count();
    assert!((8230..=8596).contains(&below), "{below}");
}

#[test]
fn a_rule_strikes_the_calls_it_names() {
    let struck = |when: When| -> Vec<u64> {
        let fault = Fault::new(Call::Poll, when, Action::Garbage);
        (1..=6)
            .filter(|number| fault.strikes(1, 0, *number))
            .collect()
    };
    assert_eq!(struck(When::Always), [1, 2, 3, 4, 5, 6]);
    assert_eq!(struck(When::Nth(3)), [3]);
    assert_eq!(struck(When::First(2)), [1, 2]);
    assert_eq!(struck(When::Every(3)), [3, 6]);
    assert!(struck(When::Probability(0.0)).is_empty());
    assert_eq!(struck(When::Probability(1.0)).len(), 6);
}

proptest! {
    #[test]
    fn a_uniform_latency_stays_within_its_bounds(seed: u64, ordinal: u64, min in 0.0..1e6, width in 0.0..1e6) {
        let latency = Latency::Uniform { min_ms: min, max_ms: min + width };
        let drawn = latency.draw_ms(seed, ordinal);
        prop_assert!(drawn >= min && drawn <= min + width);
    }

    #[test]
    fn a_probability_is_met_in_the_long_run(seed: u64, percent in 0_u32..=100) {
        let p = f64::from(percent) / 100.0;
        let fault = Fault::new(Call::Create, When::Probability(p), Action::Garbage);
        let struck = (1..=2000).filter(|number| fault.strikes(seed, 0, *number)).count() as f64;
        // Six standard deviations, so that 256 cases never fail by chance.
        prop_assert!((struck - 2000.0 * p).abs() <= 6.0 * (2000.0 * p * (1.0 - p)).sqrt() + 1e-9);
    }
}
