//! How what jobs that learn found is shown: rates, fits, runs and what went wrong.

use serde_json::{Value, json};
use ursa_proto::v1;

use crate::engine::{json_of, printed};
use crate::fake::{Fake, Script};

const MODEL: &str = "9f2c4e1ab83d5f607182939a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e";

fn detail(id: &str, kind: &str, output: &Value, spec: &Value) -> v1::JobDetail {
    let job = v1::Job {
        id: id.into(),
        pipeline_id: "p".into(),
        name: id.into(),
        kind: kind.into(),
        state: "succeeded".into(),
        output_json: output.to_string(),
        ..v1::Job::default()
    };
    v1::JobDetail { job: Some(job), spec_json: spec.to_string(), policy_json: "{}".into(), ..v1::JobDetail::default() }
}

/// As the test of a hundred rates that stopped where the loss ran away.
fn rates() -> Value {
    let point = |step: u32| {
        let (rate, k) = (1e-7 * 1e8f64.powf(f64::from(step) / 100.0), f64::from(step));
        let smooth = 1.4 - 1.1 / (1.0 + (-(k - 58.0) / 6.0).exp()) + ((k - 84.0) / 3.0).exp();
        json!([rate, smooth + 0.1 * (k * 1.7).sin(), smooth])
    };
    let suggestion = |method: &str, rate: f64, reason: &str| json!({"method": method, "rate": rate, "reason": reason});
    json!({
        "suggestions": [
            suggestion("valley", 1.74e-3, "the loss falls longest from 1.1e-6 to 3.6e-2; this is in the middle"),
            suggestion("steepest", 3.63e-3, "here the loss falls fastest, by 0.046 from batch to batch"),
            suggestion("minimum-over10", 1.2e-2, "the loss is lowest at 1.2e-1, where it no longer falls"),
        ],
        "error": "",
        "curve": {"columns": ["rate", "loss", "smooth_loss"], "points": (0..=92).map(point).collect::<Vec<_>>()},
    })
}

fn fit() -> Value {
    json!({"coefficients": [2.987, 2.513], "loss": 0.0812, "optimum": [3.012, 2.481], "least_loss": 0.0809,
        "rate_limit": 0.993, "diverged": false,
        "verdict": "converged: the loss is 0.0812, 0.0809 is possible with [3.012, 2.481]"})
}

fn evaluation() -> Value {
    let class = |class: &str, wrong: u64, of: u64| json!({"class": class, "wrong": wrong, "of": of});
    json!({"model_digest": MODEL, "snapshot_id": "s", "snapshot_digest": "5b".repeat(32), "dataset": "bears", "number": 4,
        "images": 60, "errors": 9, "loss": 0.4211, "classes": [class("black", 1, 20), class("teddy", 8, 40)]})
}

fn steps() -> Vec<v1::MetricSeries> {
    let series = |name: &str, value: fn(f64) -> f64| v1::MetricSeries {
        name: name.into(),
        points: (0..=100).map(|step| v1::MetricPoint { step, epoch: 0, value: value(step as f64) }).collect(),
    };
    vec![
        series("intercept", |step| 2.5 - 1.5 * 0.8f64.powf(step)),
        series("loss", |step| 0.081 + 7.6 * 0.87f64.powf(step)),
        series("slope", |step| 3.0 - 4.0 * 0.93f64.powf(step)),
    ]
}

fn recipe(epochs: u32) -> Value {
    json!({"architecture": "resnet18", "stages": [{"epochs": epochs, "rate": {"flat": 3e-3}, "frozen": false}], "seed": 42})
}

fn runs() -> Value {
    let run = |percent: u32, seed: u32, errors: u32, digest: &str| {
        json!({"train_percent": percent, "seed": seed, "model_digest": digest, "error_rate": f64::from(errors) / 141.0,
            "errors": errors, "validated": 141, "trained": 575 * percent / 100})
    };
    let spread = |percent: u32, runs: u32, mean: f64, deviation: Option<f64>| json!({"train_percent": percent, "runs": runs, "mean": mean, "deviation": deviation, "lowest": mean, "highest": mean});
    let finding = |problem: &str, recipe: Value| {
        json!({"problem": problem, "seen": "in the last epoch the validation loss still fell from 0.412 to 0.301",
            "why": "a network that is still getting better has not shown what it can do", "advice": "train longer",
            "recipe": recipe})
    };
    json!({
        "model_digest": MODEL, "error_rates": [0.3, 0.05], "confusion": [[47, 1], [2, 91]],
        "findings": [finding("too_few_epochs", recipe(8)), finding("too_little_data", Value::Null)],
        "runs": [run(50, 42, 9, "aa"), run(100, 42, 3, MODEL), run(100, 43, 5, "bb")],
        "spread": [spread(50, 1, 9.0 / 141.0, None), spread(100, 2, 4.0 / 141.0, Some(0.01))],
        "registered": "bb",
    })
}

