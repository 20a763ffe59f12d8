//! What tokens cost, in whole micro-dollars.

use crate::openai::Usage;

const TOKENS_PER_PRICE: i64 = 1_000_000;

/// Prices of a model, each for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    /// Of tokens read, in micro-dollars.
    pub input_usd_micros_per_mtok: i64,
    /// Of tokens written, in micro-dollars.
    pub output_usd_micros_per_mtok: i64,
}

impl Prices {
    /// What a response costs, in micro-dollars, rounded up: a sum of parts is never less than the bill.
    pub fn cost_usd_micros(self, usage: Usage) -> i64 {
        let part = |tokens: i64, price: i64| i128::from(tokens.max(0)) * i128::from(price);
        let exact = part(usage.input_tokens, self.input_usd_micros_per_mtok)
            + part(usage.output_tokens, self.output_usd_micros_per_mtok);
        let million = i128::from(TOKENS_PER_PRICE);
        i64::try_from((exact + million - 1) / million).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GPT_5: Prices = Prices {
        input_usd_micros_per_mtok: 1_250_000,
        output_usd_micros_per_mtok: 10_000_000,
    };

    fn usage(input_tokens: i64, output_tokens: i64) -> Usage {
        Usage {
            input_tokens,
            output_tokens,
        }
    }

    #[test]
    fn a_proposal_costs_what_the_price_list_says() {
        assert_eq!(GPT_5.cost_usd_micros(usage(20_000, 30_000)), 325_000);
        assert_eq!(GPT_5.cost_usd_micros(usage(0, 0)), 0);
        assert_eq!(GPT_5.cost_usd_micros(usage(1, 0)), 2, "1.25 rounds up");
        assert_eq!(GPT_5.cost_usd_micros(usage(-5, -5)), 0);
    }

    proptest! {
        #[test]
        fn parts_never_cost_less_than_the_whole(a in 0_i64..1 << 40, b in 0_i64..1 << 40, c in 0_i64..1 << 40) {
            let whole = GPT_5.cost_usd_micros(usage(a + b, c));
            let parts = GPT_5.cost_usd_micros(usage(a, 0)) + GPT_5.cost_usd_micros(usage(b, c));
            prop_assert!(parts >= whole && parts <= whole + 1);
        }

        #[test]
        fn any_usage_has_a_cost_of_at_least_nothing(input: i64, output: i64) {
            prop_assert!(GPT_5.cost_usd_micros(usage(input, output)) >= 0);
        }
    }
}
