//! Answering, while everything around changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{CLASSES, Node, PATIENCE, Setup, package, picture};

#[tokio::test]
async fn a_ready_node_gives_sorted_probabilities_of_every_class() {
    let (node, digest) = Node::serving(&[]).await;
    let (status, answer) = node.post("/classify", "image/png", picture(7)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["endpoint"], &answer["model_digest"]), (&"bears".into(), &digest.as_str().into()));
    assert!(answer["milliseconds"].as_f64().unwrap() > 0.0);
    let predictions = answer["predictions"].as_array().unwrap();
    let mut classes: Vec<_> = predictions.iter().map(|prediction| prediction["class"].as_str().unwrap()).collect();
    classes.sort_unstable();
    assert_eq!(classes, CLASSES);
    let probabilities: Vec<_> = predictions.iter().map(|one| one["probability"].as_f64().unwrap()).collect();
    assert!(probabilities.is_sorted_by(|a, b| a >= b), "{probabilities:?}");
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{probabilities:?}");
    let (_, by_name) = node.post("/classify?endpoint=bears", "image/png", picture(7)).await;
    assert_eq!(by_name["predictions"], answer["predictions"]);
    node.end().await;
}

#[tokio::test]
async fn a_swap_under_load_drops_no_request() {
    let (mut node, old) = Node::serving(&[]).await;
    let new = node.setup.store(&package(2)).await;
    let (done, swapped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|client: u8| {
            let (done, swapped, http) = (done.clone(), swapped.clone(), node.http.clone());
            let (url, old, new) = (node.url("/classify"), old.clone(), new.clone());
            tokio::spawn(async move {
                let (mut answers, mut seen_new) = (0, false);
                while !done.load(Ordering::Relaxed) {
                    let answer = http.post(&url).body(picture(client)).send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    let answer: serde_json::Value = answer.json().await.unwrap();
                    let digest = answer["model_digest"].as_str().unwrap();
                    assert!(digest == new || (digest == old && !seen_new), "back to the old model");
                    if digest == new && !seen_new {
                        seen_new = true;
                        swapped.fetch_add(1, Ordering::Relaxed);
                    }
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    node.setup.coordinator.order(&[("bears", &new)]);
    let status = node.setup.coordinator.state("bears", &new, "ready").await;
    assert_eq!(status.serving_digest, new);
    let all_swapped = async {
        while swapped.load(Ordering::Relaxed) < clients.len() && clients.iter().all(|client| !client.is_finished()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all_swapped).await.expect("not every client gets to the new model");
    done.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 1);
    }
    node.end().await;
}

#[tokio::test]
async fn one_model_under_two_names_answers_the_same_and_unlisted_names_are_gone() {
    let (mut node, digest) = Node::serving(&[]).await;
    node.setup.coordinator.order(&[("bears", &digest), ("mirror", &digest)]);
    node.setup.coordinator.state("mirror", &digest, "ready").await;
    let (status, answer) = node.post("/classify", "image/png", picture(1)).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (400, Some("endpoint-needed")));
    assert!(answer["error"]["message"].as_str().unwrap().contains("bears, mirror"), "{answer}");
    let (_, bears) = node.post("/classify?endpoint=bears", "image/png", picture(1)).await;
    let (_, mirror) = node.post("/classify?endpoint=mirror", "image/png", picture(1)).await;
    assert_eq!(bears["predictions"], mirror["predictions"]);
    node.setup.coordinator.order(&[("mirror", &digest)]);
    node.setup.coordinator.report("one endpoint", |report| report.endpoints.len() == 1).await;
    let (status, answer) = node.post("/classify?endpoint=bears", "image/png", picture(1)).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (404, Some("unknown-endpoint")));
    assert!(answer["error"]["message"].as_str().unwrap().contains("it serves mirror"), "{answer}");
}

#[tokio::test]
async fn a_node_without_orders_says_that_nothing_is_ready() {
    let node = Setup::new().await.start(&[]).await;
    let (status, answer) = node.post("/classify", "image/png", picture(1)).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (503, Some("not-ready")));
}

#[tokio::test]
async fn the_page_runs_under_its_own_policy_and_metrics_count_by_endpoint_and_outcome() {
    let (node, digest) = Node::serving(&[]).await;
    let page = node.http.get(node.url("/")).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(page.text().await.unwrap().contains("Drop a picture"));
    assert!(node.get("/endpoints").await.1.contains(&digest));
    node.post("/classify", "image/png", picture(1)).await;
    node.post("/classify?endpoint=made-up", "image/png", picture(1)).await;
    node.post("/classify", "image/png", "no picture").await;
    let (_, text) = node.get("/metrics").await;
    for line in [
        "ursa_inference_requests_total{endpoint=\"bears\",status=\"ok\"} 1",
        "ursa_inference_requests_total{endpoint=\"\",status=\"unknown-endpoint\"} 1",
        "ursa_inference_requests_total{endpoint=\"bears\",status=\"not-an-image\"} 1",
        "ursa_inference_request_duration_seconds_count{endpoint=\"bears\"} 2",
        "ursa_inference_batch_pictures_bucket{le=\"16.0\"}",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
