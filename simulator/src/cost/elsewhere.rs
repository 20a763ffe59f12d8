//! The bill of a platform other than Fargate, with what stands beside it.

use super::{Cost, LineItem, Metered, micros};
use crate::platform::{Billed, Offer, companions, has_managed_cache};
use crate::prices::{MicroUsd, price_book};
use crate::scenario::Fleet;
use crate::time::nanos_from_f64;

pub(super) fn hosting(fleet: &Fleet, offer: &Offer, metered: &Metered) -> Cost {
    let beside = companions();
    let cache = if has_managed_cache(fleet) {
        beside.upstash_month_usd_nanos
    } else {
        0
    };
    let month = |nanos: u64| micros(u128::from(nanos), 1);
    let mut lines = vec![
        (LineItem::Supabase, month(beside.supabase_month_usd_nanos)),
        (LineItem::Upstash, month(cache)),
        (
            LineItem::ObjectStorage,
            month(beside.object_storage_month_usd_nanos),
        ),
    ];
    lines.extend(match offer.billed {
        Billed::Provisioned => provisioned(fleet, offer, metered),
        Billed::Used => used(offer, metered),
        Billed::Plan => plan(fleet, offer, metered),
    });
    Cost {
        lines: lines.into_iter().collect(),
    }
}

fn provisioned(fleet: &Fleet, offer: &Offer, metered: &Metered) -> Vec<(LineItem, MicroUsd)> {
    let hours = u128::from(price_book().hours_per_month);
    let line = |size: f64, nanos_per_hour: u64| {
        let milli = u128::from(nanos_from_f64(size * 1000.0));
        micros(
            milli * u128::from(nanos_per_hour) * hours * metered.task_ns,
            1000 * u128::from(metered.window_ns.max(1)),
        )
    };
    vec![
        (
            LineItem::PlatformVcpu,
            line(fleet.vcpu, offer.vcpu_hour_usd_nanos),
        ),
        (
            LineItem::PlatformMemory,
            line(fleet.memory_gib, offer.gib_hour_usd_nanos),
        ),
    ]
}

/// The fee is a minimum: usage counts towards it.
fn used(offer: &Offer, metered: &Metered) -> Vec<(LineItem, MicroUsd)> {
    let line = |used: f64, nanos_per_month: u64| {
        MicroUsd::from_micros(nanos_from_f64(used * nanos_per_month as f64 / 1000.0))
    };
    let vcpu = line(metered.vcpu_used, offer.vcpu_month_usd_nanos);
    let memory = line(metered.memory_gib_used, offer.gib_month_usd_nanos);
    let fee = micros(u128::from(offer.fee_month_usd_nanos), 1);
    let rest = fee
        .as_micros()
        .saturating_sub(vcpu.plus(memory).as_micros());
    vec![
        (LineItem::PlatformPlan, MicroUsd::from_micros(rest)),
        (LineItem::PlatformVcpu, vcpu),
        (LineItem::PlatformMemory, memory),
    ]
}

fn plan(fleet: &Fleet, offer: &Offer, metered: &Metered) -> Vec<(LineItem, MicroUsd)> {
    let plan = offer
        .plans
        .iter()
        .find(|plan| plan.vcpu >= fleet.vcpu && plan.memory_gib >= fleet.memory_gib)
        .or(offer.plans.last());
    let nanos = plan.map_or(0, |plan| plan.month_usd_nanos);
    let per_window = u128::from(nanos).saturating_mul(metered.task_ns);
    vec![(
        LineItem::PlatformPlan,
        micros(per_window, u128::from(metered.window_ns.max(1))),
    )]
}
