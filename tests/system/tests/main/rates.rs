//! A model is trained in two stages, a rate is looked for on it and learned with; and SGD from scratch is watched.

use serde_json::{Value, json};
use ursa_proto::v1::job_definition::Spec;
use ursa_proto::v1::{self, sgd_lab_spec, train_spec};
use ursa_system::{Store, System};

use crate::asking::{ended, nothing_alarming, submit};
use crate::pipeline::bears;

/// Of the stage in which everything learns: the early body's and the head's.
const RATES: [f64; 2] = [1e-4, 1e-3];
/// Of the stage before, in which the head learns alone.
const HEAD_RATE: f64 = 3e-3;
/// Up to rates at which no run diverges.
const TEST: v1::RateTest = v1::RateTest { start: 1e-6, end: 1e-2, steps: 30, stop_when_diverging: None };
const LINE: [f64; 2] = [3.0, 2.0];
const LAB_STEPS: u32 = 200;

fn training(stages: Vec<v1::Stage>) -> v1::TrainSpec {
    let recipe = v1::TrainRecipe {
        architecture: "resnet18".into(),
        batch_size: 8,
        image_size: 32,
        stages,
        ..v1::TrainRecipe::default()
    };
    let snapshot = Some(train_spec::Snapshot::SnapshotFromJob("snapshot".into()));
    v1::TrainSpec { snapshot, recipe: Some(recipe), ..v1::TrainSpec::default() }
}

/// From the model that another job made.
fn going_on(from: &str, stages: Vec<v1::Stage>) -> v1::TrainSpec {
    v1::TrainSpec { model: Some(train_spec::Model::ModelFromJob(from.into())), ..training(stages) }
}

/// The second stage again, from the model that the two made.
fn once_more(rate: Option<v1::FoundRate>) -> v1::TrainSpec {
    v1::TrainSpec { rate, ..going_on("stages", vec![everything_learns()]) }
}

fn everything_learns() -> v1::Stage {
    v1::Stage { epochs: 1, rates: RATES.to_vec(), ..v1::Stage::default() }
}

fn specs() -> [(&'static str, Spec); 6] {
    let head_learns =
        v1::Stage { epochs: 1, rates: vec![HEAD_RATE], slice: true, frozen: true, ..v1::Stage::default() };
    let highest = v1::FoundRate { job: "rate".into(), ..v1::FoundRate::default() };
    let lowest = v1::FoundRate { job: "rate".into(), method: "minimum-over10".into(), r#as: "lowest".into() };
    let lab = v1::SgdLabSpec {
        slope: Some(LINE[0]),
        intercept: Some(LINE[1]),
        noise: Some(sgd_lab_spec::Noise::NormalNoise(0.1)),
        steps: LAB_STEPS,
        ..v1::SgdLabSpec::default()
    };
    [
        // Weights that are worth freezing.
        ("body", Spec::Train(training(vec![everything_learns()]))),
        ("stages", Spec::Train(going_on("body", vec![head_learns, everything_learns()]))),
        ("rate", Spec::FindLr(v1::FindLrSpec { training: Some(once_more(None)), test: Some(TEST) })),
        ("highest", Spec::Train(once_more(Some(highest)))),
        ("lowest", Spec::Train(once_more(Some(lowest)))),
        ("lab", Spec::SgdLab(lab)),
    ]
}

/// What a job that has ended well leaves, and what it measured meanwhile.
async fn found(system: &System, id: &str) -> (Value, Vec<v1::MetricSeries>) {
    let job = ended(system, id, "succeeded").await.job.unwrap();
    let request = v1::ListMetricsRequest { job_id: id.to_owned(), ..v1::ListMetricsRequest::default() };
    let series = system.client.jobs().list_metrics(request).await.unwrap().into_inner().series;
    (serde_json::from_str(&job.output_json).unwrap(), series)
}

fn points<'a>(series: &'a [v1::MetricSeries], name: &str) -> &'a [v1::MetricPoint] {
    series.iter().find(|series| series.name == name).map(|series| series.points.as_slice()).unwrap_or_default()
}

/// The highest rates of an epoch: the early body's, the late body's and the head's.
fn peaks(series: &[v1::MetricSeries], epoch: u32) -> [f64; 3] {
    ["learning_rate_early", "learning_rate_late", "learning_rate"].map(|name| {
        let of_epoch = points(series, name).iter().filter(|point| point.epoch == epoch);
        of_epoch.map(|point| point.value).fold(0.0, f64::max)
    })
}

/// The same but for what is lost on the way, as text in JSON.
fn assert_close(found: &[f64], expected: &[f64]) {
    let is_close = found.iter().zip(expected).all(|(found, expected)| (found / expected - 1.0).abs() < 1e-9);
    assert!(found.len() == expected.len() && is_close, "{found:?} is not {expected:?}");
}

