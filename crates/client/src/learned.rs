//! What the jobs that learn leave behind, read from the JSON of their output.
//!
//! Reading never fails: an output of another version, or of nobody we know, gives what is left of it.

mod changes;
mod evaluated;
mod explained;
mod rates;
mod searched;
mod trained;

use serde_json::Value;

pub use changes::Changes;
pub use evaluated::Evaluated;
pub use explained::{Explained, ExplainedImage};
pub use rates::{FoundRates, RatePoint, Suggestion};
pub use searched::Searched;
pub use trained::{Finding, Run, Spread, Trained};
pub use ursa_domain::evaluation::ClassErrors;
pub use ursa_domain::proportion::Proportion;
pub use ursa_domain::search::{Measured, Trial};
pub use ursa_domain::sources::Sources;

/// How a line was fitted: the output of an `sgd_lab` job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fitted {
    /// Slope and intercept after the last update.
    pub coefficients: Option<[f64; 2]>,
    /// Mean squared error with these; missing where it left all bounds.
    pub loss: Option<f64>,
    /// The slope and intercept that fit best.
    pub optimum: Option<[f64; 2]>,
    /// The loss with those.
    pub least_loss: Option<f64>,
    /// Above this learning rate updates with all points overshoot farther each time.
    pub rate_limit: Option<f64>,
    /// Whether the loss left all bounds.
    pub diverged: bool,
    /// One sentence for people; empty until the job has ended.
    pub verdict: String,
}

impl Fitted {
    /// Reads the output of an `sgd_lab` job.
    pub fn read(output_json: &str) -> Self {
        let output = parse(output_json);
        let pair = |name: &str| serde_json::from_value(output[name].clone()).ok();
        Self {
            coefficients: pair("coefficients"),
            loss: output["loss"].as_f64(),
            optimum: pair("optimum"),
            least_loss: output["least_loss"].as_f64(),
            rate_limit: output["rate_limit"].as_f64(),
            diverged: output["diverged"].as_bool().unwrap_or_default(),
            verdict: text(&output["verdict"]),
        }
    }
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What `read` makes of the items of a list, those left out that it makes nothing of.
fn list<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    value.as_array().map_or(&[][..], Vec::as_slice).iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_is_read_with_whatever_is_missing() {
        let json =
            r#"{"coefficients": [3.1, 2.4], "loss": null, "optimum": ["a"], "diverged": true, "verdict": "diverged"}"#;
        let fitted = Fitted::read(json);
        assert_eq!((fitted.coefficients, fitted.loss, fitted.optimum), (Some([3.1, 2.4]), None, None));
        assert!(fitted.diverged && fitted.verdict == "diverged");
    }

    #[test]
    fn what_is_no_output_is_an_empty_one() {
        for garbage in ["", "{", "null", "[]", "7", r#""x""#, r#"{"runs": 1, "findings": {}, "curve": [], "loss": {}}"#]
        {
            assert_eq!(Fitted::read(garbage), Fitted::default(), "{garbage}");
            assert_eq!(Evaluated::read(garbage), Evaluated::default(), "{garbage}");
            assert_eq!(Explained::read(garbage), Explained::default(), "{garbage}");
            assert_eq!(FoundRates::read(garbage), FoundRates::default(), "{garbage}");
            assert_eq!(Trained::read(garbage), Trained::default(), "{garbage}");
            assert_eq!(Searched::read(garbage), Searched::default(), "{garbage}");
        }
    }
}
