//! Learning rates: the curve, and what it speaks for.

use serde_json::json;
use ursa_client::learned::{FoundRates, RatePoint};

use super::wrapped;
use crate::output::{Column, table};
use crate::plot::{Series, log_plot};

const SUGGESTIONS: &[Column] = &[("", "place"), ("RATE", "rate"), ("METHOD", "method"), ("REASON", "reason")];

pub(super) fn parts(found: &FoundRates) -> Vec<String> {
    let rows = (1..).zip(&found.suggestions).map(|(place, suggestion)| {
        json!({
            "place": place, "rate": format!("{:.2e}", suggestion.rate), "method": suggestion.method,
            "reason": suggestion.reason,
        })
    });
    let rows: Vec<_> = rows.collect();
    vec![
        if rows.is_empty() { String::new() } else { format!("Learning rates\n\n{}", table(&rows, SUGGESTIONS)) },
        if found.error.is_empty() {
            String::new()
        } else {
            wrapped("No learning rate can be suggested: ", &found.error)
        },
        curve(found).unwrap_or_default(),
    ]
}

fn curve(found: &FoundRates) -> Option<String> {
    let series = |sign, height: fn(&RatePoint) -> f64| {
        let points = found.points.iter().map(|point| (point.rate, height(point))).collect();
        Series { sign, points }
    };
    let lines = [series('·', |point| point.loss), series('•', |point| point.smooth_loss)];
    let marks: Vec<_> = ('1'..='9').zip(&found.suggestions).map(|(sign, one)| (one.rate, sign)).collect();
    let plot = log_plot(&lines, FoundRates::highest_worth_seeing(&found.points), &marks)?;
    Some(format!("Loss by learning rate (• smoothed, · each batch)\n\n{plot}"))
}

#[cfg(test)]
mod tests {
    use ursa_client::learned::Suggestion;

    use super::*;

    #[test]
    fn suggestions_are_numbered_and_found_below_the_curve() {
        let points = (0..100).map(|step| {
            let (rate, loss) = (1e-7 * 1.2f64.powi(step), (f64::from(step) - 70.0).abs() / 70.0);
            RatePoint { rate, loss, smooth_loss: loss }
        });
        let suggestion = Suggestion { method: "valley".into(), rate: 1e-3, reason: "the loss falls longest".into() };
        let found = FoundRates { points: points.collect(), suggestions: vec![suggestion], error: String::new() };
        let text = parts(&found).join("\n");
        for said in ["1  1.00e-3", "valley", "the loss falls longest", "•", "1e-3"] {
            assert!(text.contains(said), "{said:?} is missing:\n{text}");
        }
    }

    #[test]
    fn a_curve_that_suggests_nothing_says_why() {
        let found = FoundRates { error: "the curve has 3 points".into(), ..FoundRates::default() };
        assert_eq!(parts(&found).concat(), "No learning rate can be suggested: the curve has 3 points");
    }
}
