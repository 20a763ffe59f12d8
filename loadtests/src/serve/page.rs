//! The page: its HTML with the presets and Fargate's sizes put in.

use std::collections::BTreeMap;

use simulator::prices::price_book;

use super::answer::{Lab, region_names};
use super::bounds::{BOUNDS, sizes};
use super::presets::PRESETS;
use crate::report::html::{STYLE, escaped};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const LOOK: &str = include_str!("page.css");

pub(super) fn render(lab: &Lab) -> String {
    let asks = PRESETS.into_iter().filter_map(|preset| {
        let mut ask = preset.ask().ok()?;
        ask.users = lab.users_of(preset.name)?;
        Some((preset.name, ask))
    });
    let presets: BTreeMap<_, _> = asks.collect();
    let classes = price_book()
        .rds_instance
        .iter()
        .map(|row| row.class.as_str());
    let data = serde_json::json!({ "presets": presets, "sizes": sizes() });
    BOUNDS
        .into_iter()
        .fold(PAGE.to_owned(), |page, bounds| {
            let field = format!("name=\"{}\" type=\"number\"", bounds.field);
            page.replace(&field, &format!("{field} {}", bounds.attributes()))
        })
        .replace("/*STYLE*/", STYLE)
        .replace("/*LOOK*/", LOOK)
        .replace("/*SCRIPT*/", SCRIPT)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_page_is_written_with_its_bounds() {
        assert_eq!(PAGE.matches("type=\"number\"").count(), BOUNDS.len());
        for bounds in BOUNDS {
            let field = format!("name=\"{}\" type=\"number\"", bounds.field);
            assert!(PAGE.contains(&field), "{field}");
        }
    }
}
