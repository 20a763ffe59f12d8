//! The stages as they are committed: where every what-if begins.

use std::path::Path;

use simulator::prices::price_book;

use super::ask::Ask;
use crate::stages::{PROPOSAL, PROPOSAL_SETTINGS, SLO_USERS, STAGE_SETTINGS, STAGES};
use crate::terraform::{Configuration, TerraformError};

/// A committed stage, or the proposal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preset {
    /// Its name, by which the page and the files know it.
    pub(super) name: &'static str,
    /// Users that its load stands for.
    pub(super) users: f64,
    /// What sizes it.
    pub(super) sizing: &'static str,
    /// Its other values.
    pub(super) settings: &'static str,
}

pub(super) const PRESETS: [Preset; 4] = [
    Preset {
        name: "proposal",
        users: SLO_USERS,
        sizing: PROPOSAL,
        settings: PROPOSAL_SETTINGS,
    },
    Preset {
        name: STAGES[0].0,
        users: STAGES[0].1,
        sizing: STAGES[0].2,
        settings: STAGE_SETTINGS[0],
    },
    Preset {
        name: STAGES[1].0,
        users: STAGES[1].1,
        sizing: STAGES[1].2,
        settings: STAGE_SETTINGS[1],
    },
    Preset {
        name: STAGES[2].0,
        users: STAGES[2].1,
        sizing: STAGES[2].2,
        settings: STAGE_SETTINGS[2],
    },
];

impl Preset {
    /// The preset of this name.
    pub(super) fn named(name: &str) -> Option<Preset> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }

    /// What the page asks when it is chosen.
    ///
    /// # Errors
    /// When its files are not valid, which a test rules out.
    pub(super) fn ask(self) -> Result<Ask, TerraformError> {
        let text = format!("{}{}", self.sizing, self.settings);
        let configuration = Configuration::parse(Path::new(self.name), &text)?;
        let mode = configuration.mode();
        let (cloudfront_enabled, waf_enabled) = (
            configuration.flag("cloudfront_enabled"),
            configuration.flag("waf_enabled"),
        );
        let sizing = configuration.sizing;
        Ok(Ask {
            stage: self.name.to_owned(),
            users: self.users,
            mode,
            task_cpu: sizing.task_cpu,
            task_memory_mib: sizing.task_memory_mib,
            generation_workers: sizing.generation_workers,
            tasks_min: sizing.tasks_min,
            tasks_desired: sizing.tasks_desired,
            tasks_max: sizing.tasks_max,
            autoscaling_metric: sizing.autoscaling_metric,
            alb_idle_timeout_s: sizing.alb_idle_timeout_s,
            deregistration_delay_s: sizing.deregistration_delay_s,
            stop_timeout_s: sizing.stop_timeout_s,
            nat_gateways: sizing.nat_gateways,
            cache_mode: sizing.cache_mode,
            db_instance_class: sizing.db_instance_class,
            db_multi_az: sizing.db_multi_az,
            cloudfront_enabled,
            waf_enabled,
            region: price_book().region.clone(),
        })
    }
}
