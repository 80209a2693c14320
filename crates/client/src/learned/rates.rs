//! What a test of learning rates found: the output of a `find_lr` job.

use serde_json::Value;

use super::{list, parse, text};

/// How much of the plot's height is left above the loss that the curve falls from.
const ROOM_ABOVE: f64 = 0.3;

/// The curve, and what it speaks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoundRates {
    /// By method, the one to begin with first.
    pub suggestions: Vec<Suggestion>,
    /// Why nothing is suggested; empty otherwise.
    pub error: String,
    /// By rate, rising.
    pub points: Vec<RatePoint>,
}

/// A learning rate and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// How it was chosen.
    pub method: String,
    /// The rate, above 0.
    pub rate: f64,
    /// One sentence for people.
    pub reason: String,
}

/// One batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePoint {
    /// Above 0.
    pub rate: f64,
    /// Of the batch alone.
    pub loss: f64,
    /// With those before it.
    pub smooth_loss: f64,
}

impl FoundRates {
    /// Reads the output of a `find_lr` job.
    pub fn read(output_json: &str) -> Self {
        let output = parse(output_json);
        let curve = output.get("curve").unwrap_or(&Value::Null);
        let columns = curve.get("columns").unwrap_or(&Value::Null);
        let [rate, loss, smooth] =
            [("rate", 0), ("loss", 1), ("smooth_loss", 2)].map(|(name, usual)| column(columns, name).unwrap_or(usual));
        let point = |row: &Value| {
            let (rate, loss) = (row.get(rate)?.as_f64()?, row.get(loss)?.as_f64()?);
            let smooth_loss = row.get(smooth).and_then(Value::as_f64).unwrap_or(loss);
            (rate > 0.0).then_some(RatePoint { rate, loss, smooth_loss })
        };
        let mut points = list(curve.get("points").unwrap_or(&Value::Null), point);
        points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        Self { suggestions: list(&output["suggestions"], suggestion), error: text(&output["error"]), points }
    }

    /// A loss under which everything lies that the curve is looked at for: where it ends, the loss explodes.
    pub fn highest_worth_seeing(points: &[RatePoint]) -> f64 {
        let Some(lowest) = (0..points.len()).min_by(|&a, &b| points[a].smooth_loss.total_cmp(&points[b].smooth_loss))
        else {
            return 1.0;
        };
        let highest = |points: &[RatePoint]| points.iter().map(|point| point.smooth_loss).fold(0.0, f64::max);
        let (low, start) = (points[lowest].smooth_loss, highest(&points[..lowest]));
        if start > low { start + ROOM_ABOVE * (start - low) } else { highest(points) }
    }
}

fn column(columns: &Value, name: &str) -> Option<usize> {
    columns.as_array()?.iter().position(|column| column == name)
}

fn suggestion(value: &Value) -> Option<Suggestion> {
    let rate = value["rate"].as_f64().filter(|rate| *rate > 0.0)?;
    Some(Suggestion { method: text(&value["method"]), rate, reason: text(&value["reason"]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_broken_rows_left_out() {
        let json = r#"{
            "suggestions": [{"method": "valley", "rate": 2e-3, "reason": "r"}, {"rate": "x"}, {"rate": -1}, 3],
            "curve": {"columns": ["loss", "rate"], "points": [[2.0, 1e-3], [1.0, 1e-5], [1], "x", [1.0, 0.0], [1.0, null]]}
        }"#;
        let found = FoundRates::read(json);
        let point = |rate, loss| RatePoint { rate, loss, smooth_loss: loss };
        assert_eq!(found.points, [point(1e-5, 1.0), point(1e-3, 2.0)]);
        assert_eq!(found.suggestions.len(), 1);
        assert_eq!(found.error, "");
    }

    #[test]
    fn the_explosion_at_the_end_does_not_flatten_the_valley() {
        let losses = [1.4, 1.4, 1.0, 0.4, 2.0, 9.0];
        let points = losses.map(|loss| RatePoint { rate: 1.0, loss, smooth_loss: loss });
        assert!((FoundRates::highest_worth_seeing(&points) - 1.7).abs() < 1e-9);
        assert!((FoundRates::highest_worth_seeing(&points[3..]) - 9.0).abs() < 1e-9, "a loss that only rises");
        assert!((FoundRates::highest_worth_seeing(&[]) - 1.0).abs() < 1e-9);
    }
}
