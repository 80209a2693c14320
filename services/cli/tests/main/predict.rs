//! `ursa predict`, against a coordinator and nodes in the test's hands.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use ursa_proto::v1::endpoint_service_server::{EndpointService, EndpointServiceServer};
use ursa_proto::{ApiError, v1};

use crate::{text, ursa};

const MODEL: &str = "0123456789abcdef0123456789abcdef";

/// A coordinator that knows one endpoint.
struct Coordinator(v1::Endpoint);

#[tonic::async_trait]
impl EndpointService for Coordinator {
    async fn list_endpoints(
        &self,
        _: Request<v1::ListEndpointsRequest>,
    ) -> Result<Response<v1::ListEndpointsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
    async fn deploy(&self, _: Request<v1::DeployRequest>) -> Result<Response<v1::Endpoint>, Status> {
        Err(Status::unimplemented("not asked"))
    }
    async fn get_endpoint(&self, request: Request<v1::GetEndpointRequest>) -> Result<Response<v1::Endpoint>, Status> {
        let name = request.into_inner().name;
        if name == self.0.name {
            Ok(Response::new(self.0.clone()))
        } else {
            Err(ApiError::not_found("endpoint", name).into())
        }
    }
}

async fn coordinator(nodes: &[(&str, &str, &str)]) -> String {
    let assignments = nodes.iter().map(|(name, address, serving)| v1::Assignment {
        node_name: (*name).into(),
        http_address: (*address).into(),
        serving_digest: (*serving).into(),
        state: if serving.is_empty() { "loading" } else { "ready" }.into(),
        ..v1::Assignment::default()
    });
    let endpoint = v1::Endpoint {
        name: "bears".into(),
        model_digest: MODEL.into(),
        assignments: assignments.collect(),
        ..v1::Endpoint::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder().add_service(EndpointServiceServer::new(Coordinator(endpoint)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

/// A node that says what it was given, and refuses what is no picture.
async fn answer(headers: HeaderMap, Query(query): Query<Value>, body: Bytes) -> (StatusCode, Json<Value>) {
    assert_eq!(query["endpoint"], "bears");
    let class = match headers["content-type"].to_str().unwrap() {
        "application/json" => serde_json::from_slice::<Value>(&body).unwrap()["url"].clone(),
        _ => text(&body).into(),
    };
    if class == "broken" {
        let error = json!({"error": {"code": "no-image", "message": "the picture was refused: it is none"}});
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(error));
    }
    let predictions = json!([{"class": class, "probability": 0.75}, {"class": "other", "probability": 0.25}]);
    (StatusCode::OK, Json(json!({"endpoint": "bears", "model_digest": MODEL, "predictions": predictions})))
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

async fn node() -> String {
    serve(Router::new().route("/classify", post(answer)).layer(DefaultBodyLimit::max(1000))).await
}

fn file(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn every_picture_gets_its_answer_and_what_fails_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (file(folder.path(), "good.jpg", "teddy"), file(folder.path(), "bad.jpg", "broken"));
    let address = coordinator(&[("node-1", &node().await, MODEL)]).await;
    let inputs =
        ["predict", "bears", &good, &bad, "/no/such.jpg", "http://web.test/p.jpg", folder.path().to_str().unwrap()];
    let output = ursa(&address, &[&inputs[..], &["--output", "json"]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    let seen: Vec<_> =
        answers.as_array().unwrap().iter().map(|a| (&a["input"], &a["predictions"][0]["class"])).collect();
    let expected = [(json!(good), json!("teddy")), (json!("http://web.test/p.jpg"), json!("http://web.test/p.jpg"))];
    assert_eq!(seen, expected.iter().map(|(input, class)| (input, class)).collect::<Vec<_>>());
    assert_eq!((&answers[0]["node"], &answers[0]["model_digest"]), (&json!("node-1"), &json!(MODEL)));
    let complaints = text(&output.stderr);
    for words in [
        "bad.jpg: the picture was refused: it is none",
        "/no/such.jpg: cannot open it: No such file",
        "it is a folder",
        "3 of 5 got no prediction",
    ] {
        assert!(complaints.contains(words), "{complaints}");
    }

    let table = ursa(&address, &["predict", "bears", &good]).await;
    assert!(table.status.success(), "{}", text(&table.stderr));
    let table = text(&table.stdout);
    assert!(table.contains("75.0 %") && table.contains("other 25.0 %") && table.contains("0123456789ab"), "{table}");
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let good = file(folder.path(), "good.jpg", "teddy");
    let busy = Arc::new(AtomicUsize::new(0));
    let asked = busy.clone();
    let refuse = move || {
        asked.fetch_add(1, Ordering::Relaxed);
        async { StatusCode::SERVICE_UNAVAILABLE }
    };
    let busy_node = serve(Router::new().route("/classify", post(refuse))).await;
    let nodes = [("gone", "http://127.0.0.1:1", MODEL), ("busy", &busy_node, MODEL), ("well", &node().await, MODEL)];
    let address = coordinator(&nodes).await;
    let output = ursa(&address, &["predict", "bears", &good, "--output", "json"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answers[0]["node"], busy.load(Ordering::Relaxed)), (&json!("well"), 1));
}

#[tokio::test]
async fn an_endpoint_that_is_unknown_or_served_by_nobody_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let good = file(folder.path(), "good.jpg", "teddy");
    let address = coordinator(&[("node-1", "http://127.0.0.1:1", "")]).await;
    let unknown = ursa(&address, &["predict", "cats", &good]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("there is no endpoint cats"), "{}", text(&unknown.stderr));
    let unserved = ursa(&address, &["predict", "bears", &good]).await;
    let complaint = text(&unserved.stderr);
    assert!(complaint.contains("no node serves bears yet: node-1 is loading"), "{complaint}");
}

#[tokio::test]
async fn a_file_that_is_too_large_gets_the_nodes_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.jpg");
    std::fs::File::create(&large).unwrap().set_len(64 << 20).unwrap();
    // As a node does it: the answer at once, while the body still comes.
    let refuse = |request: axum::extract::Request| async {
        tokio::spawn(axum::body::to_bytes(request.into_body(), usize::MAX));
        let error = json!({"error": {"code": "too-large", "message": "the request is larger than 32 MiB"}});
        (StatusCode::PAYLOAD_TOO_LARGE, Json(error))
    };
    let address = coordinator(&[("node-1", &serve(Router::new().route("/classify", post(refuse))).await, MODEL)]).await;
    let output = ursa(&address, &["predict", "bears", large.to_str().unwrap()]).await;
    let complaint = text(&output.stderr);
    assert!(complaint.contains("large.jpg: the request is larger than 32 MiB"), "{complaint}");
}
