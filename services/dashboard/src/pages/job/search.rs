//! A search: its trials, the best first, how each did at the end of its rungs, and the job that follows the best.

use maud::{Markup, html};
use ursa_client::learned::{Measured, Searched, Trial};
use ursa_proto::v1;

use super::{findings, is_active};
use crate::view::plot::{Axes, Line, plot};
use crate::view::text;

/// The table of trials, and what to do with the best; nothing where none is known.
pub(super) fn content(detail: &v1::JobDetail, job: &v1::Job) -> Markup {
    let searched = Searched::read(&job.output_json);
    if searched.trials.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Trials " span.quiet { (searched.trials.len()) ", the best first" } }
        div.scroll { table.list {
            thead { tr {
                th.number { "Trial" } @for name in searched.hyperparameters() { th.number { (name) } }
                th.number { "Epochs" } th.number { "Wrong" } th.number { "Error rate" } th.number { "95 %" }
                th.number { "Loss" } th { "State" }
            } }
            tbody { @for trial in &searched.trials { (row(trial, searched.standing(trial, is_active(job)))) } }
        } }
        div.plots { (curves(&searched)) }
        @if let Some(train) = searched.train_job(&detail.spec_json) {
            (findings::copyable("The best trial as a job of its own", &train.yaml("train")))
        }
    }
}

fn row(trial: &Trial, state: &str) -> Markup {
    let last = trial.results.last();
    html! { tr {
        td.number { (trial.number) }
        @for value in trial.settings.values() { td.number { (value) } }
        @if let Some(last) = last {
            td.number { (last.epochs) }
            td.number { (text::count(last.errors)) " / " (text::count(last.validated)) }
            td.number { (text::percent(last.proportion().rate())) }
            td.number { (text::percents(last.proportion().interval())) }
            td.number { (format!("{:.4}", last.loss)) }
        } @else {
            @for _ in 0..5 { td.number { "–" } }
        }
        td { (state) @if let Some(why) = &trial.diverged { " " span.quiet { (why) } } }
    } }
}

/// The error rate of every trial at the end of each rung that it got to.
fn curves(searched: &Searched) -> Markup {
    let point = |measured: &Measured| (f64::from(measured.epochs), measured.proportion().rate());
    let line = |(place, trial): (usize, &Trial)| {
        let (name, class) = match place {
            0 => ("the best trial", "second"),
            1 => ("the others", "faint"),
            _ => ("", "faint"),
        };
        Line { name, class, points: trial.results.iter().map(point).collect(), joined: true, marked: true }
    };
    // What is drawn last lies on top.
    let lines: Vec<Line> = searched.trials.iter().enumerate().map(line).rev().collect();
    plot("Error rate at the end of each rung", Axes { x: "epoch", percent: true }, &lines)
}
