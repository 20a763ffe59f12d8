//! What surrounds generations: what they cost, what a user may use, whom their end is told.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::variables::{ConfigError, Variables};
use crate::domain::money::Prices;
use crate::retry::Backoff;

/// What a user may use.
#[derive(Debug, Clone)]
pub struct AllowanceConfig {
    /// `GENERATION_RUNNING_MAX_PER_USER`: generations of one user that run at a time, in all tasks.
    pub running_max: NonZeroU32,
    /// `BUDGET_USD_MICROS_PER_USER_DAY`: what one user may spend in a day (UTC); unset is no cap.
    pub per_day_usd_micros: Option<i64>,
    /// `GENERATION_COST_ESTIMATE_USD_MICROS`: what a generation that has not ended counts as.
    pub estimate_usd_micros: i64,
    /// `OPENAI_PRICE_INPUT_USD_MICROS`, `OPENAI_PRICE_OUTPUT_USD_MICROS`: of a million tokens.
    pub prices: Prices,
}

/// Webhooks.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// `WEBHOOK_ALLOW_PRIVATE`: whether plain http and private addresses are delivered to.
    pub allow_private: bool,
    /// `WEBHOOK_TIMEOUT_MS`: time of one delivery.
    pub timeout: Duration,
    /// `WEBHOOK_ATTEMPTS_MAX`: deliveries before it is given up.
    pub attempts_max: NonZeroU32,
    /// `WEBHOOK_RETRY_BASE_MS`, `WEBHOOK_RETRY_MAX_MS`: delays between them.
    pub backoff: Backoff,
}

impl AllowanceConfig {
    pub(super) fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let money = |variable, meaning, default| -> Result<i64, ConfigError> {
            let amount: u32 = variables.number(variable, meaning, default)?;
            Ok(i64::from(amount))
        };
        let budget = "BUDGET_USD_MICROS_PER_USER_DAY";
        let capped = variables.text(budget).is_some();
        let per_day = money(budget, "what a user may spend in a day", 0)?;
        Ok(Self {
            running_max: variables.number(
                "GENERATION_RUNNING_MAX_PER_USER",
                "generations of a user at a time",
                NonZeroU32::MIN.saturating_add(49),
            )?,
            per_day_usd_micros: capped.then_some(per_day),
            // 20,000 tokens in and 30,000 out of gpt-5: facts on AWS and OpenAI, section 9.
            estimate_usd_micros: money(
                "GENERATION_COST_ESTIMATE_USD_MICROS",
                "expected cost of a generation",
                325_000,
            )?,
            // gpt-5, standard tier: facts on AWS and OpenAI, section 9.
            prices: Prices {
                input_usd_micros_per_mtok: money(
                    "OPENAI_PRICE_INPUT_USD_MICROS",
                    "price of a million tokens read",
                    1_250_000,
                )?,
                output_usd_micros_per_mtok: money(
                    "OPENAI_PRICE_OUTPUT_USD_MICROS",
                    "price of a million tokens written",
                    10_000_000,
                )?,
            },
        })
    }
}

impl WebhookConfig {
    pub(super) fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            allow_private: variables.boolean(
                "WEBHOOK_ALLOW_PRIVATE",
                "deliver webhooks to private addresses",
                false,
            )?,
            timeout: variables.duration("WEBHOOK_TIMEOUT_MS", "time for one delivery", 15_000)?,
            attempts_max: variables.number(
                "WEBHOOK_ATTEMPTS_MAX",
                "deliveries of a webhook",
                NonZeroU32::MIN.saturating_add(11),
            )?,
            backoff: Backoff {
                base: variables.duration(
                    "WEBHOOK_RETRY_BASE_MS",
                    "first delay of a webhook",
                    5_000,
                )?,
                max: variables.duration(
                    "WEBHOOK_RETRY_MAX_MS",
                    "longest delay of a webhook",
                    14_400_000,
                )?,
            },
        })
    }
}
