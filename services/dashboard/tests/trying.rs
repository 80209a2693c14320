//! `/try`: pictures go to a node that serves and predictions come back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::post;
use axum::{Json, Router};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use ursa_proto::v1;

use crate::data::{MODEL, NASTY, assignment, bears};
use crate::setup::{Dashboard, Page, start};

type Heard = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

/// A node that answers `/classify` and `/explain` with `status` and `answer` and remembers what it got.
async fn node(status: u16, answer: Value) -> (SocketAddr, Heard) {
    let heard = Heard::default();
    let listen = move |State(heard): State<Heard>, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let content_type = headers["content-type"].to_str().unwrap().to_owned();
        heard.lock().unwrap().push((uri.to_string(), content_type, body.to_vec()));
        (StatusCode::from_u16(status).unwrap(), Json(answer))
    };
    let app = Router::new()
        .route("/classify", post(listen.clone()))
        .route("/explain", post(listen))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(heard.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    (address, heard)
}

fn prediction() -> Value {
    let predictions = json!([{"class": NASTY, "probability": 0.973}, {"class": "black", "probability": 0.027}]);
    json!({"endpoint": "bears", "model_digest": MODEL, "milliseconds": 21.4, "predictions": predictions})
}

async fn dashboard_before(nodes: &[(&str, String)]) -> Dashboard {
    let mut script = bears();
    script.endpoints[0].assignments =
        nodes.iter().map(|(name, address)| assignment(name, address, "ready")).collect::<Vec<v1::Assignment>>();
    start(script).await.0
}

async fn send(dashboard: &Dashboard, path: &str, form: Form) -> Page {
    Page::from(dashboard.http.post(dashboard.url(path)).multipart(form).send().await.unwrap()).await
}

fn picture(bytes: Vec<u8>) -> Form {
    Form::new().text("endpoint", "bears").part("file", Part::bytes(bytes).file_name("bear.jpg"))
}

#[tokio::test]
async fn a_picture_reaches_the_node_unchanged_and_the_prediction_is_shown() {
    let (address, heard) = node(200, prediction()).await;
    let dashboard = dashboard_before(&[("den-1", format!("http://{address}"))]).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let page = send(&dashboard, "/fragments/try", picture(bytes.clone())).await;
    assert_eq!(page.status, 200);
    page.shows("97.3 %").shows("den-1").shows("21 ms").lacks("<html").lacks(NASTY).lacks("data:image");
    let heard = heard.lock().unwrap();
    assert_eq!(heard[0].0, "/classify?endpoint=bears");
    assert!(heard[0].2 == bytes, "the bytes arrived changed");
}

#[tokio::test]
async fn an_answer_is_explained_where_that_is_asked_for() {
    let mut answer = prediction();
    let explained = json!({"class": NASTY, "has_evidence": true, "overlay_png": "iVBORw0KGgo="});
    answer.as_object_mut().unwrap().extend(explained.as_object().unwrap().clone());
    let (address, heard) = node(200, answer).await;
    let dashboard = dashboard_before(&[("den-1", format!("http://{address}"))]).await;
    let page = send(&dashboard, "/fragments/try", picture(vec![1]).text("explain", "yes")).await;
    page.shows("src=\"data:image/png;base64,iVBORw0KGgo=\"").shows("Bright: what speaks for &lt;script").lacks(NASTY);
    assert_eq!(heard.lock().unwrap()[0].0, "/explain?endpoint=bears");
    dashboard.get("/try").await.shows("name=\"explain\"");
}

#[tokio::test]
async fn without_script_the_answer_is_a_whole_page() {
    let (address, _heard) = node(200, prediction()).await;
    let dashboard = dashboard_before(&[("den-1", format!("http://{address}"))]).await;
    send(&dashboard, "/try", picture(vec![1])).await.shows("</html>").shows("97.3 %").shows("Endpoint");
}

#[tokio::test]
async fn a_url_is_left_for_the_node_to_fetch() {
    let (address, heard) = node(200, prediction()).await;
    let dashboard = dashboard_before(&[("den-1", format!("http://{address}"))]).await;
    let form = Form::new().text("endpoint", "bears").text("url", "http://bears.example/1.jpg");
    send(&dashboard, "/fragments/try", form).await.shows("97.3 %");
    let heard = heard.lock().unwrap();
    assert_eq!(heard[0].1, "application/json");
    assert_eq!(serde_json::from_slice::<Value>(&heard[0].2).unwrap(), json!({"url": "http://bears.example/1.jpg"}));
}

#[tokio::test]
async fn a_node_that_is_gone_is_passed_over() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone_address = gone.local_addr().unwrap();
    drop(gone);
    let (address, _heard) = node(200, prediction()).await;
    let nodes = [("gone", format!("http://{gone_address}")), ("den-2", format!("http://{address}"))];
    let dashboard = dashboard_before(&nodes).await;
    send(&dashboard, "/fragments/try", picture(vec![1])).await.shows("97.3 %").shows("den-2");
}

#[tokio::test]
async fn a_nodes_refusal_is_told_in_its_words() {
    let refusal = json!({"error": {"code": "not-an-image", "message": "these 4 bytes are not a <picture>"}});
    let (address, _heard) = node(422, refusal).await;
    let dashboard = dashboard_before(&[("den-1", format!("http://{address}"))]).await;
    let page = send(&dashboard, "/fragments/try", picture(vec![1, 2, 3, 4])).await;
    assert_eq!(page.status, 422);
    page.shows("these 4 bytes are not a &lt;picture&gt;");
}

#[tokio::test]
async fn what_cannot_be_classified_is_refused_with_advice() {
    let dashboard = dashboard_before(&[]).await;
    let nothing = send(&dashboard, "/fragments/try", Form::new().text("endpoint", "bears")).await;
    assert_eq!(nothing.status, 400);
    nothing.shows("choose a picture");
    let unserved = send(&dashboard, "/fragments/try", picture(vec![1])).await;
    assert_eq!(unserved.status, 503);
    unserved.shows("no node serves bears yet");
    let unknown = Form::new().text("endpoint", "wolves").text("url", "http://x.example/");
    assert_eq!(send(&dashboard, "/fragments/try", unknown).await.status, 404);
}

#[tokio::test]
async fn a_picture_beyond_the_limit_is_too_large() {
    let (address, heard) = node(200, prediction()).await;
    let dashboard = dashboard_before(&[("den-1", format!("http://{address}"))]).await;
    let page = send(&dashboard, "/fragments/try", picture(vec![0; 33 << 20])).await;
    assert_eq!(page.status, 413);
    page.shows("larger than 32.0 MiB");
    assert!(heard.lock().unwrap().is_empty());
}
