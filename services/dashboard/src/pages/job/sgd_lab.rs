//! SGD from scratch: the line that was found, and the way there.

use maud::{Markup, html};
use ursa_client::learned::Fitted;
use ursa_proto::v1;

use crate::view::plot::{Axes, Line, number, plot};

/// What is measured at every step.
pub(super) const SERIES: [&str; 3] = ["loss", "slope", "intercept"];
const STEPS: Axes = Axes { x: "step", percent: false };

/// What was found, beside what fits best.
pub(super) fn result(output_json: &str) -> Option<Markup> {
    let fitted = Fitted::read(output_json);
    if fitted.verdict.is_empty() && fitted.coefficients.is_none() {
        return None;
    }
    Some(html! {
        h2 { "The line" }
        @if !fitted.verdict.is_empty() { p class=[fitted.diverged.then_some("waits")] { (fitted.verdict) } }
        div.scroll { table.list {
            thead { tr { th {} th.number { "Slope" } th.number { "Intercept" } th.number { "Loss" } } }
            tbody { (row("found", fitted.coefficients, fitted.loss)) (row("best", fitted.optimum, fitted.least_loss)) }
        } }
        @if let Some(limit) = fitted.rate_limit {
            p.quiet { "Above a learning rate of " (number(limit)) " updates with all points overshoot farther each time." }
        }
    })
}

fn row(name: &str, coefficients: Option<[f64; 2]>, loss: Option<f64>) -> Markup {
    html! { @if let Some([slope, intercept]) = coefficients { tr {
        td { (name) }
        td.number { (number(slope)) }
        td.number { (number(intercept)) }
        td.number { @if let Some(loss) = loss { (number(loss)) } @else { "–" } }
    } } }
}

/// Loss and coefficients step by step.
pub(super) fn curves(series: &[v1::MetricSeries]) -> Markup {
    let line = |name, series_name, class| {
        let named = series.iter().find(|one| one.name == series_name);
        let points = named.map_or(&[][..], |one| &one.points).iter().map(|point| (point.step as f64, point.value));
        Line { name, class, points: points.collect(), joined: true, marked: false }
    };
    html! {
        (plot("Loss", STEPS, &[line("mean squared error", "loss", "first")]))
        (plot("Coefficients", STEPS, &[line("slope", "slope", "first"), line("intercept", "intercept", "second")]))
    }
}
