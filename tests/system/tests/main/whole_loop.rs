//! From URL lists to predictions, with everything in between checked against what the web knows to be true.

use std::collections::HashMap;

use ursa_demo_web::{Class, Outcome};
use ursa_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use ursa_proto::inference::model_infer_request::InferInputTensor;
use ursa_proto::inference::{InferTensorContents, ModelInferRequest};
use ursa_proto::v1;
use ursa_system::{Store, System};

use crate::asking::{ended, images, log_of, nothing_alarming, sources, submit};
use crate::pipeline::{JOBS, bears};

#[tokio::test]
async fn urls_become_a_classifier_that_answers_over_http_and_grpc() {
    let mut system = System::start(Store::Folder, 12).await.unwrap();
    system.add_worker().await.unwrap();
    system.add_worker().await.unwrap();
    system.add_node().await.unwrap();
    system.add_node().await.unwrap();
    let ids = submit(&system, bears(&system.web, 5, 2)).await;
    for name in JOBS {
        ended(&system, &ids[name], "succeeded").await;
    }
    every_url_became_what_it_had_to(&system).await;
    the_run_left_its_curves(&system, &ids["train"]).await;
    every_node_answers(&system).await;
    nothing_alarming(&mut system, &[]);
}

#[tokio::test]
async fn the_same_happens_with_objects_in_s3() {
    let mut system = System::start(Store::S3, 8).await.unwrap();
    system.add_worker().await.unwrap();
    system.add_node().await.unwrap();
    let ids = submit(&system, bears(&system.web, 5, 1)).await;
    for name in JOBS {
        ended(&system, &ids[name], "succeeded").await;
    }
    every_url_became_what_it_had_to(&system).await;
    every_node_answers(&system).await;
    nothing_alarming(&mut system, &[]);
}

/// Compares what the dataset says with the truth about every line of the lists.
pub(crate) async fn every_url_became_what_it_had_to(system: &System) {
    let sources: HashMap<_, _> = keyed(sources(system).await, |source| (source.class.clone(), source.url.clone()));
    let images: HashMap<_, _> = keyed(images(system).await, |image| image.id.clone());
    let expected = system.web.expected();
    assert_eq!(sources.len(), expected.len(), "every line once");
    let verdict = |class: Class, url: &str| {
        let source = &sources[&(class.to_string(), url.to_owned())];
        match images.get(&source.id) {
            Some(image) if image.verdict == "kept" => "kept".to_owned(),
            Some(image) => image.reason.clone(),
            None => source.error_class.clone(),
        }
    };
    for picture in &expected {
        let found = verdict(picture.class, &picture.url);
        match &picture.outcome {
            Outcome::Kept => assert!(found == "kept" || found == "duplicate", "{picture:?}: {found}"),
            Outcome::Failed(class) => assert_eq!(found, *class, "{picture:?}"),
            Outcome::Refused(reason) => assert_eq!(found, *reason, "{picture:?}"),
            Outcome::CopyOf(other) => {
                let mut both = [found, verdict(picture.class, other)];
                both.sort();
                assert_eq!(both, ["duplicate", "kept"], "{picture:?}");
            }
        }
    }
    let copies = expected.iter().filter(|picture| matches!(picture.outcome, Outcome::CopyOf(_))).count();
    assert_eq!(
        images.values().filter(|image| image.reason == "duplicate").count(),
        copies,
        "each copy is refused once"
    );
}

fn keyed<T, K: std::hash::Hash + Eq>(rows: Vec<T>, key: impl Fn(&T) -> K) -> HashMap<K, T> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}

async fn the_run_left_its_curves(system: &System, id: &str) {
    let request = v1::ListMetricsRequest { job_id: id.to_owned(), ..v1::ListMetricsRequest::default() };
    let series = system.client.jobs().list_metrics(request).await.unwrap().into_inner().series;
    let points = |name: &str| series.iter().find(|series| series.name == name).map_or(0, |series| series.points.len());
    assert_eq!(points("error_rate"), 2, "one per epoch");
    assert!(points("train_loss") > 2, "one per batch");
    let log = log_of(system, id).await;
    assert!(log.iter().any(|line| line.contains("from scratch")), "{log:?}");
}

async fn every_node_answers(system: &System) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::new();
    let url = system.web.fresh_url(Class::Teddy, 1);
    let picture = http.get(&url).send().await.unwrap().bytes().await.unwrap();
    for node in &system.nodes {
        let classify = format!("{}/classify?endpoint=bears", node.address("http"));
        let by_bytes = http.post(&classify).body(picture.clone()).send().await.unwrap();
        let by_bytes: serde_json::Value = by_bytes.error_for_status().unwrap().json().await.unwrap();
        let by_url = http.post(&classify).json(&serde_json::json!({"url": url})).send().await.unwrap();
        let by_url: serde_json::Value = by_url.error_for_status().unwrap().json().await.unwrap();
        assert_eq!(by_bytes["predictions"], by_url["predictions"]);
        let sum: f64 =
            by_bytes["predictions"].as_array().unwrap().iter().filter_map(|p| p["probability"].as_f64()).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{by_bytes}");

        let mut grpc = GrpcInferenceServiceClient::connect(node.address("grpc").to_owned()).await.unwrap();
        let contents = InferTensorContents { bytes_contents: vec![picture.clone()], ..InferTensorContents::default() };
        let input = InferInputTensor {
            name: "image".into(),
            datatype: "BYTES".into(),
            shape: vec![1],
            contents: Some(contents),
            ..InferInputTensor::default()
        };
        let request =
            ModelInferRequest { model_name: "bears".into(), inputs: vec![input], ..ModelInferRequest::default() };
        let answer = grpc.model_infer(request).await.unwrap().into_inner();
        let label = &answer.outputs[1].contents.as_ref().unwrap().bytes_contents[0];
        assert_eq!(std::str::from_utf8(label).unwrap(), by_bytes["predictions"][0]["class"]);
    }
}
