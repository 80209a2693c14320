//! The output of a train job. `ursa_domain::runs` says which of its runs counts, and how they spread.

use serde_json::{Value, json};
use ursa_domain::runs::{Run, spread};
use ursa_proto::v1;

use super::{StoreError, StoreResult};

/// A job's output after one more run: the whole story of the best one, and a row of each.
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
        train_percent: payload["train_percent"].as_u64().map_or(100, |percent| percent as u32),
        seed: payload["recipe"]["seed"].as_u64().unwrap_or_default(),
        model_digest: result.model_digest.clone(),
        error_rate,
        errors: result.errors,
        validated: result.validated,
        trained: result.trained,
    };
    let is_best = runs.iter().all(|other| run.is_better_than(other));
    runs.push(run);
    runs.sort_by_key(|run| (run.train_percent, run.seed));
    let mut output = if is_best { story(result) } else { before };
    output["spread"] = json!(spread(&runs));
    output["runs"] = json!(runs);
    // What the event of this very moment speaks of.
    output["registered"] = json!(result.model_digest);
    Ok(output)
}

/// A job's output after a run that ended badly, of which `findings` say why. Where another run left a model, its story stands.
pub(super) fn with_failed_run(before: Value, findings: &[v1::Finding]) -> Value {
    let mut output = before;
    if output.get("model_digest").is_none() {
        output["findings"] = findings.iter().map(finding).collect();
    }
    output
}

pub(super) fn story(result: &v1::TrainResult) -> Value {
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
        "recipe": recipe, "good_epochs": finding.good_epochs,
    })
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
    fn why_a_run_failed_is_told_until_there_is_a_model() {
        let finding = v1::Finding { problem: "rate_too_high".into(), good_epochs: Some(3), ..v1::Finding::default() };
        let output = with_failed_run(json!({}), std::slice::from_ref(&finding));
        assert_eq!(
            (&output["findings"][0]["problem"], &output["findings"][0]["good_epochs"]),
            (&json!("rate_too_high"), &json!(3))
        );
        let payload = json!({"train_percent": 100, "recipe": {"seed": 1}});
        let result = v1::TrainResult { model_digest: "good".into(), ..v1::TrainResult::default() };
        let trained = with_run(output, &payload, &result, 0.1).unwrap();
        assert_eq!(trained["findings"], json!([]));
        assert_eq!(with_failed_run(trained.clone(), &[finding]), trained);
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
}
