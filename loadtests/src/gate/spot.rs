//! What the gate leaves out of a sizing with Spot tasks.

use crate::terraform::{Configuration, Finding};

/// That its bill and its day are those of on-demand tasks, where some are not.
pub(super) fn warning(configuration: &Configuration) -> Option<Finding> {
    let percent = configuration.number("spot_percent");
    (percent > 0.0).then(|| Finding {
        name: "spot".to_owned(),
        remedy: format!(
            "spot_percent is {percent}, but the bill is that of on-demand tasks and no task is taken back: both change \
             by the hour. [fleet.spot] of a scenario for `cargo sizing simulate` states a discount and a rate of \
             interruptions."
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn spot_tasks_are_said_to_be_billed_on_demand() {
        let growth = include_str!("../../../terraform/environments/growth.tfvars");
        let told = |percent: u32| {
            let text = format!("{growth}\nspot_percent = {percent}");
            let configuration = Configuration::parse(Path::new("growth"), &text);
            warning(&configuration.expect("values that Terraform takes"))
        };
        assert_eq!(told(0), None);
        let remedy = told(70).expect("a warning").remedy;
        assert!(
            remedy.starts_with("spot_percent is 70, but the bill"),
            "{remedy}"
        );
    }
}
