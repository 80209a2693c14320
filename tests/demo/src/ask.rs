//! Asking the nodes about pictures that are in no list: over HTTP and over gRPC.

use anyhow::Context;
use serde_json::Value;
use ursa_demo_web::{Class, DemoWeb};
use ursa_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use ursa_proto::inference::model_infer_request::InferInputTensor;
use ursa_proto::inference::{InferTensorContents, ModelInferRequest, ModelMetadataRequest};

use crate::programs::Node;
use crate::report::Prediction;

const ENDPOINT: &str = "bears";

/// One picture of each class, each over HTTP and over gRPC; the nodes take turns.
pub(crate) async fn about_fresh_pictures(web: &DemoWeb, nodes: &[Node]) -> anyhow::Result<Vec<Prediction>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut turns = nodes.iter().cycle();
    let mut predictions = Vec::new();
    for (number, class) in (1..).zip(Class::ALL) {
        let picture = http.get(web.fresh_url(class, number)).send().await?.error_for_status()?.bytes().await?;
        let mut node = || turns.next().context("there is no inference node");
        predictions.push(over_http(&http, node()?, class, picture.clone()).await?);
        predictions.push(over_grpc(node()?, class, picture).await?);
    }
    Ok(predictions)
}

async fn over_http(
    http: &reqwest::Client,
    node: &Node,
    class: Class,
    picture: impl Into<reqwest::Body>,
) -> anyhow::Result<Prediction> {
    let url = format!("{}/classify?endpoint={ENDPOINT}", node.http);
    let answer: Value = http.post(url).body(picture).send().await?.error_for_status()?.json().await?;
    let best = &answer["predictions"][0];
    Ok(Prediction {
        expected: class.to_string(),
        got: best["class"].as_str().context("the node named no class")?.to_owned(),
        probability: best["probability"].as_f64().context("the node gave no probability")?,
        via: format!("http {}", node.name),
    })
}

async fn over_grpc(node: &Node, class: Class, picture: bytes::Bytes) -> anyhow::Result<Prediction> {
    let mut client = GrpcInferenceServiceClient::connect(node.grpc.clone()).await?;
    let request = ModelMetadataRequest { name: ENDPOINT.into(), ..ModelMetadataRequest::default() };
    let metadata = client.model_metadata(request).await?.into_inner();
    let classes: Vec<String> = serde_json::from_str(metadata.properties.get("classes").context("no classes")?)?;
    let input = InferInputTensor {
        name: "image".into(),
        datatype: "BYTES".into(),
        shape: vec![1],
        contents: Some(InferTensorContents { bytes_contents: vec![picture], ..InferTensorContents::default() }),
        ..InferInputTensor::default()
    };
    let request =
        ModelInferRequest { model_name: ENDPOINT.into(), inputs: vec![input], ..ModelInferRequest::default() };
    let answer = client.model_infer(request).await?.into_inner();
    let output = answer.outputs.first().and_then(|output| output.contents.as_ref());
    let probabilities = &output.context("the node gave no probabilities")?.fp32_contents;
    let best = classes.iter().zip(probabilities).max_by(|a, b| a.1.total_cmp(b.1)).context("no class")?;
    Ok(Prediction {
        expected: class.to_string(),
        got: best.0.clone(),
        probability: f64::from(*best.1),
        via: format!("grpc {}", node.name),
    })
}
