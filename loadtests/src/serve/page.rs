//! The page: its HTML with the presets and Fargate's sizes put in.

use std::collections::BTreeMap;

use simulator::prices::{fargate_pairs, price_book};

use super::answer::{Lab, region_names};
use super::ask::{USERS_MAX, USERS_MIN};
use super::presets::PRESETS;
use crate::report::html::{STYLE, escaped};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const LOOK: &str = include_str!("page.css");
/// Largest task that the page offers, in vCPU.
const VCPU_MAX: f64 = 4.0;

pub(super) fn render(lab: &Lab) -> String {
    let asks = PRESETS.into_iter().filter_map(|preset| {
        let mut ask = preset.ask().ok()?;
        ask.users = lab.users_of(preset.name)?;
        Some((preset.name, ask))
    });
    let presets: BTreeMap<_, _> = asks.collect();
    // CPU units to the memories in MiB that Fargate sells with them.
    let mut sizes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (vcpu, gib) in fargate_pairs()
        .into_iter()
        .filter(|(vcpu, _)| *vcpu <= VCPU_MAX)
    {
        sizes
            .entry(format!("{:.0}", vcpu * 1024.0))
            .or_default()
            .push(format!("{:.0}", gib * 1024.0));
    }
    let classes = price_book()
        .rds_instance
        .iter()
        .map(|row| row.class.as_str());
    let data = serde_json::json!({ "presets": presets, "sizes": sizes });
    PAGE.replace("/*STYLE*/", STYLE)
        .replace("/*LOOK*/", LOOK)
        .replace("/*SCRIPT*/", SCRIPT)
        .replace("USERS_MIN", &USERS_MIN.to_string())
        .replace("USERS_MAX", &USERS_MAX.to_string())
        .replace("<!--CLASSES-->", &options(classes))
        .replace("<!--REGIONS-->", &options(region_names()))
        // `<` in JSON would end the script element early.
        .replace("/*DATA*/", &data.to_string().replace('<', "\\u003c"))
}

fn options<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let options = values.into_iter();
    options
        .map(|value| format!("<option>{}</option>", escaped(value)))
        .collect()
}
