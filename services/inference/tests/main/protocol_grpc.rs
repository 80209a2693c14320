//! The Open Inference Protocol over gRPC, with health and reflection.

use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use ursa_proto::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use ursa_proto::inference::{
    InferTensorContents, ModelInferRequest, ModelMetadataRequest, ModelReadyRequest, ServerLiveRequest,
    ServerMetadataRequest, ServerReadyRequest,
};
use ursa_vision::{Limits, Preprocessing};

use crate::support::{CLASSES, Node, SIZE, Setup, package, picture};

fn request(name: &str, datatype: &str, shape: &[i64]) -> ModelInferRequest {
    let input =
        InferInputTensor { name: name.into(), datatype: datatype.into(), shape: shape.to_vec(), ..Default::default() };
    ModelInferRequest { model_name: "bears".into(), id: "7".into(), inputs: vec![input], ..Default::default() }
}

fn typed(name: &str, datatype: &str, shape: &[i64], contents: InferTensorContents) -> ModelInferRequest {
    let mut request = request(name, datatype, shape);
    request.inputs[0].contents = Some(contents);
    request
}

fn images(files: &[Vec<u8>]) -> ModelInferRequest {
    let contents = InferTensorContents {
        bytes_contents: files.iter().map(|file| file.clone().into()).collect(),
        ..Default::default()
    };
    typed("image", "BYTES", &[files.len() as i64], contents)
}

#[tokio::test]
async fn typed_raw_and_pixel_inputs_give_the_probabilities_that_http_gives() {
    let (node, digest) = Node::serving(&[]).await;
    let mut client = node.grpc().await;
    let answer = client.model_infer(images(&[picture(5), picture(6)])).await.unwrap().into_inner();
    assert_eq!((answer.id.as_str(), answer.model_version.as_str()), ("7", digest.as_str()));
    assert_eq!((answer.outputs[0].name.as_str(), &answer.outputs[0].shape), ("probabilities", &vec![2, 3]));
    let probabilities = answer.outputs[0].contents.clone().unwrap().fp32_contents;
    let labels = answer.outputs[1].contents.clone().unwrap().bytes_contents;
    assert_eq!(labels.len(), 2);

    let (_, http) = node.post("/classify", "image/png", picture(5)).await;
    let best = &http["predictions"][0];
    assert_eq!(best["class"].as_str().unwrap().as_bytes(), &labels[0][..]);
    let class = CLASSES.iter().position(|class| *class == best["class"]).unwrap();
    assert!((best["probability"].as_f64().unwrap() - f64::from(probabilities[class])).abs() < 1e-4);

    let mut raw = request("image", "BYTES", &[2]);
    let element = |file: Vec<u8>| [&(file.len() as u32).to_le_bytes()[..], &file].concat();
    raw.raw_input_contents = vec![[element(picture(5)), element(picture(6))].concat().into()];
    raw.outputs = vec![InferRequestedOutputTensor { name: "probabilities".into(), ..Default::default() }];
    let answer = client.model_infer(raw).await.unwrap().into_inner();
    assert_eq!((answer.outputs.len(), &answer.outputs[0].contents), (1, &None));
    let numbers = answer.raw_output_contents[0].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    assert!(numbers.zip(&probabilities).all(|(raw, typed)| (raw - typed).abs() < 1e-4));

    let preprocessing = Preprocessing::imagenet(SIZE);
    let mut pixels = Vec::new();
    preprocessing.to_chw(&preprocessing.prepare(&picture(5), &Limits::default()).unwrap(), &mut pixels);
    let contents = InferTensorContents { fp32_contents: pixels, ..Default::default() };
    let side = i64::from(SIZE);
    let answer = client.model_infer(typed("pixels", "FP32", &[1, 3, side, side], contents)).await.unwrap().into_inner();
    let found = answer.outputs[0].contents.clone().unwrap().fp32_contents;
    assert!(found.iter().zip(&probabilities).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?} {probabilities:?}");
}

