//! What the page of a job that learns shows: rates, fits, runs and what went wrong.

use serde_json::{Value, json};
use ursa_proto::v1;

use crate::data::{EVALUATED, MODEL, NASTY, bears, id, job_id};
use crate::fake::Script;
use crate::setup::{Page, start};

/// The page of a job of this kind that ended with this output.
async fn page(kind: &str, output: &Value, metrics: Vec<v1::MetricSeries>) -> Page {
    let mut script = Script { metrics, spec_json: spec(), ..bears() };
    let job = &mut script.pipelines[0].jobs[3];
    (job.kind, job.name, job.state) = (kind.into(), kind.into(), "succeeded".into());
    job.output_json = output.to_string();
    let (dashboard, _fake) = start(script).await;
    let page = dashboard.get(&format!("/jobs/{}", job_id(4))).await;
    assert_eq!(page.status, 200, "{}", page.body);
    page.shows("</html>").lacks("NaN").lacks("inf\"").lacks(NASTY).lacks(" style=");
    page
}

fn spec() -> String {
    json!({"kind": "train", "snapshot": {"from_job": "snapshot"}, "recipe": recipe(4), "model": null, "rate": null,
        "seeds": 2, "train_percents": [25, 50, 100]})
    .to_string()
}

fn recipe(epochs: u32) -> Value {
    json!({"architecture": "resnet18", "stages": [{"epochs": epochs, "rate": {"flat": 3e-3}, "frozen": false}], "seed": 42})
}

fn series(name: &str, value: impl Fn(f64) -> f64) -> v1::MetricSeries {
    let point = |step: u32| v1::MetricPoint { step: step.into(), epoch: 0, value: value(step.into()) };
    v1::MetricSeries { name: name.into(), points: (0..=92).map(point).collect() }
}

fn rate(step: f64) -> f64 {
    1e-7 * 1e8f64.powf(step / 100.0)
}

fn smooth_loss(step: f64) -> f64 {
    1.4 - 1.1 / (1.0 + (-(step - 58.0) / 6.0).exp()) + ((step - 84.0) / 3.0).exp()
}

fn loss(step: f64) -> f64 {
    smooth_loss(step) + 0.1 * (step * 1.7).sin()
}

fn rates() -> Value {
    let points: Vec<_> =
        (0..=92).map(f64::from).map(|step| json!([rate(step), loss(step), smooth_loss(step)])).collect();
    json!({
        "suggestions": [
            {"method": "valley", "rate": 1.74e-3, "reason": "the loss falls longest from 1.1e-6 to 3.6e-2; this is in the middle"},
            {"method": "minimum-over10", "rate": 1.2e-2, "reason": NASTY},
        ],
        "error": "",
        "curve": {"columns": ["rate", "loss", "smooth_loss"], "points": points},
    })
}

#[tokio::test]
async fn a_test_of_rates_shows_its_curve_with_what_it_suggests() {
    let page = page("find_lr", &rates(), Vec::new()).await;
    page.shows("1.74e-3").shows("valley").shows("this is in the middle").shows("&lt;script&gt;");
    page.shows("Loss by learning rate")
        .shows("1e-7")
        .shows("<polyline class=\"faint\"")
        .shows("<polyline class=\"first\"");
    assert_eq!(page.body.matches("<line class=\"mark\"").count(), 2);
}

#[tokio::test]
async fn a_test_of_rates_that_is_not_over_shows_as_far_as_it_is_measured() {
    let metrics = vec![series("learning_rate", rate), series("loss", loss), series("loss_smooth", smooth_loss)];
    page("find_lr", &json!({}), metrics).await.shows("Loss by learning rate").lacks("class=\"mark\"");
    page("find_lr", &json!({}), Vec::new()).await.shows("The curves appear with the first batch.");
}

#[tokio::test]
async fn rates_that_cannot_be_suggested_say_why() {
    let output = json!({"suggestions": [], "error": "the curve has 3 points", "curve": {"columns": [], "points": []}});
    page("find_lr", &output, Vec::new()).await.shows("No rate can be suggested:").shows("the curve has 3 points");
}

