//! The runs of one train job: with other seeds, with more and more of the data. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ursa_proto::v1;

use super::{StoreError, StoreResult};

/// One run that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Run {
    train_percent: u64,
    seed: u64,
    model_digest: String,
    error_rate: f64,
    errors: u64,
    validated: u64,
    trained: u64,
}

/// Runs that differ in nothing but their seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Spread {
    train_percent: u64,
    runs: usize,
    mean: f64,
    /// Of a single run, estimated from these; none of one.
    deviation: Option<f64>,
    lowest: f64,
    highest: f64,
}

/// A job's output after one more run: the whole story of the best one (of those with most of the data, the one with the
/// fewest errors; of equals, the one with the lowest seed), and a row of each.
pub(super) fn with_run(
    before: Value,
    payload: &Value,
    result: &v1::TrainResult,
    error_rate: f64,
) -> StoreResult<Value> {
    let mut runs: Vec<Run> = match before.get("runs") {
        Some(runs) => serde_json::from_value(runs.clone())
            .map_err(|error| StoreError::unreadable("output of a train job", &error))?,
        None => Vec::new(),
    };
    let run = Run {
        train_percent: payload["train_percent"].as_u64().unwrap_or(100),
        seed: payload["recipe"]["seed"].as_u64().unwrap_or_default(),
        model_digest: result.model_digest.clone(),
        error_rate,
        errors: result.errors,
        validated: result.validated,
        trained: result.trained,
    };
    let is_best = runs.iter().all(|other| is_better(&run, other));
    runs.push(run);
    runs.sort_by_key(|run| (run.train_percent, run.seed));
    let mut output = if is_best { story(result) } else { before };
    output["spread"] = json!(spread(&runs));
    output["runs"] = json!(runs);
    // What the event of this very moment speaks of.
    output["registered"] = json!(result.model_digest);
    Ok(output)
}

fn is_better(run: &Run, other: &Run) -> bool {
    let rank = |run: &Run| (std::cmp::Reverse(run.train_percent), run.error_rate, run.seed);
    rank(run) < rank(other)
}

fn story(result: &v1::TrainResult) -> Value {
    let confusion: Vec<_> = result.confusion.iter().map(|row| row.counts.clone()).collect();
    json!({
        "model_digest": result.model_digest, "error_rates": result.error_rates, "confusion": confusion,
        "findings": result.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

/// With the changed recipe as a pipeline has it.
fn finding(finding: &v1::Finding) -> Value {
    let recipe = finding.recipe.clone().map(ursa_domain::recipe::Recipe::try_from).and_then(Result::ok);
    json!({
        "problem": finding.problem, "seen": finding.seen, "why": finding.why, "advice": finding.advice,
        "recipe": recipe,
    })
}

fn spread(runs: &[Run]) -> Vec<Spread> {
    let mut shares: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for run in runs {
        shares.entry(run.train_percent).or_default().push(run.error_rate);
    }
    shares.into_iter().map(|(train_percent, rates)| Spread::of(train_percent, &rates)).collect()
}

impl Spread {
    fn of(train_percent: u64, rates: &[f64]) -> Self {
        let count = rates.len() as f64;
        let mean = rates.iter().sum::<f64>() / count;
        let squares: f64 = rates.iter().map(|rate| (rate - mean).powi(2)).sum();
        Self {
            train_percent,
            runs: rates.len(),
            mean,
            deviation: (rates.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            lowest: rates.iter().copied().fold(f64::INFINITY, f64::min),
            highest: rates.iter().copied().fold(0.0, f64::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output after runs with (share, seed, error rate), in this order.
    fn after(runs: &[(u64, u64, f64)]) -> Value {
        runs.iter().fold(json!({}), |before, (percent, seed, error_rate)| {
            let payload = json!({"train_percent": percent, "recipe": {"seed": seed}});
            let digest = format!("{percent}-{seed}");
            let result = v1::TrainResult { model_digest: digest, ..v1::TrainResult::default() };
            with_run(before, &payload, &result, *error_rate).unwrap()
        })
    }

    #[test]
    fn the_best_run_with_most_of_the_data_is_the_jobs() {
        let runs = [(25, 1, 0.0), (100, 2, 0.2), (100, 1, 0.1), (50, 1, 0.1), (100, 3, 0.1)];
        for rotation in 0..runs.len() {
            let mut runs = runs;
            runs.rotate_left(rotation);
            let output = after(&runs);
            assert_eq!(output["model_digest"], "100-1", "{rotation}");
            let rows: Vec<_> =
                output["runs"].as_array().unwrap().iter().map(|run| run["model_digest"].clone()).collect();
            assert_eq!(rows, ["25-1", "50-1", "100-1", "100-2", "100-3"]);
        }
    }

    #[test]
    fn the_spread_is_that_of_the_seeds() {
        let output = after(&[(50, 1, 0.5), (100, 1, 0.1), (100, 2, 0.3)]);
        let [half, whole] = &output["spread"].as_array().unwrap()[..] else { panic!() };
        assert_eq!((half["runs"].as_u64(), half["deviation"].as_f64()), (Some(1), None));
        assert!((whole["mean"].as_f64().unwrap() - 0.2).abs() < 1e-12);
        assert!((whole["deviation"].as_f64().unwrap() - 0.02_f64.sqrt()).abs() < 1e-12);
        assert_eq!((whole["lowest"].as_f64(), whole["highest"].as_f64()), (Some(0.1), Some(0.3)));
    }
}
