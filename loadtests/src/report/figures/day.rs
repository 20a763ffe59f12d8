//! A simulated day with the hours of an office and a deployment every eight hours: arrivals, queue, tasks, CPU.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use simulator::scenario::{Arrivals, Deployments, InvalidScenario, Scenario};
use simulator::simulate_traced;
use simulator::time::Duration;
use simulator::trace::Happening;

use super::svg::{
    Area, BLUE, Canvas, DrawResult, FAINT, GREEN, GRID, INK, Scale, VERMILION, drawn, line, short,
    text,
};
use super::{Figure, Value};
use crate::stats::{count_as_f64, count_u64_as_f64};

/// Share of the peak hour's arrivals in each hour of a day: an office with two humps, its peak at 10.
const HOURLY: [f64; 24] = [
    0.05, 0.05, 0.05, 0.05, 0.05, 0.1, 0.25, 0.5, 0.8, 1.0, 1.0, 0.9, 0.75, 0.8, 0.95, 1.0, 0.95,
    0.8, 0.6, 0.45, 0.35, 0.25, 0.15, 0.1,
];
const MINUTES_PER_STEP: u64 = 10;
const STEPS: usize = 144;
const DEPLOYED_EVERY_H: u64 = 8;
const NS_PER_STEP: u64 = MINUTES_PER_STEP * 60_000_000_000;

/// What a day looked like, every ten minutes.
#[derive(Clone, Debug)]
pub struct Day {
    /// Generations submitted in the step.
    pub submitted: Vec<f64>,
    /// Generations waiting at its end.
    pub queued: Vec<f64>,
    /// Most tasks serving within it: a deployment has both the old and the new ones for a while.
    pub tasks: Vec<f64>,
    /// CPU used at its end, in percent of the serving tasks' vCPU, from the generations then in flight.
    pub cpu_percent: Vec<f64>,
    /// Whether a load that is asked for at the same rate all day was spread as an office spreads it.
    pub spread: bool,
    /// Hours at which deployments began.
    pub deployed_h: Vec<f64>,
    /// The outcome of the whole day.
    pub outcome: simulator::Outcome,
}

/// Simulates one day of this scenario's fleet: its arrivals become the peak of an office day, and it is deployed every
/// eight hours.
///
/// # Errors
/// When the scenario cannot be simulated.
pub fn simulate_day(base: &Scenario) -> Result<Day, InvalidScenario> {
    let mut scenario = base.clone();
    scenario.horizon = Duration::from_hours(24);
    scenario.warmup = Duration::ZERO;
    // Arrivals with a day of their own keep it.
    let spread = !matches!(base.workload.arrivals, Arrivals::Daily { .. });
    if spread {
        scenario.workload.arrivals = Arrivals::Daily {
            per_hour: base.workload.arrivals.mean_per_hour(),
            hourly: HOURLY.to_vec(),
        };
    }
    scenario.fleet.deployments = Some(Deployments::every(Duration::from_hours(DEPLOYED_EVERY_H)));
    let mut tally = Tally::new();
    let outcome = simulate_traced(&scenario, &mut |event| tally.take(event.at_ns, event.what))?;
    tally.finish();
    let per_generation =
        scenario.profile.cpu_s_per_generation / scenario.workload.generation.mean().as_secs_f64();
    let cpu_percent = tally
        .in_flight_per_task
        .iter()
        .map(|running| 100.0 * running * per_generation / scenario.fleet.vcpu)
        .collect();
    Ok(Day {
        spread,
        submitted: tally.submitted,
        queued: tally.queued,
        tasks: tally.tasks,
        cpu_percent,
        deployed_h: (1..24 / DEPLOYED_EVERY_H)
            .map(|n| count_u64_as_f64(n * DEPLOYED_EVERY_H))
            .collect(),
        outcome,
    })
}

/// The state of the fleet while its events come in, and what it was at the end of each step.
struct Tally {
    arrived: f64,
    waiting: f64,
    running: f64,
    serving: f64,
    serving_max: f64,
    started: std::collections::BTreeSet<u64>,
    submitted: Vec<f64>,
    queued: Vec<f64>,
    tasks: Vec<f64>,
    in_flight_per_task: Vec<f64>,
}

impl Tally {
    fn new() -> Tally {
        Tally {
            arrived: 0.0,
            waiting: 0.0,
            running: 0.0,
            serving: 0.0,
            serving_max: 0.0,
            started: std::collections::BTreeSet::new(),
            submitted: Vec::with_capacity(STEPS),
            queued: Vec::with_capacity(STEPS),
            tasks: Vec::with_capacity(STEPS),
            in_flight_per_task: Vec::with_capacity(STEPS),
        }
    }

    fn step(&mut self) {
        self.submitted.push(std::mem::take(&mut self.arrived));
        self.queued.push(self.waiting);
        self.tasks.push(self.serving_max);
        self.serving_max = self.serving;
        self.in_flight_per_task
            .push(self.running / self.serving.max(1.0));
    }

    fn take(&mut self, at_ns: u64, what: Happening) {
        while self.submitted.len() < STEPS
            && at_ns >= NS_PER_STEP * (self.submitted.len() as u64 + 1)
        {
            self.step();
        }
        match what {
            Happening::Submitted { .. } => {
                self.arrived += 1.0;
                self.waiting += 1.0;
            }
            Happening::Started { generation, .. } => {
                self.waiting -= 1.0;
                self.running += 1.0;
                self.started.insert(generation);
            }
            Happening::Requeued { generation, .. } => {
                self.waiting += 1.0;
                self.running -= 1.0;
                self.started.remove(&generation);
            }
            Happening::Completed { generation } | Happening::Lost { generation, .. } => {
                if self.started.remove(&generation) {
                    self.running -= 1.0;
                } else {
                    self.waiting -= 1.0;
                }
            }
            Happening::TaskServes { .. } => {
                self.serving += 1.0;
                self.serving_max = self.serving_max.max(self.serving);
            }
            Happening::TaskStopped { .. } => self.serving -= 1.0,
        }
    }

