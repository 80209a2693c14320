//! The Open Inference Protocol over HTTP and JSON.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use ursa_vision::{Limits, Preprocessing};

use crate::support::{CLASSES, Node, SIZE, picture};

const INFER: &str = "/v2/models/bears/infer";

async fn infer(node: &Node, request: &Value) -> (u16, Value) {
    node.post(INFER, "application/json", request.to_string()).await
}

fn images(files: &[Vec<u8>]) -> Value {
    let data: Vec<_> = files.iter().map(|file| BASE64_STANDARD.encode(file)).collect();
    let parameters = json!({ "content_type": "base64" });
    json!([{ "name": "image", "datatype": "BYTES", "shape": [files.len()], "parameters": parameters, "data": data }])
}

#[tokio::test]
async fn files_in_base64_and_normalised_pixels_give_the_same_probabilities() {
    let (node, digest) = Node::serving(&[]).await;
    let request = json!({ "id": "7", "inputs": images(&[picture(5), picture(6)]) });
    let (status, answer) = infer(&node, &request).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["id"], &answer["model_name"]), (&json!("7"), &json!("bears")));
    assert_eq!(answer["model_version"], digest);
    let [probabilities, label] = [&answer["outputs"][0], &answer["outputs"][1]];
    assert_eq!((&probabilities["name"], &probabilities["shape"]), (&json!("probabilities"), &json!([2, 3])));
    assert_eq!(probabilities["data"].as_array().unwrap().len(), 6);
    assert_eq!((&label["name"], &label["datatype"]), (&json!("label"), &json!("BYTES")));
    assert!(CLASSES.contains(&label["data"][1].as_str().unwrap()));

    let preprocessing = Preprocessing::imagenet(SIZE);
    let mut pixels = Vec::new();
    for seed in [5, 6] {
        preprocessing.to_chw(&preprocessing.prepare(&picture(seed), &Limits::default()).unwrap(), &mut pixels);
    }
    let input = json!({ "name": "pixels", "datatype": "FP32", "shape": [2, 3, SIZE, SIZE], "data": pixels });
    let request = json!({ "inputs": [input], "outputs": [{ "name": "probabilities" }] });
    let (status, from_pixels) = infer(&node, &request).await;
    assert_eq!(status, 200, "{from_pixels}");
    assert_eq!(from_pixels["outputs"].as_array().unwrap().len(), 1);
    assert_close(&from_pixels["outputs"][0]["data"], &probabilities["data"]);
}

/// Pictures that happened to be computed in other batches differ in the last digits.
fn assert_close(a: &Value, b: &Value) {
    let numbers = |value: &Value| serde_json::from_value::<Vec<f32>>(value.clone()).unwrap();
    let (a, b) = (numbers(a), numbers(b));
    assert!(a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
}

#[tokio::test]
async fn the_binary_extension_gives_the_same_numbers() {
    let (node, _) = Node::serving(&[]).await;
    let (_, plain) = infer(&node, &json!({ "inputs": images(&[picture(5)]) })).await;
    let file = picture(5);
    let size = file.len() + 4;
    let input =
        json!({ "name": "image", "datatype": "BYTES", "shape": [1], "parameters": { "binary_data_size": size } });
    let mut body = json!({ "inputs": [input], "parameters": { "binary_data_output": true } }).to_string().into_bytes();
    let length = body.len();
    body.extend_from_slice(&(file.len() as u32).to_le_bytes());
    body.extend_from_slice(&file);
    let request = node.http.post(node.url(INFER)).header("inference-header-content-length", length).body(body);
    let answer = request.send().await.unwrap();
    let length: usize = answer.headers()["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let body = answer.bytes().await.unwrap();
    let json: Value = serde_json::from_slice(&body[..length]).unwrap();
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 12);
    let raw = &body[length..length + 12];
    let numbers: Vec<f32> = raw.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_close(&json!(numbers), &plain["outputs"][0]["data"]);
}

#[tokio::test]
async fn metadata_and_readiness_name_what_is_served() {
    let (node, digest) = Node::serving(&[]).await;
    let get = async |path: &str| {
        let (status, text): (u16, String) = node.get(path).await;
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    assert_eq!(get("/v2").await.1["name"], "ursa");
    assert_eq!(get("/v2/health/live").await, (200, json!({ "live": true })));
    assert_eq!(get("/v2/health/ready").await, (200, json!({ "ready": true })));
    for path in ["/v2/models/bears".to_owned(), format!("/v2/models/bears/versions/{digest}")] {
        let (status, model) = get(&path).await;
        assert_eq!(status, 200, "{model}");
        assert_eq!(model["versions"], json!([digest]));
        assert_eq!(model["properties"]["classes"], json!(CLASSES));
        assert_eq!(model["inputs"][1]["shape"], json!([-1, 3, SIZE, SIZE]));
        assert_eq!(get(&format!("{path}/ready")).await.0, 200);
    }
    assert_eq!(get("/v2/models/cats/ready").await.0, 404);
    assert_eq!(get("/v2/models/bears/versions/1/ready").await.0, 404);
}

#[tokio::test]
async fn requests_that_cannot_work_are_told_why() {
    let (node, _) = Node::serving(&[]).await;
    let no_base64 = json!({ "name": "image", "datatype": "BYTES", "shape": [1], "data": ["!"] });
    let misshapen = json!({ "name": "image", "datatype": "BYTES", "shape": [2], "data": ["AAAA"] });
    for (request, status, expected) in [
        (json!({}), 400, "inputs"),
        (json!({ "inputs": [] }), 400, "0 inputs"),
        (json!({ "inputs": [no_base64] }), 400, "not base64"),
        (json!({ "inputs": [misshapen] }), 400, "shape [2]"),
        (json!({ "inputs": images(&[vec![0; 9]]) }), 422, "not-an-image"),
        (json!({ "inputs": images(&[picture(1)]), "outputs": [{ "name": "logits" }] }), 400, "\"logits\""),
        (json!({ "inputs": images(&vec![vec![0; 9]; 65]) }), 400, "at most 64"),
    ] {
        let (found, answer) = infer(&node, &request).await;
        let message = answer["error"].as_str().unwrap();
        assert!(found == status && message.contains(expected), "{found} {message}");
    }
}
