//! The charts of the report, as inline SVG. Colours are Okabe and Ito's, which colour-blind readers
//! tell apart (<https://jfly.uni-koeln.de/color/>); shapes differ too.

use plotters::prelude::*;

use crate::measurement::Measurement;

const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);
const SIZE: (u32, u32) = (860, 420);

/// Measured against expected throughput of every cell, on logarithmic axes; `None` when the
/// library cannot draw, which costs the report a picture but no number.
pub fn agreement(measurement: &Measurement) -> Option<String> {
    let points: Vec<_> = measurement
        .cells
        .iter()
        .map(|cell| {
            (
                cell.expected_per_hour,
                cell.throughput_per_hour,
                cell.is_valid(),
            )
        })
        .collect();
    let low = points
        .iter()
        .map(|p| p.0.min(p.1))
        .fold(f64::INFINITY, f64::min)
        / 2.0;
    let high = points.iter().map(|p| p.0.max(p.1)).fold(0.0, f64::max) * 2.0;
    if points.is_empty() || low <= 0.0 {
        return None;
    }
    draw(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(16)
            .caption("Throughput: measured against expected", ("sans-serif", 20))
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d((low..high).log_scale(), (low..high).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("expected, generations per compressed hour")
            .y_desc("measured, generations per compressed hour")
            .light_line_style(WHITE)
            .draw()?;
        chart.draw_series(LineSeries::new([(low, low), (high, high)], BLACK.mix(0.4)))?;
        let valid = points.iter().filter(|point| point.2);
        chart
            .draw_series(valid.map(|(x, y, _)| Circle::new((*x, *y), 6, BLUE.filled())))?
            .label("within the bounds")
            .legend(|(x, y)| Circle::new((x + 10, y), 6, BLUE.filled()));
        let marked = points.iter().filter(|point| !point.2);
        chart
            .draw_series(marked.map(|(x, y, _)| TriangleMarker::new((*x, *y), 8, ORANGE.filled())))?
            .label("marked")
            .legend(|(x, y)| TriangleMarker::new((x + 10, y), 8, ORANGE.filled()));
        chart
            .configure_series_labels()
            .background_style(WHITE)
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(())
    })
}

/// One sizing in the chart of costs.
#[derive(Clone, Copy, Debug)]
pub struct PricedWait {
    /// Monthly cost in USD.
    pub cost_usd_month: f64,
    /// 95th percentile of the wait in seconds.
    pub wait_p95_s: f64,
    /// Whether this is the sizing under judgement.
    pub proposed: bool,
}

/// Cost against wait: the cheapest sizings and the proposal. `None` as in [`agreement`].
pub fn cost_against_wait(points: &[PricedWait], wait_limit_s: f64) -> Option<String> {
    // A wait of zero has no logarithm: a tenth of a second stands for "none".
    let shown_wait_s = |wait_s: f64| wait_s.max(0.1);
    let cost_max = points
        .iter()
        .map(|point| point.cost_usd_month)
        .fold(0.0, f64::max)
        * 1.1;
    let wait_max = points
        .iter()
        .map(|point| point.wait_p95_s)
        .fold(wait_limit_s, f64::max)
        .max(1.0)
        * 2.0;
    if points.is_empty() {
        return None;
    }
    draw(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(16)
            .caption(
                "Monthly cost against the wait that one in twenty exceeds",
                ("sans-serif", 20),
            )
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(0.0..cost_max, (0.1..wait_max).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("cost, USD per month")
            .y_desc("wait p95, s")
            .light_line_style(WHITE)
            .draw()?;
        let limit = [(0.0, wait_limit_s), (cost_max, wait_limit_s)];
        chart
            .draw_series(LineSeries::new(limit, BLACK.mix(0.6)))?
            .label("SLO")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLACK.mix(0.6)));
        let others = points.iter().filter(|point| !point.proposed);
        chart
            .draw_series(others.map(|point| {
                Circle::new(
                    (point.cost_usd_month, shown_wait_s(point.wait_p95_s)),
                    5,
                    BLUE.filled(),
                )
            }))?
            .label("candidates")
            .legend(|(x, y)| Circle::new((x + 10, y), 5, BLUE.filled()));
        let proposed = points.iter().filter(|point| point.proposed);
        chart
            .draw_series(proposed.map(|point| {
                let at = (point.cost_usd_month, shown_wait_s(point.wait_p95_s));
                TriangleMarker::new(at, 9, ORANGE.filled())
            }))?
            .label("the proposal")
            .legend(|(x, y)| TriangleMarker::new((x + 10, y), 9, ORANGE.filled()));
        chart
            .configure_series_labels()
            .background_style(WHITE)
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type DrawResult = Result<(), Box<dyn std::error::Error>>;

fn draw(plot: impl FnOnce(&Area<'_>) -> DrawResult) -> Option<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        plot(&area)
            .and_then(|()| Ok(area.present()?))
            .inspect_err(|error| tracing::warn!(%error, "chart not drawn"))
            .ok()?;
    }
    Some(svg)
}