#[tokio::test]
async fn bad_requests_come_back_with_the_code_that_fits() {
    let (node, _) = Node::serving(&[]).await;
    let mut client = node.grpc().await;
    let refused = client.model_infer(images(&[picture(1), b"<html>".to_vec()])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("picture 1") && refused.message().contains("not-an-image"), "{refused}");
    let other = ModelInferRequest { model_name: "cats".into(), ..images(&[picture(1)]) };
    let refused = client.model_infer(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("bears"), "{refused}");
    let old = ModelInferRequest { model_version: "1".into(), ..images(&[picture(1)]) };
    assert_eq!(client.model_infer(old).await.unwrap_err().code(), Code::NotFound);
    let mut raw = request("image", "BYTES", &[1]);
    raw.raw_input_contents = vec![vec![255, 255, 255, 255, 1].into()];
    assert_eq!(client.model_infer(raw).await.unwrap_err().code(), Code::InvalidArgument);
    let refused = client.model_infer(request("image", "UINT8", &[1])).await.unwrap_err();
    assert!(refused.message().contains("UINT8"), "{refused}");
}

#[tokio::test]
async fn a_server_is_ready_once_every_ordered_endpoint_answers() {
    let mut setup = Setup::new().await;
    let digest = setup.store(&package(1)).await;
    let nowhere = ursa_storage::Digest::of(b"nowhere").to_string();
    setup.coordinator.order(&[("bears", &digest), ("cats", &nowhere)]);
    let mut node = setup.start(&[]).await;
    let mut client = node.grpc().await;
    let mut health = HealthClient::new(node.channel().await);
    node.setup.coordinator.state("bears", &digest, "ready").await;
    node.setup.coordinator.state("cats", &nowhere, "failed").await;
    assert!(client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(!client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let ready = |name: &str| ModelReadyRequest { name: name.into(), version: String::new() };
    assert!(client.model_ready(ready("bears")).await.unwrap().into_inner().ready);
    assert!(!client.model_ready(ready("cats")).await.unwrap().into_inner().ready);
    assert_eq!(client.model_ready(ready("dogs")).await.unwrap_err().code(), Code::NotFound);
    let refused = client.model_infer(ModelInferRequest { model_name: "cats".into(), ..images(&[picture(1)]) }).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);

    let service = tonic_health::pb::HealthCheckRequest { service: "inference.GRPCInferenceService".into() };
    let mut watching = health.watch(service).await.unwrap().into_inner();
    assert_eq!(watching.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    node.setup.coordinator.order(&[("bears", &digest)]);
    assert_eq!(watching.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
}

#[tokio::test]
async fn metadata_names_classes_and_tensors() {
    let (node, digest) = Node::serving(&[]).await;
    let mut client = node.grpc().await;
    let server = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!(server.name, "ursa");
    let wish = ModelMetadataRequest { name: "bears".into(), version: digest.clone() };
    let model = client.model_metadata(wish).await.unwrap().into_inner();
    assert_eq!(model.versions, [digest]);
    let classes: Vec<String> = serde_json::from_str(&model.properties["classes"]).unwrap();
    assert_eq!(classes, CLASSES);
    let names = |tensors: &[ursa_proto::inference::model_metadata_response::TensorMetadata]| {
        tensors.iter().map(|tensor| format!("{} {}", tensor.name, tensor.datatype)).collect::<Vec<_>>()
    };
    assert_eq!(names(&model.inputs), ["image BYTES", "pixels FP32"]);
    assert_eq!(names(&model.outputs), ["probabilities FP32", "label BYTES"]);
}

#[tokio::test]
async fn clients_without_stubs_and_browsers_find_the_service() {
    let (node, _) = Node::serving(&[]).await;
    // gRPC-web: one frame over HTTP/1.1; ServerLiveRequest is empty.
    let url = format!("{}/inference.GRPCInferenceService/ServerLive", node.addresses.grpc);
    let request = node.http.post(url).header("content-type", "application/grpc-web+proto").body(vec![0; 5]);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap().starts_with(&[0, 0, 0, 0, 2, 8, 1]));

    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(node.channel().await);
    let mut answers = reflection.server_reflection_info(tokio_stream::once(list)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(services)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services")
    };
    assert!(services.service.iter().any(|service| service.name == "inference.GRPCInferenceService"));
}