#[tokio::test]
async fn an_evaluation_shows_the_errors_of_each_class_and_the_way_to_the_pictures() {
    let class = |class: &str, wrong: u64, of: u64| json!({"class": class, "wrong": wrong, "of": of});
    let output = json!({"model_digest": MODEL, "snapshot_digest": EVALUATED, "dataset": "bears", "number": 2, "images": 60,
        "errors": 9, "loss": 0.4211, "classes": [class("black", 1, 20), class(NASTY, 8, 40), class("panda", 0, 0)]});
    let page = page("evaluate", &output, Vec::new()).await;
    page.shows("<b>15.0 %</b> error rate on all pictures").shows("9 of 60 pictures are wrong").shows("8.1–26.1 %");
    page.shows("the mean loss is 0.4211").shows("8 / 40").shows("20.0 %").shows("0 / 0").shows("&lt;script");
    page.shows(&format!("/models/{MODEL}?snapshot={EVALUATED}#mistakes"));
}

#[tokio::test]
async fn an_explanation_leads_to_its_heatmaps() {
    let image = json!({"image_id": id(5, 3), "class": NASTY, "probability": 0.125, "predicted": "black"});
    let page = page("explain", &json!({"model_digest": MODEL, "images": [image]}), Vec::new()).await;
    page.shows("12.5 %").shows("&lt;script").shows(&format!("/models/{MODEL}/images/{}?class=%3Cscript%3E", id(5, 3)));
}

#[tokio::test]
async fn a_fit_shows_its_line_and_the_way_there() {
    let output = json!({"coefficients": [2.987, 2.513], "loss": 0.0812, "optimum": [3.012, 2.481], "least_loss": 0.0809,
        "rate_limit": 0.993, "diverged": false, "verdict": format!("converged {NASTY}")});
    let metrics = vec![
        series("loss", |step| 0.081 + 7.6 * 0.87f64.powf(step)),
        series("slope", |step| 3.0 - 4.0 * 0.93f64.powf(step)),
        series("intercept", |step| 2.5 - 1.5 * 0.8f64.powf(step)),
    ];
    let page = page("sgd_lab", &output, metrics).await;
    page.shows("converged &lt;script").shows("2.9870").shows("0.0809").shows("rate of 0.993").shows("Coefficients");
    page.shows("mean squared error").shows("<polyline class=\"second\"").shows(">-1<");
}

fn trained() -> Value {
    let run = |percent: u32, seed: u32, errors: u32, digest: &str| {
        json!({"train_percent": percent, "seed": seed, "model_digest": digest, "error_rate": f64::from(errors) / 141.0,
            "errors": errors, "validated": 141, "trained": 575 * percent / 100})
    };
    let spread = |percent: u32, runs: u32, mean: f64, deviation: Option<f64>| json!({"train_percent": percent, "runs": runs, "mean": mean, "deviation": deviation, "lowest": mean, "highest": mean});
    json!({
        "model_digest": MODEL, "error_rates": [0.3, 0.021], "confusion": [[47, 1, 0], [2, 43, 0], [0, 0, 48]],
        "findings": [
            {"problem": "too_few_epochs", "seen": format!("the loss still fell {NASTY}"), "why": "it can do more",
                "advice": "train longer", "recipe": recipe(8)},
            {"problem": "too_little_data", "seen": "s", "why": "w", "advice": "collect more pictures", "recipe": null},
        ],
        "runs": [run(25, 42, 20, "aa"), run(50, 42, 9, "bb"), run(100, 42, 3, MODEL), run(100, 43, 5, "cc")],
        "spread": [spread(25, 1, 20.0 / 141.0, None), spread(50, 1, 9.0 / 141.0, None), spread(100, 2, 4.0 / 141.0, Some(0.01))],
    })
}

