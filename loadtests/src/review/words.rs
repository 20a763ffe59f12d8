//! Text in the two languages of the review's readers.

use clap::ValueEnum;
use serde::Serialize;

/// A language of the review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// English.
    En,
    /// Spanish, the language of the review itself.
    Es,
}

impl Language {
    /// The code that HTML takes.
    pub fn code(self) -> &'static str {
        match self {
            Language::En => "en",
            Language::Es => "es",
        }
    }
}

/// The same said in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Text {
    /// English.
    pub en: String,
    /// Spanish.
    pub es: String,
}

impl Text {
    /// In the language asked for.
    pub fn get(&self, language: Language) -> &str {
        match language {
            Language::En => &self.en,
            Language::Es => &self.es,
        }
    }
}

/// `say!("English {x}", "Spanish {x}", x = value)`: both languages with the same values inserted.
macro_rules! say {
    ($en:literal, $es:literal $(,)?) => {
        $crate::review::Text { en: $en.to_owned(), es: $es.to_owned() }
    };
    ($en:literal, $es:literal, $($name:ident = $value:expr),+ $(,)?) => {
        match ($($value,)+) {
            ($($name,)+) => $crate::review::Text { en: format!($en), es: format!($es) },
        }
    };
}
pub(super) use say;

/// `$1234.50`.
pub(super) fn usd(amount: f64) -> String {
    let digits = grouped(&format!("{:.2}", amount.abs()));
    if amount < 0.0 {
        format!("-${digits}")
    } else {
        format!("${digits}")
    }
}

/// The digits before the point in groups of three.
pub(super) fn grouped(number: &str) -> String {
    let (sign, digits) = number
        .strip_prefix('-')
        .map_or(("", number), |digits| ("-", digits));
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut text = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// A bound of a model: two significant digits, more would be false precision.
pub(super) fn about(value: f64) -> String {
    let unit = 10_f64.powf(value.abs().max(10.0).log10().floor() - 1.0);
    grouped(&format!("{:.0}", (value / unit).round() * unit))
}

/// A share as a percentage with as many digits as tell it from zero.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    let digits = match value.abs() {
        size if !(1e-9..10.0).contains(&size) => 0,
        size if size >= 1.0 => 1,
        // What rounds up to a tenth of a percent has no third digit.
        size if size >= 0.099_5 => 2,
        _ => 3,
    };
    format!("{value:.digits$} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_groups_of_three_digits_and_no_more_than_they_know() {
        assert_eq!(usd(4942.708), "$4,942.71");
        assert_eq!(usd(-12.0), "-$12.00");
        assert_eq!(grouped("-1234567.8"), "-1,234,567.8");
        assert_eq!(grouped("999"), "999");
        assert_eq!(about(11_652.0), "12,000");
        assert_eq!(about(8.3), "8");
        assert_eq!(percent(0.000_999_9), "0.10 %");
    }
}
