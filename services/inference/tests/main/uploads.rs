//! What is not a picture, or too much of one.

use std::time::Duration;

use bytes::Bytes;

use crate::support::{Node, picture};

#[tokio::test]
async fn what_is_no_picture_is_refused_with_the_reason() {
    let (node, _) = Node::serving(&[]).await;
    for (body, code) in [
        (b"<!doctype html><html>hello</html>".to_vec(), "not-an-image"),
        (Vec::new(), "empty"),
        (picture(1)[..200].to_vec(), "truncated"),
    ] {
        let (status, answer) = node.post("/classify", "image/jpeg", body).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (422, Some(code)), "{answer}");
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_upload_of_200_mb_is_refused_however_it_comes_and_the_node_goes_on() {
    let (node, _) = Node::serving(&[]).await;
    let (status, answer) = node.post("/classify", "image/jpeg", vec![0; 200 << 20]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (413, Some("too-large")));
    let chunk = Bytes::from(vec![0; 1 << 20]);
    let chunks = futures::stream::iter((0..200).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
    let (status, answer) = node.post("/classify", "image/jpeg", reqwest::Body::wrap_stream(chunks)).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (413, Some("too-large")));
    assert!(answer["error"]["message"].as_str().unwrap().contains("32 MiB"), "{answer}");
    let (status, _) = node.post("/v2/models/bears/infer", "application/json", vec![b' '; 65 << 20]).await;
    assert_eq!(status, 413);
    assert_eq!(node.post("/classify", "image/png", picture(1)).await.0, 200);
}

#[tokio::test]
async fn a_form_is_taken_as_well_as_bare_bytes() {
    let (node, _) = Node::serving(&[]).await;
    let (_, bare) = node.post("/classify", "image/png", picture(5)).await;
    let part = reqwest::multipart::Part::bytes(picture(5)).file_name("bear.png");
    let form = reqwest::multipart::Form::new().text("note", "mine").part("file", part);
    let answer = node.http.post(node.url("/classify")).multipart(form).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["predictions"], bare["predictions"]);
}

#[tokio::test]
async fn a_sender_that_stalls_holds_up_nobody_else() {
    let (node, _) = Node::serving(&[]).await;
    let stalled = reqwest::Body::wrap_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let request = node.http.post(node.url("/classify")).body(stalled).timeout(Duration::from_mins(1));
    let stalled = tokio::spawn(request.send());
    for _ in 0..3 {
        assert_eq!(node.post("/classify", "image/png", picture(1)).await.0, 200);
    }
    assert!(!stalled.is_finished());
    stalled.abort();
}