    fn finish(&mut self) {
        while self.submitted.len() < STEPS {
            self.step();
        }
    }
}

pub(super) fn figure(day: &Day, id: &'static str) -> Figure {
    let hours = |step: usize| count_as_f64(step + 1) * count_u64_as_f64(MINUTES_PER_STEP) / 60.0;
    let rows: Vec<Vec<Value>> = (0..day.submitted.len())
        .map(|step| {
            let hour = hours(step);
            let before = hour - count_u64_as_f64(MINUTES_PER_STEP) / 60.0;
            let deployed = day
                .deployed_h
                .iter()
                .any(|at| *at > before + 1e-9 && *at <= hour + 1e-9);
            vec![
                hour.into(),
                day.submitted[step].into(),
                day.queued[step].into(),
                day.tasks[step].into(),
                day.cpu_percent[step].into(),
                (if deployed { "deployment" } else { "" }).into(),
            ]
        })
        .collect();
    let highest = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let panels: [(&str, &[f64], RGBColor); 4] = [
        ("submitted in 10 min", &day.submitted, BLUE),
        ("waiting in the queue", &day.queued, VERMILION),
        ("tasks that serve, the most at once", &day.tasks, GREEN),
        ("CPU used, % of the tasks' vCPU", &day.cpu_percent, BLUE),
    ];
    let drawings = drawn([460, 470], |canvas, area| {
        let height = (canvas.height - 40) / 4;
        for (index, panel) in (0..).zip(&panels) {
            draw_panel(area, canvas, [index * height, (index + 1) * height], panel)?;
        }
        axis(area, canvas, 4 * height, &day.deployed_h)
    });
    Figure {
        id,
        title: format!(
            "A simulated day{}, with a deployment at 8 and at 16 o'clock",
            if day.spread {
                ", the load spread as in an office"
            } else {
                ""
            }
        ),
        alternative: format!(
            "Four curves over 24 hours: up to {} generations submitted in ten minutes, up to {} waiting, up to {} tasks serving, CPU never above {} %. Dashed lines are deployments; {} generations were lost.",
            short(highest(&day.submitted)),
            short(highest(&day.queued)),
            short(highest(&day.tasks)),
            short(highest(&day.cpu_percent)),
            day.outcome.lost_total()
        ),
        columns: [
            "hour",
            "submitted in the 10 min before",
            "waiting at the end",
            "tasks serving, the most in the 10 min",
            "CPU at the end, %",
            "event",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows,
        drawings,
    }
}

const LEFT: i32 = 44;

fn hour_scale(canvas: Canvas) -> Scale {
    Scale::linear([0.0, 24.0], [LEFT, canvas.width - 12])
}

fn draw_panel(
    area: &Area<'_>,
    canvas: Canvas,
    rows: [i32; 2],
    panel: &(&str, &[f64], RGBColor),
) -> DrawResult {
    let (name, values, color) = panel;
    let letters = canvas.letters();
    let (top, bottom) = (rows[0] + 24, rows[1] - 8);
    let highest = values.iter().copied().fold(0.0, f64::max);
    // An axis of nothing would end at a made-up number.
    let high = if highest > 0.0 { highest } else { 1.0 };
    let x = hour_scale(canvas);
    let y = Scale::linear([0.0, high * 1.05], [bottom, top]);
    text(area, name, (LEFT, rows[0] + 12), letters, FAINT, HPos::Left)?;
    for value in [0.0, high] {
        line(
            area,
            (LEFT, y.at(value)),
            (canvas.width - 12, y.at(value)),
            GRID,
        )?;
        text(
            area,
            &short(value),
            (LEFT - 6, y.at(value)),
            letters,
            INK,
            HPos::Right,
        )?;
    }
    let mut path = Vec::with_capacity(2 * values.len());
    for (step, value) in values.iter().enumerate() {
        let hour = |step: usize| count_as_f64(step) * 24.0 / count_as_f64(STEPS);
        path.push((x.at(hour(step)), y.at(*value)));
        path.push((x.at(hour(step + 1)), y.at(*value)));
    }
    area.draw(&PathElement::new(path, color.stroke_width(2)))?;
    Ok(())
}

fn axis(area: &Area<'_>, canvas: Canvas, bottom: i32, deployed_h: &[f64]) -> DrawResult {
    let letters = canvas.letters();
    let x = hour_scale(canvas);
    for hour in [0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0] {
        text(
            area,
            &format!("{hour:.0} h"),
            (x.at(hour), bottom + 8),
            letters,
            INK,
            HPos::Center,
        )?;
    }
    for hour in deployed_h {
        let mut at = 24;
        while at < bottom - 8 {
            line(
                area,
                (x.at(*hour), at),
                (x.at(*hour), (at + 5).min(bottom - 8)),
                INK,
            )?;
            at += 10;
        }
    }
    text(
        area,
        "dashed: a deployment begins",
        (i32::midpoint(LEFT, canvas.width), bottom + 28),
        letters,
        FAINT,
        HPos::Center,
    )?;
    Ok(())
}
