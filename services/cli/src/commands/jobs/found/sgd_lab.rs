//! SGD from scratch: what was found, and every few steps on the way there.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use ursa_client::learned::Fitted;
use ursa_proto::v1;

use super::wrapped;
use crate::output::{Column, table};
use crate::plot::{bar, number};

/// What is measured at every step.
pub(super) const SERIES: [&str; 3] = ["loss", "slope", "intercept"];
/// About so many steps are shown.
const SHOWN: usize = 20;
const BAR: usize = 24;
const STEPS: &[Column] =
    &[("STEP", "step"), ("SLOPE", "slope"), ("INTERCEPT", "intercept"), ("LOSS", "loss"), ("", "bar")];
const LINES: &[Column] = &[("LINE", "line"), ("SLOPE", "slope"), ("INTERCEPT", "intercept"), ("LOSS", "loss")];

pub(super) fn parts(fitted: &Fitted, metrics: &[v1::MetricSeries]) -> Vec<String> {
    let limit = fitted.rate_limit.filter(|_| !fitted.verdict.is_empty());
    vec![
        wrapped("", &fitted.verdict),
        lines(fitted),
        limit.map_or_else(String::new, |limit| {
            format!("Above a learning rate of {} updates with all points diverge.", number(limit))
        }),
        steps(metrics),
    ]
}

/// The line that was found beside the one that fits best.
fn lines(fitted: &Fitted) -> String {
    let row = |line: &str, coefficients: Option<[f64; 2]>, loss: Option<f64>| {
        let [slope, intercept] = coefficients?;
        let loss = loss.map_or_else(|| "no number".to_owned(), number);
        Some(json!({"line": line, "slope": number(slope), "intercept": number(intercept), "loss": loss}))
    };
    let rows = [
        row("found", fitted.coefficients, fitted.loss),
        row("best", fitted.optimum, fitted.least_loss.or(fitted.loss)),
    ];
    let rows: Vec<Value> = rows.into_iter().flatten().collect();
    if rows.is_empty() { String::new() } else { table(&rows, LINES) }
}

fn steps(metrics: &[v1::MetricSeries]) -> String {
    let [losses, slopes, intercepts] = SERIES.map(|name| by_step(metrics, name));
    let highest = losses.values().copied().filter(|loss| loss.is_finite()).fold(0.0, f64::max);
    let told = |values: &BTreeMap<u64, f64>, step: u64| values.get(&step).copied().map_or_else(String::new, number);
    let row = |(step, loss): &(&u64, &f64)| {
        let share = if highest > 0.0 { **loss / highest } else { 0.0 };
        json!({
            "step": step, "slope": told(&slopes, **step), "intercept": told(&intercepts, **step), "loss": number(**loss),
            "bar": bar(share, BAR),
        })
    };
    let rows: Vec<Value> = thinned(&losses.iter().collect::<Vec<_>>()).iter().map(row).collect();
    if rows.is_empty() { String::new() } else { table(&rows, STEPS) }
}

fn by_step(metrics: &[v1::MetricSeries], name: &str) -> BTreeMap<u64, f64> {
    let series = metrics.iter().filter(|series| series.name == name);
    series.flat_map(|series| &series.points).map(|point| (point.step, point.value)).collect()
}

/// The first, the last, and evenly between.
fn thinned<T: Copy>(all: &[T]) -> Vec<T> {
    if all.len() <= SHOWN + 1 {
        return all.to_vec();
    }
    (0..=SHOWN).map(|place| all[place * (all.len() - 1) / SHOWN]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_thinned_to_the_first_the_last_and_some_between() {
        let numbers: Vec<u32> = (0..=100).collect();
        let few = thinned(&numbers);
        assert_eq!((few.len(), few[0], few[1], few[20]), (21, 0, 5, 100));
        assert_eq!(thinned(&numbers[..21]), &numbers[..21]);
    }

    #[test]
    fn a_fit_is_told_beside_the_best_one_with_its_steps() {
        let series = |name: &str, value: fn(u32) -> f64| v1::MetricSeries {
            name: name.into(),
            points: (0..=100).map(|step| v1::MetricPoint { step: step.into(), epoch: 0, value: value(step) }).collect(),
        };
        let metrics = [
            series("loss", |step| 7.6 * 0.9f64.powi(step as i32)),
            series("slope", |step| -1.0 + 0.04 * f64::from(step)),
            series("intercept", |_| 2.5),
        ];
        let fitted = Fitted {
            coefficients: Some([2.98, 2.51]),
            loss: Some(0.081),
            optimum: Some([3.01, 2.49]),
            least_loss: Some(0.0808),
            rate_limit: Some(0.99),
            diverged: false,
            verdict: "converged: the loss is 0.0810".into(),
        };
        let text = parts(&fitted, &metrics).join("\n");
        for said in ["converged", "found", "2.9800", "best", "0.0808", "of 0.9900", "STEP", "-1.0000", "7.6000", "████"]
        {
            assert!(text.contains(said), "{said:?} is missing:\n{text}");
        }
        assert!(text.lines().count() < 35, "{text}");
    }

    #[test]
    fn a_loss_beyond_all_bounds_breaks_nothing() {
        let point = |step, value| v1::MetricPoint { step, epoch: 0, value };
        let points = vec![point(0, 7.0), point(1, 1e300), point(2, f64::INFINITY), point(3, f64::NAN)];
        let text = steps(&[v1::MetricSeries { name: "loss".into(), points }]);
        assert!(text.contains("1.000e300"), "{text}");
        let diverged = Fitted { coefficients: Some([1e9, 1e9]), verdict: "diverged".into(), ..Fitted::default() };
        assert!(parts(&diverged, &[]).join("\n").contains("no number"));
    }
}
