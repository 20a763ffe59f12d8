//! One number behind an answer: what it is, how sure it is, and where it comes from.

use serde::Serialize;
use simulator::replications::Interval;

use super::Text;
use super::words::{Language, grouped};
use crate::stats::Mean;

/// Seconds from which on a time is shown in minutes.
const SECONDS_SHOWN_MAX: f64 = 600.0;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// US dollars a month.
    UsdPerMonth,
    /// US dollars a year.
    UsdPerYear,
    /// US dollars.
    Usd,
    /// Generations an hour.
    GenerationsPerHour,
    /// Generations.
    Generations,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// Minutes a year.
    MinutesPerYear,
    /// Percent.
    Percent,
    /// vCPU.
    Vcpu,
    /// Tasks.
    Tasks,
    /// Workers.
    Workers,
    /// Database connections.
    Connections,
    /// A plain number.
    Number,
}

impl Unit {
    fn name(self, language: Language) -> &'static str {
        let (en, es) = match self {
            Unit::UsdPerMonth => ("USD/month", "USD/mes"),
            Unit::UsdPerYear => ("USD/year", "USD/año"),
            Unit::Usd => ("USD", "USD"),
            Unit::GenerationsPerHour => ("generations/h", "generaciones/h"),
            Unit::Generations => ("generations", "generaciones"),
            Unit::Seconds => ("s", "s"),
            Unit::Minutes => ("min", "min"),
            Unit::MinutesPerYear => ("min/year", "min/año"),
            Unit::Percent => ("%", "%"),
            Unit::Vcpu => ("vCPU", "vCPU"),
            Unit::Tasks => ("tasks", "tareas"),
            Unit::Workers => ("workers", "workers"),
            Unit::Connections => ("connections", "conexiones"),
            Unit::Number => ("", ""),
        };
        match language {
            Language::En => en,
            Language::Es => es,
        }
    }
}

/// One number.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What it is.
    pub what: Text,
    /// The number.
    pub value: f64,
    /// Lower end of its 95 % interval, or of its stated range; the number itself where it is exact.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// What it counts.
    pub unit: Unit,
    #[serde(skip)]
    digits: usize,
}

impl Figure {
    /// A number that follows from prices, limits or counts without any chance in it.
    pub(super) fn exact(what: Text, unit: Unit, value: f64, digits: usize) -> Figure {
        Figure::range(what, unit, [value, value, value], digits)
    }

    /// A mean over seeds with its 95 % interval.
    pub(super) fn over_seeds(what: Text, unit: Unit, of: Interval, digits: usize) -> Figure {
        let ends = [of.mean, of.mean - of.half_width, of.mean + of.half_width];
        Figure::range(what, unit, ends, digits)
    }

    /// A calibrated mean times a factor, with its 95 % interval by Student's normal limit.
    pub(super) fn calibrated(
        what: Text,
        unit: Unit,
        of: Mean,
        factor: f64,
        digits: usize,
    ) -> Figure {
        let half = 1.96 * of.std_err * factor;
        let value = of.value * factor;
        Figure::range(what, unit, [value, value - half, value + half], digits)
    }

    /// A number between two stated ends: `[value, low, high]`.
    pub(super) fn range(what: Text, unit: Unit, ends: [f64; 3], digits: usize) -> Figure {
        let [value, low, high] = ends;
        Figure {
            what,
            value,
            low,
            high,
            unit,
            digits,
        }
    }

    /// The number with its interval and unit.
    pub fn shown(&self, language: Language) -> String {
        let digits = self.digits;
        // Nobody reads hours in seconds.
        let (per, unit) = match self.unit {
            Unit::Seconds if self.value.abs() >= SECONDS_SHOWN_MAX => (60.0, Unit::Minutes),
            unit => (1.0, unit),
        };
        let unit = unit.name(language);
        let shown = |number: f64| grouped(&format!("{:.digits$}", number / per));
        let (value, low, high) = (shown(self.value), shown(self.low), shown(self.high));
        let number = if low == value && high == value {
            value
        } else {
            let to = match language {
                Language::En => "to",
                Language::Es => "a",
            };
            format!("{value} ({low} {to} {high})")
        };
        format!("{number} {unit}").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::words::say;

    #[test]
    fn a_long_time_is_shown_in_minutes() {
        let figure = Figure::range(
            say!("a", "a"),
            Unit::Seconds,
            [23_589.7, 22_370.7, 24_808.7],
            1,
        );
        assert_eq!(figure.shown(Language::Es), "393.2 (372.8 a 413.5) min");
        let figure = Figure::exact(say!("a", "a"), Unit::Seconds, 201.6, 1);
        assert_eq!(figure.shown(Language::En), "201.6 s");
    }

    #[test]
    fn a_number_shows_its_interval_only_where_it_has_one() {
        let figure = Figure::exact(say!("a", "a"), Unit::UsdPerMonth, 144.16, 2);
        assert_eq!(figure.shown(Language::Es), "144.16 USD/mes");
        let interval = Interval {
            mean: 28.8,
            half_width: 0.1,
            n: 10,
        };
        let figure = Figure::over_seeds(say!("a", "a"), Unit::GenerationsPerHour, interval, 1);
        assert_eq!(
            figure.shown(Language::En),
            "28.8 (28.7 to 28.9) generations/h"
        );
    }
}
