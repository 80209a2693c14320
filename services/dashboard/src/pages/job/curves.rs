//! What was measured while a network learned, or a line was fitted.

use maud::{Markup, html};
use ursa_client::learned::Proportion;
use ursa_proto::v1;

use super::{by_run, find_lr, sgd_lab};
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::plot::{Axes, Line, plot};
use crate::view::{parts, text};

const TRAINING: [&str; 10] = [
    "train_loss",
    "train_loss_smooth",
    "valid_loss",
    "error_rate",
    "wrong",
    "validated",
    "images_per_second",
    "memory_bytes",
    "gpu_utilisation",
    "gpu_memory_bytes",
];

/// Whether jobs of this kind have curves.
pub(super) fn are_drawn(kind: &str) -> bool {
    matches!(kind, "train" | "find_lr" | "sgd_lab")
}

/// The section.
pub(super) async fn content(app: &App, job: &v1::Job) -> Result<Markup, PageError> {
    let (title, names) = match job.kind.as_str() {
        "find_lr" => ("The curve", &find_lr::SERIES[..]),
        "sgd_lab" => ("Step by step", &sgd_lab::SERIES[..]),
        _ => ("Training", &TRAINING[..]),
    };
    let names = names.iter().map(ToString::to_string).collect();
    let by_run = job.kind == "train";
    let request = v1::ListMetricsRequest { job_id: job.id.clone(), names, by_run, ..v1::ListMetricsRequest::default() };
    let answer = ask(app.client.jobs().list_metrics(request)).await?;
    let (latest, plots) = match &answer.runs[..] {
        [] => of_one(job, &answer.series),
        [run] => of_one(job, &run.series),
        runs => (html! {}, by_run::plots(runs)),
    };
    Ok(html! {
        h2 { (title) }
        @if plots.0.is_empty() {
            p.quiet { "The curves appear with the first batch." }
        } @else {
            (latest)
            (plots)
        }
    })
}

/// What was measured last, and the plots, of a job that has no other run.
fn of_one(job: &v1::Job, series: &[v1::MetricSeries]) -> (Markup, Markup) {
    let plots = match job.kind.as_str() {
        "find_lr" => find_lr::curve(&job.output_json, series),
        "sgd_lab" => sgd_lab::curves(series),
        _ => html! { (loss(series)) (error_rate(series)) },
    };
    let latest = if job.kind == "train" {
        latest(series)
    } else {
        html! {}
    };
    (latest, html! { @if !plots.0.is_empty() { div.plots { (plots) } } })
}

pub(super) fn points<'a>(series: &'a [v1::MetricSeries], name: &str) -> &'a [v1::MetricPoint] {
    series.iter().find(|one| one.name == name).map_or(&[], |one| &one.points)
}

fn latest(series: &[v1::MetricSeries]) -> Markup {
    let last = |name| points(series, name).last();
    html! { dl.facts.row {
        @if let Some(point) = last("error_rate") { (parts::fact("epoch", point.epoch + 1)) (parts::fact("error rate", text::percent(point.value))) }
        @if let [Some(wrong), Some(of)] = ["wrong", "validated"].map(last) {
            (parts::fact("wrong", Proportion { count: wrong.value as u64, of: of.value as u64 }.to_string()))
        }
        @if let Some(point) = last("train_loss_smooth").or(last("train_loss")) { (parts::fact("train loss", format!("{:.3}", point.value))) }
        @if let Some(point) = last("valid_loss") { (parts::fact("valid loss", format!("{:.3}", point.value))) }
        @if let Some(point) = last("images_per_second") { (parts::fact("images/s", format!("{:.0}", point.value))) }
        @if let Some(point) = last("memory_bytes") { (parts::fact("memory", text::bytes(point.value as u64))) }
        @if let Some(point) = last("gpu_utilisation") { (parts::fact("GPU busy", text::percent(point.value))) }
        @if let Some(point) = last("gpu_memory_bytes") { (parts::fact("GPU memory", text::bytes(point.value as u64))) }
    } }
}

fn loss(series: &[v1::MetricSeries]) -> Markup {
    let by_step = |name| points(series, name).iter().map(|point| (point.step as f64, point.value)).collect();
    let line = |name, metric, class, marked| Line { name, class, points: by_step(metric), joined: true, marked };
    let lines = [
        line("each batch", "train_loss", "faint", false),
        line("training", "train_loss_smooth", "first", false),
        line("validation", "valid_loss", "second", true),
    ];
    plot("Loss", Axes { x: "batch", percent: false }, &lines)
}

fn error_rate(series: &[v1::MetricSeries]) -> Markup {
    let by_epoch =
        points(series, "error_rate").iter().map(|point| (f64::from(point.epoch) + 1.0, point.value)).collect();
    let line = Line { name: "validation", class: "second", points: by_epoch, joined: true, marked: true };
    plot("Error rate", Axes { x: "epoch", percent: true }, &[line])
}
