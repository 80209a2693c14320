//! How what a search found is shown: its trials, and the job that follows the best.

use serde_json::{Value, json};
use ursa_proto::v1;

use crate::engine::{json_of, printed};
use crate::fake::{Fake, Script};

const MODEL: &str = "9f2c4e1ab83d5f607182939a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e";

fn trial(number: u32, rate: f64, size: f64, errors: &[u32], diverged: Option<&str>) -> Value {
    let rungs = [1, 3, 9];
    let result = |(rung, errors): (usize, &u32)| json!({"epochs": rungs[rung], "errors": errors, "validated": 141, "loss": 0.1 * f64::from(*errors)});
    json!({"number": number, "settings": {"max_learning_rate": rate, "batch_size": size}, "rungs": errors.len().max(1),
        "task": "0193a1b2-c3d4-7e5f-8a6b-123456789abc", "diverged": diverged,
        "results": errors.iter().enumerate().map(result).collect::<Vec<_>>()})
}

fn found() -> Value {
    json!({
        "rungs": [1, 3, 9], "best": 2, "model_digest": MODEL, "error_rates": [0.1, 0.02],
        "recipe": {"architecture": "resnet18", "stages": [{"epochs": 9, "rate": {"flat": 0.003_162}}], "batch_size": 32},
        "trials": [trial(2, 0.003_162, 32.0, &[9, 5, 3], None), trial(3, 0.01, 16.0, &[20], None),
            trial(1, 3.0, 16.0, &[], Some("the loss became inf"))],
    })
}

async fn start(output: &Value, state: &str) -> (String, Fake) {
    let job = v1::Job {
        id: "search".into(),
        pipeline_id: "p".into(),
        name: "search".into(),
        kind: "search".into(),
        state: state.into(),
        output_json: output.to_string(),
        ..v1::Job::default()
    };
    let spec = json!({"kind": "search", "snapshot": {"numbered": {"dataset": "bears", "number": 3}}, "model": null,
        "recipe": {"architecture": "resnet18", "stages": [{"epochs": 9, "rate": {"flat": 3e-3}}]},
        "space": {"max_learning_rate": {"log_uniform": [1e-4, 1.0]}, "batch_size": {"choice": [16, 32]}},
        "trials": 3, "min_epochs": 1, "reduction": 3});
    let detail = v1::JobDetail {
        job: Some(job),
        spec_json: spec.to_string(),
        policy_json: "{}".into(),
        ..v1::JobDetail::default()
    };
    Fake::start(Script { details: vec![detail], ..Script::default() }).await
}

#[track_caller]
fn says(text: &str, said: &[&str]) {
    for said in said {
        assert!(text.contains(said), "{said:?} is missing:\n{text}");
    }
}

#[tokio::test]
async fn trials_are_listed_the_best_first_with_the_job_that_follows_it() {
    let (address, _fake) = start(&found(), "succeeded").await;
    let text = printed(&address, &["jobs", "get", "search"]).await;
    says(&text, &["3 trials in rungs to 1, 3 and 9 epochs; the best model is 9f2c4e1ab83d", "max_learning_rate"]);
    says(&text, &["3.162e-3", "3/141", "2.1 %", "0.7–6.1 %", "finished", "stopped", "diverged"]);
    says(&text, &["    kind: train\n", "    snapshot: \"bears@3\"\n", "    max_learning_rate: 0.003162\n"]);
    says(&text, &["    epochs: 9\n", "    batch_size: 32\n", "    architecture: resnet18\n"]);
    let places: Vec<usize> = ["finished", "stopped", "diverged"].iter().map(|word| text.find(word).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
    let told = json_of(&address, &["jobs", "get", "search"]).await["job"]["output_json"].clone();
    assert_eq!(serde_json::from_str::<Value>(told.as_str().unwrap()).unwrap(), found());
}

#[tokio::test]
async fn a_search_that_runs_shows_what_is_known() {
    let trials = json!([trial(1, 1e-3, 16.0, &[9], None), trial(2, 1e-2, 32.0, &[], None)]);
    let (address, _fake) = start(&json!({"rungs": [1, 3, 9], "trials": trials}), "running").await;
    let text = printed(&address, &["jobs", "get", "search"]).await;
    says(&text, &["2 trials in rungs to 1, 3 and 9 epochs\n", "may go on", "open"]);
    assert!(!text.contains("kind: train"), "{text}");
}

#[tokio::test]
async fn an_output_of_another_form_breaks_no_command() {
    for output in [json!({}), json!([1]), json!("x"), json!({"rungs": "x", "trials": {"a": 1}, "recipe": 7})] {
        let (address, _fake) = start(&output, "succeeded").await;
        says(&printed(&address, &["jobs", "get", "search"]).await, &["Kind         search"]);
    }
    let huge = json!({"rungs": [1], "trials": [trial(1, 1e300, -1.0, &[4_000_000_000], None)]});
    let (address, _fake) = start(&huge, "succeeded").await;
    let text = printed(&address, &["jobs", "get", "search"]).await;
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}
