//! Both services, part by part: what is measured of each, in which order, and what is kept of it.

use std::path::Path;

use harness::Stack;
use serde::{Deserialize, Serialize};

use crate::backend_process::chain;
use crate::hardware::Hardware;
use crate::reference::cells::{Cell, CellCosts, Cells};
use crate::reference::contract::{self, Checked};
use crate::reference::costs::{self, Costs};
use crate::reference::environment::{Environment, NotMeasured};
use crate::reference::fate::{self, Event, Fate};
use crate::reference::open::{self, OpenRun};
use crate::reference::service::{Conditions, Kind, Service, ServiceError};

/// Version of the JSON form of [`Comparison`]; raised whenever a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 4;

/// Both services, side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// The machine.
    pub hardware: Hardware,
    /// What every service was given.
    pub conditions: Conditions,
    /// The services that were measured.
    pub services: Vec<Measured>,
    /// The services that were not, and why; one that was measured in part is here too.
    pub not_measured: Vec<(Kind, String)>,
}

/// What one service was found to do; parts that were not asked for are absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Which one.
    pub kind: Kind,
    /// What its generations cost.
    pub costs: Option<Costs>,
    /// What became of generations in flight.
    pub fates: Vec<Fate>,
    /// Arrivals at random instants, which the simulator is held against: a run for each kind of workers.
    pub open: Vec<OpenRun>,
    /// Rules of the HTTP contract, each with what was found.
    pub contract: Vec<Checked>,
}

impl Measured {
    /// Whether any part of it is there.
    fn has_a_part(&self) -> bool {
        let Self {
            kind: _,
            costs,
            fates,
            open,
            contract,
        } = self;
        costs.is_some() || !open.is_empty() || !fates.is_empty() || !contract.is_empty()
    }
}

/// A part of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// CPU and memory of a generation, idle memory, throughput, latency while PDFs render.
    Costs,
    /// What becomes of generations in flight on SIGTERM, SIGKILL, --max-requests, and of requests held open.
    Fates,
    /// Poisson arrivals, beside what the simulator says of them.
    Open,
    /// The HTTP contract.
    Contract,
}

impl Part {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Part; 4] = [Part::Contract, Part::Costs, Part::Open, Part::Fates];

    /// What it is called on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::Costs => "costs",
            Self::Open => "open",
            Self::Fates => "fates",
        }
    }
}

impl Comparison {
    /// One service, if it was measured.
    pub fn service(&self, kind: Kind) -> Option<&Measured> {
        self.services.iter().find(|one| one.kind == kind)
    }

    /// What one service's generations cost, if that was measured.
    pub fn costs(&self, kind: Kind) -> Option<&Costs> {
        self.service(kind)?.costs.as_ref()
    }

    /// What was found of one service in the cell in which all else was measured.
    pub fn base_cell(&self, kind: Kind) -> Option<&CellCosts> {
        self.costs(kind)?.cell(self.conditions.base())
    }

    /// The cells that were measured of any service, in the order in which they were.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = vec![];
        let measured = self.services.iter().filter_map(|one| one.costs.as_ref());
        for cell in measured.flat_map(|costs| &costs.cells) {
            if !cells.contains(&cell.cell) {
                cells.push(cell.cell);
            }
        }
        cells
    }
}

/// What services are started from.
#[derive(Clone, Copy, Debug)]
pub struct Services<'a> {
    /// Postgres, Redis and S3.
    pub stack: &'a Stack,
    /// The backend's binary.
    pub binary: &'a Path,
    /// The reference's environment, or why there is none.
    pub environment: &'a Result<Environment, NotMeasured>,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The services, in that order.
    pub kinds: &'a [Kind],
    /// The parts of each.
    pub parts: &'a [Part],
    /// The grid of the costs; the base cell of the conditions is one of it.
    pub cells: &'a Cells,
    /// Whether its costs are also measured with clients that poll as often as those of the other service.
    pub polled_alike: bool,
}