fn script() -> Script {
    let from = json!({"numbered": {"dataset": "bears", "number": null}});
    let train = json!({"kind": "train", "snapshot": from, "recipe": recipe(4), "model": null, "rate": null, "seeds": 2,
        "train_percents": [50, 100]});
    Script {
        details: vec![
            detail("rate", "find_lr", &rates(), &json!({"kind": "find_lr"})),
            detail("line", "sgd_lab", &fit(), &json!({"kind": "sgd_lab"})),
            detail("train", "train", &runs(), &train),
            detail("newer", "evaluate", &evaluation(), &json!({"kind": "evaluate"})),
        ],
        metrics: Vec::new(),
        runs: vec![v1::RunMetrics { series: steps(), ..v1::RunMetrics::default() }],
        ..Script::default()
    }
}

#[track_caller]
fn says(text: &str, said: &[&str]) {
    for said in said {
        assert!(text.contains(said), "{said:?} is missing:\n{text}");
    }
}

#[tokio::test]
async fn learning_rates_are_listed_with_their_reasons_and_seen_on_the_curve() {
    let (address, _fake) = Fake::start(script()).await;
    let text = printed(&address, &["jobs", "get", "rate"]).await;
    says(&text, &["1  1.74e-3  valley", "this is in the middle", "minimum-over10", "• smoothed", "│", "1e-7", "1e-1"]);
    assert!(!text.contains("columns"), "the JSON is for programs:\n{text}");
    let output = json_of(&address, &["jobs", "get", "rate"]).await["job"]["output_json"].clone();
    assert_eq!(serde_json::from_str::<Value>(output.as_str().unwrap()).unwrap(), rates());
}

#[tokio::test]
async fn a_fitted_line_is_shown_with_its_way_there_and_the_verdict() {
    let (address, _fake) = Fake::start(script()).await;
    let text = printed(&address, &["job", "show", "line"]).await;
    says(&text, &["converged: the loss", "2.9870", "3.0120", "STEP", "-1.0000", "7.6810", "██", " 100 "]);
}

#[tokio::test]
async fn a_trained_model_is_shown_with_its_runs_and_what_went_wrong() {
    let (address, _fake) = Fake::start(script()).await;
    let text = printed(&address, &["jobs", "get", "train"]).await;
    says(&text, &["3 of 141 pictures wrong, an error rate of 2.1 % (0.7–6.1 % with 95 % confidence)"]);
    says(&text, &["9/141", "6.4 %", "(the job's)", "Spread over seeds", "DEVIATION", "1.0 %", "287"]);
    says(&text, &["1. Too few epochs", "still fell from 0.412", "2. Too little data", "    epochs: 8"]);
    says(&text, &["ursa rerun p --set train.epochs=8"]);
}

#[tokio::test]
async fn an_evaluation_is_shown_by_class_with_the_command_that_tells_more() {
    let (address, _fake) = Fake::start(script()).await;
    let text = printed(&address, &["jobs", "get", "newer"]).await;
    says(&text, &["Model 9f2c4e1ab83d on bears@4: 9 of 60 pictures wrong, an error rate of 15.0 %", "loss 0.4211"]);
    says(&text, &["8/40", "20.0 %", "ursa models interpret 9f2c4e1ab83d --snapshot 5b5b5b5b5b5b"]);
    assert!(!text.contains("snapshot_id"), "the JSON is for programs:\n{text}");
}

