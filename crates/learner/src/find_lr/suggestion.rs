//! Which rate a curve speaks for, by the methods of fastai v1 and v2 under their names, each with its reason. Pure.

use ursa_domain::recipe::Method;
use ursa_domain::run::{RatePoint, Suggestion};

use super::curve::RateCurve;

/// Points at the end that are left out: there the loss explodes.
const SKIPPED_END: usize = 5;
/// Fewer say nothing about a slope.
const LEAST_POINTS: usize = 3;

impl RateCurve {
    /// The points that are judged: a tenth of the test at the start and five points at the end are left out, as fastai plots.
    pub fn judged(&self) -> &[RatePoint] {
        let start = self.start_judged() as usize;
        let end = self.points.len().saturating_sub(SKIPPED_END);
        self.points.get(start..end).unwrap_or_default()
    }

    /// What each method says; the error says why none can be followed.
    pub fn suggestions(&self) -> Result<Vec<Suggestion>, String> {
        Method::ALL.iter().map(|&method| self.suggest(method)).collect()
    }

    /// What `method` says.
    pub fn suggest(&self, method: Method) -> Result<Suggestion, String> {
        let points = self.judged();
        if points.len() < LEAST_POINTS {
            let count = self.points.len();
            return Err(format!(
                "the curve has {count} points, of which {} can be judged: the test stopped too early; begin at a lower rate",
                points.len()
            ));
        }
        let (rate, reason) = match method {
            Method::Valley => valley(points),
            Method::Steepest => steepest(points),
            Method::MinimumOver10 => minimum_over_10(points),
        };
        Ok(Suggestion { method, rate, reason })
    }
}

/// fastai v2's valley: the longest strictly falling subsequence, then a half of the way into it.
fn valley(points: &[RatePoint]) -> (f64, String) {
    let (mut lengths, mut end) = (vec![1_usize; points.len()], 0);
    for index in 1..points.len() {
        for earlier in 0..index {
            if points[index].loss < points[earlier].loss && lengths[index] < lengths[earlier] + 1 {
                lengths[index] = lengths[earlier] + 1;
            }
        }
        if lengths[end] < lengths[index] {
            end = index;
        }
    }
    let length = lengths[end];
    // May be one before the first point, when the loss falls everywhere.
    let start = end as i64 - length as i64;
    let chosen = (start + (length / 3) as i64 + (length / 6) as i64).max(0) as usize;
    let from = points[start.max(0) as usize].rate;
    let reason = format!("the loss falls longest from {from:.1e} to {:.1e}; this is in the middle", points[end].rate);
    (points[chosen].rate, reason)
}

/// The least of numpy's gradient by index: central differences, one-sided at the ends.
fn steepest(points: &[RatePoint]) -> (f64, String) {
    let gradient = |index: usize| {
        let (before, after) = (index.saturating_sub(1), (index + 1).min(points.len() - 1));
        (points[after].loss - points[before].loss) / (after - before) as f64
    };
    let index = (1..points.len()).fold(0, |best, index| if gradient(index) < gradient(best) { index } else { best });
    (points[index].rate, format!("here the loss falls fastest, by {:.3} from batch to batch", -gradient(index)))
}

fn minimum_over_10(points: &[RatePoint]) -> (f64, String) {
    let least = points[1..].iter().fold(&points[0], |best, point| if point.loss < best.loss { point } else { best });
    let reason =
        format!("the loss is lowest at {:.1e}, where it no longer falls; a tenth of that is safely before", least.rate);
    (least.rate / 10.0, reason)
}

#[cfg(test)]
mod tests {
    use ursa_domain::recipe::RateTest;

    use super::*;

    /// A curve with these smoothed losses.
    fn curve(losses: &[f64]) -> RateCurve {
        let mut curve = RateCurve::begin(RateTest::default());
        for (step, &loss) in (0..).zip(losses) {
            let rate = curve.test.rate(step);
            curve.points.push(RatePoint { step, rate, loss, batch_loss: loss });
        }
        curve
    }

    /// Flat, then falling with a ripple, then exploding.
    fn typical() -> Vec<f64> {
        let loss =
            |k: f64| 1.4 - 1.1 / (1.0 + (-(k - 58.0) / 6.0).exp()) + 0.01 * (k * 1.7).sin() + ((k - 88.0) / 3.0).exp();
        (0..100).map(|k| loss(f64::from(k))).collect()
    }

    const VALLEY: u32 = 53;
    const STEEPEST: u32 = 57;
    const MINIMUM: u32 = 77;

    /// Indices computed apart, in Python, by the rules of lesson 2 §2.6 on the same numbers; fastai itself was not run.
    #[test]
    fn the_methods_choose_what_fastai_chooses() {
        let curve = curve(&typical());
        let chosen = |method| curve.suggest(method).unwrap().rate;
        let at = |step| curve.test.rate(step);
        assert!((chosen(Method::Valley) / at(VALLEY) - 1.0).abs() < 1e-9, "{}", chosen(Method::Valley));
        assert!((chosen(Method::Steepest) / at(STEEPEST) - 1.0).abs() < 1e-9, "{}", chosen(Method::Steepest));
        assert!((chosen(Method::MinimumOver10) * 10.0 / at(MINIMUM) - 1.0).abs() < 1e-9);
        for suggestion in curve.suggestions().unwrap() {
            assert!(suggestion.reason.contains("loss"), "{suggestion:?}");
        }
    }

    #[test]
    fn the_start_and_the_end_of_the_curve_are_not_judged() {
        let curve = curve(&typical());
        assert_eq!((curve.judged()[0].step, curve.judged().len()), (10, 85));
    }

    #[test]
    fn a_loss_that_only_falls_is_no_reason_to_fail() {
        let falling: Vec<f64> = (0..100).map(|k| 2.0 - f64::from(k) / 100.0).collect();
        assert_eq!(curve(&falling).suggestions().unwrap().len(), 3);
    }

    #[test]
    fn too_few_points_are_said_to_be_too_few() {
        let error = curve(&[1.0; 17]).suggest(Method::Valley).unwrap_err();
        assert!(error.contains("17 points"), "{error}");
    }
}
