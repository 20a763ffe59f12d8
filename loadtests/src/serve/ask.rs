//! What is asked: the controls of the page, which are the query of its link.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use simulator::scenario::{InvalidScenario, Mode};

use super::bounds::{Bounds, sizes};
use crate::requirements::RequirementsError;
use crate::terraform::{AutoscalingMetric, CacheMode, TerraformError};

/// What is asked.
#[derive(Clone, Debug, Serialize)]
pub struct Ask {
    /// The preset that everything without a control comes from.
    pub stage: String,
    /// Users, each of whom asks for a generation every second day.
    pub users: f64,
    /// `queue` or `sync`.
    pub mode: Mode,
    /// CPU units of a task.
    pub task_cpu: u32,
    /// Memory of a task in MiB.
    pub task_memory_mib: u64,
    /// Generations that a task runs at a time.
    pub generation_workers: u32,
    /// Fewest tasks.
    pub tasks_min: u32,
    /// Tasks at the start.
    pub tasks_desired: u32,
    /// Most tasks.
    pub tasks_max: u32,
    /// What autoscaling follows.
    pub autoscaling_metric: AutoscalingMetric,
    /// Seconds of silence after which the load balancer cuts a request.
    pub alb_idle_timeout_s: u64,
    /// Seconds that a task which leaves may still answer.
    pub deregistration_delay_s: u64,
    /// Seconds from a task's stop signal to its kill.
    pub stop_timeout_s: u64,
    /// NAT gateways.
    pub nat_gateways: u32,
    /// Where sessions live.
    pub cache_mode: CacheMode,
    /// RDS instance class.
    pub db_instance_class: String,
    /// Whether RDS has a standby.
    pub db_multi_az: bool,
    /// Whether CloudFront stands before the load balancer.
    pub cloudfront_enabled: bool,
    /// Whether a firewall does.
    pub waf_enabled: bool,
    /// The region whose prices the bill has.
    pub region: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// A field that the link must have.
    #[error("`{field}` is missing: add {field}=..., {allowed}")]
    Missing {
        /// Its name.
        field: &'static str,
        /// What it may be.
        allowed: String,
    },
    /// A field with a value that it cannot have.
    #[error("`{field}` is \"{given}\" and must be {allowed}")]
    Value {
        /// Its name.
        field: &'static str,
        /// What was given.
        given: String,
        /// What it may be.
        allowed: String,
    },
    /// A field that means nothing.
    #[error("there is no field `{0}`: take it out of the link, or choose on the page anew")]
    Unknown(String),
    /// No preset has this name.
    #[error("there is no stage \"{0}\": take proposal, mvp, growth or scale")]
    Stage(String),
    /// No prices are known of this region.
    #[error("there are no prices of the region \"{region}\": take {known}")]
    Region {
        /// What was asked for.
        region: String,
        /// What there is.
        known: String,
    },
    /// The load of `--slo` is not one of users.
    #[error(
        "{file} has arrivals at given instants, which more or fewer users do not change: ask for {users} users, or \
         give another file with --slo"
    )]
    Load {
        /// The file.
        file: String,
        /// The users that it stands for.
        users: f64,
    },
    /// A load that cannot be simulated.
    #[error(transparent)]
    Requirements(#[from] RequirementsError),
    /// A value that Terraform would refuse.
    #[error(transparent)]
    Sizing(#[from] TerraformError),
    /// A fleet that cannot be simulated.
    #[error(transparent)]
    Scenario(#[from] InvalidScenario),
}

/// A link's fields that were not read yet.
struct Fields(BTreeMap<String, String>);

impl Fields {
    fn text(
        &mut self,
        field: &'static str,
        allowed: impl Into<String>,
    ) -> Result<String, AskError> {
        let allowed = || AskError::Missing {
            field,
            allowed: allowed.into(),
        };
        self.0.remove(field).ok_or_else(allowed)
    }

    fn read<T>(
        &mut self,
        field: &'static str,
        allowed: impl Into<String>,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, AskError> {
        let allowed = allowed.into();
        let given = self.text(field, &allowed)?;
        read(given.trim()).ok_or(AskError::Value {
            field,
            given,
            allowed,
        })
    }

    /// A number that is within the bounds of its field.
    fn number<T: FromStr>(&mut self, field: &'static str) -> Result<T, AskError> {
        let bounds = Bounds::of(field);
        let allowed = bounds.map_or("a whole number, 0 or more".to_owned(), |bounds| {
            bounds.to_string()
        });
        self.read(field, allowed, |text| {
            let is_within = |bounds: Bounds| text.parse().is_ok_and(|number| bounds.hold(number));
            text.parse().ok().filter(|_| bounds.is_none_or(is_within))
        })
    }

    /// The size of a task, which must be one that the page offers.
    fn task(&mut self) -> Result<(u32, u64), AskError> {
        let sizes = sizes();
        let units = || -> Vec<&str> {
            let mut units: Vec<&str> = sizes.keys().map(String::as_str).collect();
            units.sort_by_key(|units| units.parse::<u32>().ok());
            units
        };
        let offered = |text: &str| sizes.get_key_value(text)?.0.parse().ok();
        let task_cpu = self.read(
            "task_cpu",
            format!("one of {}", units().join(", ")),
            offered,
        )?;
        Ok((task_cpu, self.number("task_memory_mib")?))
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, AskError> {
        self.read(field, "true or false", |text| text.parse().ok())
    }

    fn word<T: DeserializeOwned>(
        &mut self,
        field: &'static str,
        allowed: &str,
    ) -> Result<T, AskError> {
        self.read(field, allowed, |text| {
            serde_json::from_value(text.into()).ok()
        })
    }
}

impl Ask {
    /// Reads the fields of a link.
    ///
    /// # Errors
    /// When a field is missing, unknown, or nothing that the page's control can show.
    pub fn from_fields(fields: Vec<(String, String)>) -> Result<Ask, AskError> {
        let mut fields = Fields(fields.into_iter().collect());
        let (task_cpu, task_memory_mib) = fields.task()?;
        let ask = Ask {
            stage: fields.text("stage", "proposal, mvp, growth or scale")?,
            users: fields.number("users")?,
            mode: fields.word("mode", "queue or sync")?,
            task_cpu,
            task_memory_mib,
            generation_workers: fields.number("generation_workers")?,
            tasks_min: fields.number("tasks_min")?,
            tasks_desired: fields.number("tasks_desired")?,
            tasks_max: fields.number("tasks_max")?,
            autoscaling_metric: fields.word(
                "autoscaling_metric",
                "none, cpu, memory, cpu_and_memory or queue_depth",
            )?,
            alb_idle_timeout_s: fields.number("alb_idle_timeout_s")?,
            deregistration_delay_s: fields.number("deregistration_delay_s")?,
            stop_timeout_s: fields.number("stop_timeout_s")?,
            nat_gateways: fields.number("nat_gateways")?,
            cache_mode: fields.word("cache_mode", "elasticache, sidecar or none")?,
            db_instance_class: fields.text("db_instance_class", "such as db.t4g.micro")?,
            db_multi_az: fields.flag("db_multi_az")?,
            cloudfront_enabled: fields.flag("cloudfront_enabled")?,
            waf_enabled: fields.flag("waf_enabled")?,
            region: fields.text("region", "such as us-east-1")?,
        };
        match fields.0.into_keys().next() {
            Some(unknown) => Err(AskError::Unknown(unknown)),
            None => Ok(ask),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::bounds::BOUNDS;

    const LINK: &str = "stage=growth&users=10000&mode=queue&task_cpu=1024&task_memory_mib=2048&generation_workers=64\
                        &tasks_min=2&tasks_desired=2&tasks_max=6&autoscaling_metric=queue_depth\
                        &alb_idle_timeout_s=120&deregistration_delay_s=60&stop_timeout_s=120&nat_gateways=2\
                        &cache_mode=elasticache&db_instance_class=db.t4g.micro&db_multi_az=true\
                        &cloudfront_enabled=false&waf_enabled=false&region=us-east-1";

    fn read(link: &str) -> Result<Ask, AskError> {
        let pairs = link.split('&').filter_map(|pair| pair.split_once('='));
        Ask::from_fields(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// The link with another value of this field.
    fn with(field: &str, value: impl std::fmt::Display) -> Result<Ask, AskError> {
        let changed: Vec<String> = LINK
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, _)) if name == field => format!("{name}={value}"),
                _ => pair.to_owned(),
            })
            .collect();
        read(&changed.join("&"))
    }

    #[test]
    fn every_field_is_needed_and_a_wrong_one_is_named_with_what_it_may_be() {
        read(LINK).expect("a whole link");
        for pair in LINK.split('&') {
            let field = pair.split('=').next().expect("a name");
            let error = read(&LINK.replace(pair, ""))
                .expect_err("missing")
                .to_string();
            assert!(error.starts_with(&format!("`{field}` is missing: add {field}=..., ")));
        }
        let wrong = |field: &str, value: &str| with(field, value).expect_err("wrong").to_string();
        assert_eq!(
            wrong("users", "many"),
            "`users` is \"many\" and must be a number from 100 to 60000"
        );
        assert_eq!(
            wrong("tasks_max", "2.5"),
            "`tasks_max` is \"2.5\" and must be a whole number from 1 to 50"
        );
        assert_eq!(
            wrong("mode", "async"),
            "`mode` is \"async\" and must be queue or sync"
        );
        assert_eq!(
            wrong("cache_mode", "x\" }"),
            "`cache_mode` is \"x\" }\" and must be elasticache, sidecar or none"
        );
        let error = read(&format!("{LINK}&zone=a")).expect_err("unknown");
        assert!(error.to_string().contains("no field `zone`"), "{error}");
    }

    #[test]
    fn a_link_asks_for_nothing_that_the_page_cannot_show() {
        for bounds in BOUNDS {
            let (field, said) = (bounds.field, bounds.to_string());
            let numbers = said.split(' ').filter_map(|word| word.parse::<i64>().ok());
            let [least, most] = numbers.collect::<Vec<_>>()[..] else {
                panic!("{said} has two numbers");
            };
            for inside in [least, most] {
                assert_eq!(
                    with(field, inside).map(|_| ()).ok(),
                    Some(()),
                    "{field}={inside}"
                );
            }
            for outside in [least - 1, most + 1] {
                let error = with(field, outside).expect_err("outside").to_string();
                assert_eq!(
                    error,
                    format!("`{field}` is \"{outside}\" and must be {said}")
                );
            }
        }
        let error = with("task_cpu", 8192).expect_err("not offered").to_string();
        assert!(
            error.ends_with("one of 256, 512, 1024, 2048, 4096"),
            "{error}"
        );
        for nothing in ["", "nan", "inf"] {
            with("users", nothing).expect_err("no number");
        }
    }
}
