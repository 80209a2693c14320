//! A test of learning rates: the curve, and what it speaks for.

use std::collections::HashMap;

use maud::{Markup, html};
use ursa_client::learned::{FoundRates, RatePoint};
use ursa_proto::v1;

use crate::view::plot::{Axes, Line, Plot};

/// What is measured while the test runs.
pub(super) const SERIES: [&str; 3] = ["learning_rate", "loss", "loss_smooth"];

/// What was found, each with its reason.
pub(super) fn result(output_json: &str) -> Option<Markup> {
    let found = FoundRates::read(output_json);
    if found.suggestions.is_empty() && found.error.is_empty() {
        return None;
    }
    Some(html! {
        h2 { "Learning rates" }
        @if !found.error.is_empty() { p.waits { b { "No rate can be suggested: " } (found.error) } }
        @if !found.suggestions.is_empty() {
            div.scroll { table.list {
                thead { tr { th.number {} th.number { "Rate" } th { "Method" } th { "Why" } } }
                tbody { @for (place, suggestion) in (1..).zip(&found.suggestions) { tr {
                    td.number { (place) }
                    td.number { b { (format!("{:.2e}", suggestion.rate)) } }
                    td { (suggestion.method) }
                    td { (suggestion.reason) }
                } } }
            } }
            p.quiet { "A train job of the same pipeline takes the rate with " code { "rate_from" } "." }
        }
    })
}

/// The curve: of the output where the test has ended, as far as it is measured before that.
pub(super) fn curve(output_json: &str, series: &[v1::MetricSeries]) -> Markup {
    let found = FoundRates::read(output_json);
    let points = if found.points.is_empty() { measured(series) } else { found.points };
    let line = |name, class, height: fn(&RatePoint) -> f64| {
        let points = points.iter().map(|point| (point.rate, height(point))).collect();
        Line { name, class, points, joined: true, marked: false }
    };
    let marks = (1..).zip(&found.suggestions).map(|(place, suggestion)| (suggestion.rate, place.to_string()));
    Plot {
        title: "Loss by learning rate",
        axes: Axes { x: "learning rate", percent: false },
        lines: vec![
            line("each batch", "faint", |point| point.loss),
            line("smoothed", "first", |point| point.smooth_loss),
        ],
        logarithmic: true,
        top: Some(FoundRates::highest_worth_seeing(&points)),
        marks: marks.collect(),
        intervals: Vec::new(),
    }
    .draw()
}

fn measured(series: &[v1::MetricSeries]) -> Vec<RatePoint> {
    let [rates, losses, smooth] = SERIES.map(|name| by_step(series, name));
    let mut points: Vec<RatePoint> = rates
        .iter()
        .filter_map(|(step, &rate)| {
            let loss = *losses.get(step)?;
            let smooth_loss = smooth.get(step).copied().unwrap_or(loss);
            (rate > 0.0).then_some(RatePoint { rate, loss, smooth_loss })
        })
        .collect();
    points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    points
}

fn by_step(series: &[v1::MetricSeries], name: &str) -> HashMap<u64, f64> {
    let named = series.iter().filter(|one| one.name == name);
    named.flat_map(|one| &one.points).map(|point| (point.step, point.value)).collect()
}
