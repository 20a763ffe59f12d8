//! What the review's table leaves out: traffic, extended support, the AI provider's tokens.

use super::{LineItem, Metered, micros};
use crate::prices::{MicroUsd, OpenAiModel, price_book};
use crate::scenario::{Bill, Fleet, InvalidScenario, Tokens};
use crate::time::nanos_from_f64;

/// vCPU of every database class of the price book: the t4g family has two up to its large size.
const RDS_VCPU: u128 = 2;
/// KiB of the decimal gigabyte that traffic is billed in.
const KIB_PER_GB: u128 = 976_563;

pub(super) fn lines(
    fleet: &Fleet,
    terms: &Bill,
    metered: &Metered,
) -> Result<Vec<(LineItem, MicroUsd)>, InvalidScenario> {
    let book = price_book();
    let price = |key: &str| {
        u128::from(
            book.nanos(key)
                .expect("a test asks for every key of the cost model"),
        )
    };
    let month_ns = u128::from(book.hours_per_month) * 3_600_000_000_000;
    let window = u128::from(metered.window_ns.max(1));
    // Per month: this many of the window, times the month over the window. The product stays far below 128 bits.
    let of_month = |count: u64, nanos_each: u128, divisor: u128| {
        let per_window = u128::from(count) * nanos_each;
        micros(
            per_window.saturating_mul(month_ns / 1_000_000),
            (window / 1_000_000).max(1) * divisor,
        )
    };
    let egress = fleet
        .platform
        .offer()
        .map_or(price("internet_egress"), |offer| {
            u128::from(offer.egress_gb_usd_nanos)
        });
    let mut lines = vec![(
        LineItem::InternetEgress,
        of_month(
            metered.completed,
            u128::from(terms.egress_kib_per_generation) * egress,
            KIB_PER_GB,
        ),
    )];
    if let Some(tokens) = &terms.openai {
        let nanos = nanos_per_million_generations(model(tokens)?, tokens);
        lines.push((
            LineItem::OpenaiTokens,
            of_month(metered.started, nanos, 1_000_000),
        ));
    }
    if fleet.platform.offer().is_none() {
        let both_sides = 2 * u128::from(terms.cross_az_kib_per_generation) * price("cross_az");
        lines.push((
            LineItem::CrossAz,
            of_month(metered.completed, both_sides, KIB_PER_GB),
        ));
        let windows_per_month = month_ns as f64 / window as f64;
        let surplus_nanos =
            metered.db_surplus_vcpu_h * windows_per_month * price("rds_cpu_credits") as f64;
        lines.push((
            LineItem::RdsCpuCredits,
            micros(u128::from(nanos_from_f64(surplus_nanos)), 1),
        ));
        let copies: u128 = if fleet.db_multi_az { 2 } else { 1 };
        let hours = u128::from(book.hours_per_month);
        let support = extended_support(terms)?.map_or(0, price);
        lines.push((
            LineItem::RdsExtendedSupport,
            micros(copies * RDS_VCPU * support * hours, 1),
        ));
    }
    Ok(lines)
}

pub(super) fn check(terms: &Bill) -> Result<(), InvalidScenario> {
    extended_support(terms)?;
    if let Some(tokens) = &terms.openai {
        model(tokens)?;
    }
    Ok(())
}

/// The key of the price of extended support on the day of the bill, if any is due.
fn extended_support(terms: &Bill) -> Result<Option<&'static str>, InvalidScenario> {
    let Some(major) = terms.postgres_major else {
        return Ok(None);
    };
    let known = &price_book().postgres_support;
    let Some(support) = known.iter().find(|support| support.major == major) else {
        let majors: Vec<String> = known.iter().map(|row| row.major.to_string()).collect();
        return Err(InvalidScenario::new(
            "bill.postgres_major",
            format!("the price book does not know PostgreSQL {major}"),
            format!("take one of {}", majors.join(", ")),
        ));
    };
    Ok(match terms.on {
        Some(day) if day >= support.third_year_from => Some("rds_extended_support_year_3"),
        Some(day) if day >= support.extended_from => Some("rds_extended_support_years_1_2"),
        _ => None,
    })
}

fn model(tokens: &Tokens) -> Result<&'static OpenAiModel, InvalidScenario> {
    let known = &price_book().openai_model;
    known
        .iter()
        .find(|row| row.model == tokens.model)
        .ok_or_else(|| {
            let models: Vec<&str> = known.iter().map(|row| row.model.as_str()).collect();
            InvalidScenario::new(
                "bill.openai.model",
                format!("the price book has no price for \"{}\"", tokens.model),
                format!("take one of {}", models.join(", ")),
            )
        })
}

fn nanos_per_million_generations(model: &OpenAiModel, tokens: &Tokens) -> u128 {
    let of = |count: u32, nanos: u64| u128::from(count) * u128::from(nanos);
    of(tokens.input_per_generation, model.input_usd_nanos)
        + of(
            tokens.cached_input_per_generation,
            model.cached_input_usd_nanos,
        )
        + of(tokens.output_per_generation, model.output_usd_nanos)
}