/// What went wrong with a run is told, even if nothing is.
fn assert_diagnosed(output: &Value) {
    let findings = output["findings"].as_array().unwrap();
    let says = |finding: &Value, what: &str| finding[what].as_str().is_some_and(|text| !text.is_empty());
    let is_whole = |finding: &Value| ["problem", "seen", "why", "advice"].iter().all(|what| says(finding, what));
    assert!(findings.iter().all(is_whole), "{output:#}");
}

#[tokio::test]
async fn a_rate_that_was_found_is_learned_with_and_sgd_from_scratch_finds_its_line() {
    let mut system = System::start(Store::Folder, 12).await.unwrap();
    system.add_worker().await.unwrap();
    system.add_worker().await.unwrap();
    let mut pipeline = bears(&system.web, 3, 1);
    for (name, spec) in specs() {
        pipeline.jobs.push(v1::JobDefinition { name: name.into(), spec: Some(spec), ..v1::JobDefinition::default() });
    }
    let ids = submit(&system, pipeline).await;

    let (lab, series) = found(&system, &ids["lab"]).await;
    the_line_was_found(&lab, &series);
    let (stages, series) = found(&system, &ids["stages"]).await;
    assert_diagnosed(&stages);
    let [low, high] = RATES;
    assert_close(&peaks(&series, 0), &[HEAD_RATE / 10.0, HEAD_RATE / 10.0, HEAD_RATE]);
    assert_close(&peaks(&series, 1), &[low, (low * high).sqrt(), high]);

    let (rates, series) = found(&system, &ids["rate"]).await;
    the_curve_is_told(&rates, &series);
    let suggested = |place: usize| rates["suggestions"][place]["rate"].as_f64().unwrap();
    let (highest, series) = found(&system, &ids["highest"]).await;
    assert_diagnosed(&highest);
    let valley = suggested(0);
    assert_close(&peaks(&series, 0), &[valley * low / high, valley * (low / high).sqrt(), valley]);
    let (lowest, series) = found(&system, &ids["lowest"]).await;
    assert_diagnosed(&lowest);
    let safe = suggested(2);
    assert_close(&peaks(&series, 0), &[safe, (safe * high).sqrt(), high]);
    nothing_alarming(&mut system, &[]);
}

fn the_curve_is_told(output: &Value, series: &[v1::MetricSeries]) {
    let curve = &output["curve"];
    assert_eq!(curve["columns"], json!(["rate", "loss", "smooth_loss"]));
    let curve: Vec<[f64; 3]> = serde_json::from_value(curve["points"].clone()).unwrap();
    assert!((12..=TEST.steps as usize).contains(&curve.len()), "{} points", curve.len());
    for (name, column) in [("learning_rate", 0), ("loss", 1), ("loss_smooth", 2)] {
        let streamed: Vec<f64> = points(series, name).iter().map(|point| point.value).collect();
        assert_close(&streamed, &curve.iter().map(|point| point[column]).collect::<Vec<_>>());
    }
    for (step, [rate, ..]) in curve.iter().enumerate() {
        let share = step as f64 / f64::from(TEST.steps);
        assert_close(&[*rate], &[TEST.start * (TEST.end / TEST.start).powf(share)]);
    }
    let suggestions = output["suggestions"].as_array().unwrap();
    let methods: Vec<_> = suggestions.iter().map(|one| one["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["valley", "steepest", "minimum-over10"]);
    for one in suggestions {
        assert!(one["reason"].as_str().is_some_and(|reason| reason.contains("loss")), "{one}");
        assert!((TEST.start / 10.0..TEST.end).contains(&one["rate"].as_f64().unwrap()), "{one}");
    }
    assert_eq!(output["error"], "");
}

fn the_line_was_found(output: &Value, series: &[v1::MetricSeries]) {
    let coefficients: [f64; 2] = serde_json::from_value(output["coefficients"].clone()).unwrap();
    for (found, made_with) in coefficients.into_iter().zip(LINE) {
        assert!((found - made_with).abs() < 0.1, "{output:#}");
    }
    assert_eq!(output["diverged"], false);
    let last = [("slope", coefficients[0]), ("intercept", coefficients[1]), ("loss", output["loss"].as_f64().unwrap())];
    for (name, value) in last {
        let points = points(series, name);
        assert_eq!(points.len(), LAB_STEPS as usize + 1, "every step of {name}, and how it began");
        let last = points.last().unwrap();
        assert_eq!(last.step, u64::from(LAB_STEPS), "{name}");
        assert_close(&[last.value], &[value]);
    }
}
