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
    if amount < 0.0 {
        format!("-${:.2}", -amount)
    } else {
        format!("${amount:.2}")
    }
}

/// A share as a percentage with as many digits as tell it from zero.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    let digits = match value.abs() {
        size if !(1e-9..10.0).contains(&size) => 0,
        size if size >= 1.0 => 1,
        size if size >= 0.1 => 2,
        _ => 3,
    };
    format!("{value:.digits$} %")
}
