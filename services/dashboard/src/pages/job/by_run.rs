//! The curves of several runs of a train job, a line for each.

use maud::{Markup, html};
use ursa_proto::v1;

use super::curves::points;
use crate::view::plot::{Axes, Line, legend, plot};

/// Classes of the style sheet; with more runs than these they begin again.
static CLASSES: [&str; 8] = ["run0", "run1", "run2", "run3", "run4", "run5", "run6", "run7"];

/// Losses and error rates on the validation side under one legend; nothing where nothing was measured.
pub(super) fn plots(runs: &[v1::RunMetrics]) -> Markup {
    let loss = lines(runs, "valid_loss", |point| point.step as f64);
    let error_rate = lines(runs, "error_rate", |point| f64::from(point.epoch) + 1.0);
    let drawn = html! {
        (plot("Validation loss", Axes { x: "batch", percent: false }, &loss))
        (plot("Error rate", Axes { x: "epoch", percent: true }, &error_rate))
    };
    let names: Vec<String> = runs.iter().map(|run| name(run, runs)).collect();
    let keys = names.iter().zip(CLASSES.iter().cycle()).map(|(name, class)| (*class, name.as_str()));
    html! { @if !drawn.0.is_empty() {
        p.keys { (legend(keys)) }
        div.plots { (drawn) }
    } }
}

fn lines(runs: &[v1::RunMetrics], metric: &str, x: fn(&v1::MetricPoint) -> f64) -> Vec<Line> {
    let line = |(run, class): (&v1::RunMetrics, &&'static str)| {
        let points = points(&run.series, metric).iter().map(|point| (x(point), point.value)).collect();
        Line { name: "", class, points, joined: true, marked: true }
    };
    runs.iter().zip(CLASSES.iter().cycle()).map(line).collect()
}

/// What tells a run from the others: `seed 42`, `50 %`, or both.
fn name(run: &v1::RunMetrics, runs: &[v1::RunMetrics]) -> String {
    let seed = run.seed.filter(|seed| runs.iter().any(|other| other.seed != Some(*seed)));
    let share = run.train_percent;
    let share = runs.iter().any(|other| other.train_percent != share).then(|| format!("{share} % of the pictures"));
    let parts: Vec<String> = seed.map(|seed| format!("seed {seed}")).into_iter().chain(share).collect();
    if parts.is_empty() { format!("run {}", run.task_id) } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_what_tells_it_from_the_others() {
        let run = |seed, train_percent| v1::RunMetrics { seed: Some(seed), train_percent, ..v1::RunMetrics::default() };
        let names = |runs: &[v1::RunMetrics]| runs.iter().map(|one| name(one, runs)).collect::<Vec<_>>();
        assert_eq!(names(&[run(1, 100), run(2, 100)]), ["seed 1", "seed 2"]);
        assert_eq!(names(&[run(1, 50), run(1, 100)]), ["50 % of the pictures", "100 % of the pictures"]);
        assert_eq!(names(&[run(1, 50), run(2, 100)])[1], "seed 2, 100 % of the pictures");
    }
}
