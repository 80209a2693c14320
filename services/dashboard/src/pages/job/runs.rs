//! The runs of a train job: with other seeds, with more and more of the data.

use maud::{Markup, html};
use ursa_client::learned::{Run, Spread, Trained};

use crate::view::plot::{Axes, Line, Plot};
use crate::view::{parts, text};

/// Of several runs each, their spread and the learning curve; nothing of a single one.
pub(super) fn content(trained: &Trained) -> Markup {
    if trained.runs.len() < 2 {
        return html! {};
    }
    html! {
        h2 { "Runs " span.quiet { (trained.runs.len()) } }
        div.scroll { table.list {
            thead { tr {
                th.number { "Data" } th.number { "Seed" } th.number { "Learned from" } th.number { "Wrong" }
                th.number { "Error rate" } th.number { "95 %" } th { "Model" }
            } }
            tbody { @for run in &trained.runs { (row(run, trained)) } }
        } }
        @if !trained.spread.is_empty() {
            h2 { "Spread over seeds" }
            div.scroll { table.list {
                thead { tr {
                    th.number { "Data" } th.number { "Runs" } th.number { "Mean error rate" } th.number { "Deviation" }
                    th.number { "Lowest" } th.number { "Highest" }
                } }
                tbody { @for spread in &trained.spread { (spread_row(spread)) } }
            } }
        }
        @if trained.spread.len() > 1 { div.plots { (learning_curve(trained)) } }
    }
}

fn row(run: &Run, trained: &Trained) -> Markup {
    let is_the_jobs = trained.model_digest.as_deref() == Some(run.model_digest.as_str());
    html! { tr {
        td.number { (run.train_percent) " %" }
        td.number { (run.seed) }
        td.number { @if run.trained > 0 { (text::count(run.trained)) } @else { "–" } }
        td.number { @if let Some((wrong, of)) = run.wrong { (text::count(wrong)) " / " (text::count(of)) } @else { "–" } }
        td.number { (text::percent(run.error_rate)) }
        td.number { @if let Some(interval) = run.interval() { (text::percents(interval)) } @else { "–" } }
        td { (parts::model_link(&run.model_digest)) @if is_the_jobs { " " span.quiet { "the job's" } } }
    } }
}

fn spread_row(spread: &Spread) -> Markup {
    let told = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), text::percent);
    html! { tr {
        td.number { (spread.train_percent) " %" }
        td.number { (spread.runs) }
        td.number { (text::percent(spread.mean)) }
        td.number { (told(spread.deviation)) }
        td.number { (told(spread.lowest)) }
        td.number { (told(spread.highest)) }
    } }
}

/// Whether more pictures would help: the error rate by the share of them that was learned from.
fn learning_curve(trained: &Trained) -> Markup {
    let runs = trained.runs.iter().map(|run| (run.train_percent as f64, run.error_rate)).collect();
    let means = trained.spread.iter().map(|spread| (spread.train_percent as f64, spread.mean)).collect();
    let interval = |spread: &Spread| {
        let (low, high) = trained.interval_of(spread)?;
        Some((spread.train_percent as f64, low, high))
    };
    Plot {
        title: "Learning curve",
        axes: Axes { x: "% of the training pictures", percent: true },
        lines: vec![
            Line { name: "each run", class: "faint", points: runs, joined: false, marked: true },
            Line { name: "mean, with its 95 % interval", class: "second", points: means, joined: true, marked: true },
        ],
        logarithmic: false,
        top: None,
        marks: Vec::new(),
        intervals: trained.spread.iter().filter_map(interval).collect(),
    }
    .draw()
}
