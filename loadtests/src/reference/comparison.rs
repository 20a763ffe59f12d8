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
pub const SCHEMA_VERSION: u32 = 3;

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
    /// The services that were not, and why.
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
    /// Arrivals at random instants, which the simulator is held against.
    pub open: Option<OpenRun>,
    /// Rules of the HTTP contract, each with what was found.
    pub contract: Vec<Checked>,
}

/// A part of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// CPU and memory of a generation, idle memory, throughput, latency while PDFs render.
    Costs,
    /// What becomes of generations in flight on SIGTERM, SIGKILL, --max-requests.
    Fates,
    /// Poisson arrivals, beside what the simulator says of them.
    Open,
    /// The HTTP contract.
    Contract,
}

impl Part {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Part; 4] = [Part::Contract, Part::Costs, Part::Open, Part::Fates];
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
}

/// Measures what is asked of the services, one service after the other. What cannot be measured is told with its reason and
/// does not end the run; `say` is told what is being done.
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
        let measured = match (kind, from.environment) {
            (Kind::Rust, _) => {
                let service = Service::rust(from.stack, conditions, from.binary);
                Ok(measure(&service, asked, document, &say).await?)
            }
            (_, Err(reason)) => Err(reason.to_string()),
            (_, Ok(environment)) => {
                let tuned = kind == Kind::FastApiTuned;
                let service = Service::fastapi(from.stack, conditions, environment, tuned);
                let measured = measure(&service, asked, document, &say).await;
                measured.map_err(|error| chain(&error))
            }
        };
        match measured {
            Ok(measured) => comparison.services.push(measured),
            Err(reason) => comparison.not_measured.push((kind, reason)),
        }
    }
    Ok(comparison)
}

async fn measure(
    service: &Service<'_>,
    asked: Asked<'_>,
    document: &[u8],
    say: &impl Fn(&str),
) -> Result<Measured, ServiceError> {
    let (kind, parts) = (service.kind, asked.parts);
    let mut measured = Measured {
        kind,
        costs: None,
        fates: vec![],
        open: None,
        contract: vec![],
    };
    if parts.contains(&Part::Contract) {
        say(&format!("{}: the contract", kind.label()));
        measured.contract = contract::of(service, document).await?;
    }
    if parts.contains(&Part::Costs) {
        measured.costs = Some(costs::of(service, asked.cells, document, say).await?);
    }
    if parts.contains(&Part::Open) {
        say(&format!("{}: arrivals at random", kind.label()));
        measured.open = Some(open::of(service, document).await?);
    }
    if parts.contains(&Part::Fates) {
        say(&format!("{}: SIGTERM, SIGKILL, recycling", kind.label()));
        // What becomes of generations does not depend on what else the machine does, so all happens at once.
        let events = Event::ALL
            .into_iter()
            .filter(|event| event.applies_to(kind));
        let fates = events.map(|event| fate::of(service, event, document));
        measured.fates = futures::future::try_join_all(fates).await?;
    }
    Ok(measured)
}