#[tokio::test]
async fn runs_are_shown_with_their_spread_and_a_learning_curve() {
    let page = page("train", &trained(), Vec::new()).await;
    page.shows("3 of 141 pictures are wrong; 0.7–6.1 % with 95 % confidence").shows("the job's");
    page.shows("Spread over seeds").shows("Learning curve").shows("20 / 141").shows("1.0 %");
    assert_eq!(page.body.matches("<path class=\"interval\"").count(), 3);
}

#[tokio::test]
async fn what_went_wrong_is_told_with_the_recipe_to_try_next() {
    let page = page("train", &trained(), Vec::new()).await;
    page.shows("Too few epochs").shows("the loss still fell &lt;script").shows("it can do more").shows("train longer");
    page.shows("    epochs: 8").shows("--set train.epochs=8").shows("data-copy=\"ursa rerun ");
    page.shows("Too little data").shows("collect more pictures");
    assert_eq!(page.body.matches("class=\"copyable\"").count(), 2, "only the one that has a recipe");
}

#[tokio::test]
async fn each_run_has_a_line_of_its_own() {
    let run = |seed, train_percent| {
        let series = ["error_rate", "valid_loss"].map(|name| series(name, |step| 1.0 / (step + 1.0)));
        v1::RunMetrics { task_id: "t".into(), seed: Some(seed), train_percent, series: series.into() }
    };
    let script = Script { runs: vec![run(42, 50), run(42, 100), run(43, 100)], ..bears() };
    let (dashboard, _fake) = start(script).await;
    let page = dashboard.get(&format!("/jobs/{}", job_id(4))).await;
    page.shows("seed 42, 50 % of the pictures").shows("seed 43, 100 % of the pictures").lacks("on top of one another");
    for class in ["run0", "run1", "run2"] {
        assert_eq!(page.body.matches(&format!("<polyline class=\"{class}\"")).count(), 2, "{class}");
    }
}

#[tokio::test]
async fn a_single_run_needs_no_table() {
    let mut output = trained();
    output["runs"] = json!([output["runs"][2]]);
    output["findings"] = json!([]);
    page("train", &output, Vec::new()).await.shows("3 of 141").lacks("Spread over seeds").lacks("What went wrong");
}

#[tokio::test]
async fn an_output_of_another_form_breaks_no_page() {
    let garbage = [
        json!({}),
        json!([1, 2]),
        json!("x"),
        json!({"model_digest": 7, "error_rates": "x", "findings": [1, {}, {"recipe": []}], "runs": {"a": 1}, "spread": [[]]}),
        json!({"model_digest": NASTY, "findings": [{"problem": NASTY, "recipe": {"stages": 3}}], "spread": [
            {"train_percent": 1, "runs": 1, "mean": 1e300}, {"train_percent": u64::MAX, "runs": 1, "mean": -1e300}],
            "runs": [{"seed": 1, "error_rate": -3, "validated": 1, "errors": 9}, {"seed": 2, "error_rate": 1e300}]}),
        json!({"suggestions": [{"rate": 1e-3}], "curve": {"columns": 3, "points": [[1e-3, 1.0], [1e300, 1e300], [1e-300], "x"]}}),
        json!({"suggestions": [{"rate": 1e300}], "curve": {"points": [[1e-3, -1.0], [1e-2, -5.0]]}}),
        json!({"coefficients": [1], "loss": "x", "optimum": {}, "verdict": ["x"], "diverged": "yes"}),
        json!({"coefficients": [1e300, -1e300], "loss": null, "rate_limit": 1e-300, "diverged": true}),
    ];
    let metrics = || {
        let names = ["loss", "slope", "learning_rate", "train_loss"];
        names.map(|name| series(name, |step| if step < 5.0 { 1e300 } else { f64::NEG_INFINITY })).to_vec()
    };
    for output in &garbage {
        for kind in ["train", "evaluate", "explain", "find_lr", "sgd_lab"] {
            page(kind, output, metrics()).await;
        }
    }
}