#[tokio::test]
async fn each_run_of_a_job_has_epochs_of_its_own() {
    let run = |seed: u64, train_percent, loss: f64| {
        let point = |epoch: u32| v1::MetricPoint { step: 9, epoch, value: loss / f64::from(epoch + 1) };
        let series = |name: &str| v1::MetricSeries { name: name.into(), points: (0..2).map(point).collect() };
        let fixed = |name: &str, value| {
            let points = (0..2).map(|epoch| v1::MetricPoint { step: 9, epoch, value }).collect();
            v1::MetricSeries { name: name.into(), points }
        };
        let counted = [("wrong", 42.0), ("validated", 141.0)];
        let measured = ["error_rate", "train_loss_measured", "valid_loss"].map(series);
        let series = measured.into_iter().chain(counted.map(|(name, value)| fixed(name, value))).collect();
        v1::RunMetrics { task_id: "t".into(), seed: Some(seed), train_percent, series }
    };
    let several = Script { runs: vec![run(42, 50, 0.8), run(43, 100, 0.6)], ..script() };
    let (address, _fake) = Fake::start(several).await;
    let text = printed(&address, &["jobs", "get", "train"]).await;
    says(&text, &["DATA", "50 %", "100 %", "0.8000", "0.4000", "0.6000", "0.3000", "42/141 = 29.8 % (22.9–37.8 %)"]);
    let (address, _fake) = Fake::start(Script { runs: vec![run(42, 100, 0.8)], ..script() }).await;
    let text = printed(&address, &["jobs", "get", "train"]).await;
    let table = text.lines().find(|line| line.trim_start().starts_with("EPOCH")).unwrap();
    assert!(table.contains("VALID LOSS") && !table.contains("SEED"), "{text}");
}

#[tokio::test]
async fn the_command_that_a_finding_names_does_what_it_says() {
    let (address, fake) = Fake::start(Script { details: vec![script().details.swap_remove(2)], ..script() }).await;
    let text = printed(&address, &["jobs", "get", "train"]).await;
    let command = text.lines().find_map(|line| line.split_once("ursa rerun ")).unwrap().1;
    let arguments: Vec<&str> = ["rerun"].into_iter().chain(command.split(' ')).collect();
    printed(&address, &arguments).await;
    let spec = fake.reruns()[0].pipeline.clone().unwrap();
    let Some(v1::job_definition::Spec::Train(train)) = &spec.jobs[0].spec else { panic!("{spec:?}") };
    assert_eq!(train.recipe.as_ref().unwrap().epochs, 8);
}

#[tokio::test]
async fn who_watches_is_told_at_the_end_what_was_found() {
    let (address, _fake) = Fake::start(script()).await;
    says(&printed(&address, &["jobs", "watch", "rate"]).await, &["1.74e-3", "• smoothed"]);
    let text = printed(&address, &["rerun", "p", "--watch"]).await;
    says(&text, &["1.74e-3", "converged", "3 of 141 pictures wrong"]);
    let json = printed(&address, &["jobs", "watch", "rate", "--output", "json"]).await;
    assert_eq!(json, "");
}

#[tokio::test]
async fn an_output_of_another_form_breaks_no_command() {
    const KINDS: [&str; 5] = ["train", "evaluate", "explain", "find_lr", "sgd_lab"];
    let garbage = [
        json!({}),
        json!([1, 2]),
        json!("x"),
        json!({"model_digest": 7, "error_rates": "x", "findings": [1, {}, {"recipe": []}], "runs": {"a": 1}, "spread": [[]]}),
        json!({"model_digest": "é", "runs": [{"seed": 1, "error_rate": -3, "validated": 1, "errors": 9}, {"seed": 2, "error_rate": 1e300}]}),
        json!({"model_digest": "é", "images": [7, {"image_id": "a"}, {"image_id": "b", "class": "", "probability": -1, "predicted": ""}]}),
        json!({"suggestions": [{"rate": 1e-3}], "curve": {"columns": 3, "points": [[1e-3, 1.0], [1e300, 1e300], [1e-300], "x"]}}),
        json!({"coefficients": [1], "loss": "x", "optimum": {}, "verdict": ["x"], "diverged": "yes"}),
        json!({"model_digest": "é", "loss": 1e300, "classes": [{"class": "x", "wrong": u64::MAX, "of": u64::MAX},
            {"class": "y", "wrong": u64::MAX, "of": u64::MAX}, {"class": "z", "wrong": 2, "of": 1}, 7]}),
    ];
    for output in garbage {
        let details = KINDS.map(|kind| detail(kind, kind, &output, &json!({"kind": kind})));
        let (address, _fake) = Fake::start(Script { details: details.into(), ..Script::default() }).await;
        for kind in KINDS {
            let text = printed(&address, &["jobs", "get", kind]).await;
            says(&text, &[&format!("Kind         {kind}")]);
            assert!(!text.contains("NaN") && !text.contains("inf"), "{output}:\n{text}");
        }
        printed(&address, &["rerun", "p", "--watch"]).await;
    }
}
