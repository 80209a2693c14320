//! A search with real runs: most trials end early, the best is trained to the end and served.

use serde_json::Value;
use ursa_proto::v1::job_definition::Spec;
use ursa_proto::v1::{self, deploy_spec, search_dimension, search_value, train_spec};
use ursa_system::{Store, System};

use crate::asking::{attempts, ended, nothing_alarming, submit};
use crate::pipeline::bears;

const TRIALS: usize = 4;

/// Trials of four epochs, in rungs to one, two and four.
fn search() -> Spec {
    let recipe = v1::TrainRecipe {
        architecture: "resnet18".into(),
        epochs: 4,
        batch_size: 8,
        image_size: 32,
        ..v1::TrainRecipe::default()
    };
    let snapshot = Some(train_spec::Snapshot::SnapshotFromJob("snapshot".into()));
    let training = v1::TrainSpec { snapshot, recipe: Some(recipe), ..v1::TrainSpec::default() };
    let dimension = |name: &str, range| v1::SearchDimension { hyperparameter: name.into(), range: Some(range) };
    let number = |number| v1::SearchValue { value: Some(search_value::Value::Number(number)) };
    let rates = search_dimension::Range::LogUniform(v1::NumberRange { low: 1e-4, high: 1e-2 });
    let sizes = search_dimension::Range::Choice(v1::SearchChoices { values: vec![number(8.0), number(16.0)] });
    Spec::Search(v1::SearchSpec {
        training: Some(training),
        space: vec![dimension("max_learning_rate", rates), dimension("batch_size", sizes)],
        trials: TRIALS as u32,
        reduction: 2,
        ..v1::SearchSpec::default()
    })
}

fn deploy() -> Spec {
    let model = Some(deploy_spec::Model::ModelFromJob("search".into()));
    Spec::Deploy(v1::DeploySpec { endpoint: "bears".into(), model, timeout_seconds: 60 })
}

#[tokio::test]
async fn a_search_finds_a_model_that_is_served() {
    let mut system = System::start(Store::Folder, 12).await.unwrap();
    system.add_worker().await.unwrap();
    system.add_worker().await.unwrap();
    system.add_node().await.unwrap();
    let mut pipeline = bears(&system.web, 3, 1);
    for (name, spec) in [("search", search()), ("deploy", deploy())] {
        pipeline.jobs.push(v1::JobDefinition { name: name.into(), spec: Some(spec), ..v1::JobDefinition::default() });
    }
    let ids = submit(&system, pipeline).await;
    let detail = ended(&system, &ids["search"], "succeeded").await;
    let told: Value = serde_json::from_str(&detail.job.as_ref().unwrap().output_json).unwrap();
    let trials = told["trials"].as_array().unwrap();
    assert_eq!((&told["rungs"], trials.len()), (&serde_json::json!([1, 2, 4]), TRIALS));
    let reached: Vec<usize> = trials.iter().map(|trial| trial["results"].as_array().unwrap().len()).collect();
    assert_eq!(reached[0], 3, "the best was trained to the end: {told:#}");
    assert!(reached.iter().sum::<usize>() < 3 * TRIALS, "most end early: {reached:?}");
    let diverged = trials.iter().filter(|trial| trial["diverged"].is_string()).count();
    assert_eq!(reached.iter().sum::<usize>() + diverged, detail.tasks.len(), "one task for every rung");
    assert!(attempts(&detail).iter().all(|attempts| attempts == &["succeeded"]), "{:?}", attempts(&detail));
    assert_eq!(told["error_rates"].as_array().unwrap().len(), 4, "parts tell the epochs of those before");

    ended(&system, &ids["deploy"], "succeeded").await;
    let request = v1::ListModelsRequest::default();
    let models = system.client.models().list_models(request).await.unwrap().into_inner().models;
    let digests: Vec<&str> = models.iter().map(|model| model.digest.as_str()).collect();
    assert!(digests.contains(&told["model_digest"].as_str().unwrap()), "{digests:?}");
    let best: Value = serde_json::from_str(&models[0].model_json).unwrap();
    assert_eq!(best["recipe"]["stages"][0]["epochs"], 4);
    nothing_alarming(&mut system, &[]);
}