/// Measures what is asked of the services, one service after the other. A service ends with the first part that cannot be
/// measured: that is told with its reason, what was measured before stays, and the run goes on. `say` is told what is being
/// done.
///
/// # Errors
/// When the Rust service cannot be measured: that is a failure of this checkout.
pub async fn compare(
    from: &Services<'_>,
    hardware: Hardware,
    conditions: Conditions,
    asked: Asked<'_>,
    document: &[u8],
    say: impl Fn(&str),
) -> Result<Comparison, ServiceError> {
    let mut comparison = Comparison {
        schema_version: SCHEMA_VERSION,
        hardware,
        conditions,
        services: vec![],
        not_measured: vec![],
    };
    for &kind in asked.kinds {
        say(&format!("measuring {}", kind.label()));
        let service = match (kind, from.environment) {
            (Kind::Rust, _) => Service::rust(from.stack, conditions, from.binary),
            (_, Err(reason)) => {
                comparison.not_measured.push((kind, reason.to_string()));
                continue;
            }
            (_, Ok(environment)) => {
                let tuned = kind == Kind::FastApiTuned;
                Service::fastapi(from.stack, conditions, environment, tuned)
            }
        };
        let mut measured = Measured {
            kind,
            costs: None,
            fates: vec![],
            open: vec![],
            contract: vec![],
        };
        let parts = Part::ALL.into_iter();
        let parts: Vec<Part> = parts.filter(|part| asked.parts.contains(part)).collect();
        for (index, &part) in parts.iter().enumerate() {
            let ended = measure(&service, part, asked, document, &say, &mut measured).await;
            let Err(error) = ended else { continue };
            if kind == Kind::Rust {
                return Err(error);
            }
            let reason = why_in_part(part, &parts[index + 1..], &chain(&error));
            comparison.not_measured.push((kind, reason));
            break;
        }
        if measured.has_a_part() {
            comparison.services.push(measured);
        }
    }
    Ok(comparison)
}

/// What is said of a service one `part` of which failed, before those that were `left`.
fn why_in_part(part: Part, left: &[Part], error: &str) -> String {
    let failed = format!("the part {} failed ({error})", part.name());
    if left.is_empty() {
        return failed;
    }
    let names: Vec<_> = left.iter().map(|part| part.name()).collect();
    format!("{failed}, and was to be followed by {}", names.join(", "))
}

/// Measures one part of a service; what it had before stays.
async fn measure(
    service: &Service<'_>,
    part: Part,
    asked: Asked<'_>,
    document: &[u8],
    say: &impl Fn(&str),
    measured: &mut Measured,
) -> Result<(), ServiceError> {
    let label = service.kind.label();
    match part {
        Part::Contract => {
            say(&format!("{label}: the contract"));
            measured.contract = contract::of(service, document).await?;
        }
        Part::Costs => {
            measured.costs = Some(costs::of(service, asked, document, say).await?);
        }
        Part::Open => {
            for &model in open::worker_models(service.kind) {
                say(&format!(
                    "{}: arrivals at random",
                    open::label(model, service.kind)
                ));
                measured
                    .open
                    .push(open::of(service, model, document).await?);
            }
        }
        Part::Fates => {
            let mut fates = vec![];
            // One after the other: Gunicorn's workers of several events at once would wait for each other's CPU.
            for event in Event::ALL {
                if event.applies_to(service.kind) {
                    say(&format!("{label}: {}", event.label()));
                    fates.push(fate::of(service, event, document).await?);
                }
            }
            measured.fates = fates;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_failed_is_named_with_those_that_are_missing_after_it() {
        assert_eq!(
            why_in_part(Part::Costs, &[Part::Open, Part::Fates], "no port"),
            "the part costs failed (no port), and was to be followed by open, fates"
        );
        assert_eq!(
            why_in_part(Part::Fates, &[], "no port"),
            "the part fates failed (no port)"
        );
    }
}
