//! What the page of a search shows: its trials, how they did, and the job that follows the best.

use serde_json::{Value, json};

use crate::data::{MODEL, NASTY, bears, job_id};
use crate::fake::Script;
use crate::setup::{Page, start};

async fn page(output: &Value, state: &str) -> Page {
    let spec = json!({"kind": "search", "snapshot": {"from_job": "snapshot"}, "model": null, "recipe": {},
        "space": {"max_learning_rate": {"log_uniform": [1e-4, 1.0]}}, "trials": 3, "min_epochs": 1, "reduction": 3});
    let mut script = Script { spec_json: spec.to_string(), ..bears() };
    let job = &mut script.pipelines[0].jobs[3];
    (job.kind, job.name, job.state) = ("search".into(), "search".into(), state.into());
    job.output_json = output.to_string();
    let (dashboard, _fake) = start(script).await;
    let page = dashboard.get(&format!("/jobs/{}", job_id(4))).await;
    assert_eq!(page.status, 200, "{}", page.body);
    page.shows("</html>").lacks("NaN").lacks("inf\"").lacks(NASTY).lacks(" style=");
    page
}

fn trial(number: u32, errors: &[u32], diverged: Option<&str>) -> Value {
    let result =
        |(epochs, errors): (u32, &u32)| json!({"epochs": epochs, "errors": errors, "validated": 141, "loss": 0.5});
    let results: Vec<Value> = [1, 3].into_iter().zip(errors).map(result).collect();
    json!({"number": number, "settings": {"max_learning_rate": 3.162e-3}, "rungs": errors.len().max(1),
        "task": "0193a1b2-c3d4-7e5f-8a6b-123456789abc", "diverged": diverged,
        "results": results})
}

#[tokio::test]
async fn trials_are_shown_the_best_first_with_their_way_there() {
    let output = json!({"rungs": [1, 3], "best": 2, "model_digest": MODEL, "error_rates": [0.1, 0.021],
        "recipe": {"batch_size": 16}, "trials": [trial(2, &[9, 3], None), trial(1, &[20], None), trial(3, &[], Some(NASTY))]});
    let page = page(&output, "succeeded").await;
    page.shows("max_learning_rate").shows("3.162e-3").shows("3 / 141").shows("0.7–6.1 %").shows("finished");
    page.shows("stopped").shows("diverged").shows("&lt;script").shows("Error rate at the end of each rung");
    page.shows("the best trial").shows("kind: train").shows("batch_size: 16").shows("2.1 %");
    assert_eq!(page.body.matches("class=\"copyable\"").count(), 1);
}

#[tokio::test]
async fn a_search_that_has_only_begun_shows_its_trials() {
    let output = json!({"rungs": [1, 3], "trials": [trial(1, &[], None), trial(2, &[], None)]});
    page(&output, "running").await.shows("open").lacks("Error rate at the end").lacks("kind: train");
}

#[tokio::test]
async fn an_output_of_another_form_breaks_no_page() {
    for output in [json!({}), json!([1]), json!({"trials": [7, {}], "rungs": {}, "recipe": "x"})] {
        page(&output, "succeeded").await.lacks("the best first");
    }
    let huge = json!({"rungs": [1], "trials": [trial(1, &[4_000_000_000], None)]});
    page(&huge, "succeeded").await.shows("the best first");
}
