//! Where in a picture the evidence for a class lies.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::support::{CLASSES, Node, SIZE, picture};

/// The overlay of an answer, decoded.
fn overlay(answer: &Value) -> image::RgbImage {
    let png = BASE64_STANDARD.decode(answer["overlay_png"].as_str().unwrap()).unwrap();
    image::load_from_memory_with_format(&png, image::ImageFormat::Png).unwrap().to_rgb8()
}

#[tokio::test]
async fn an_answer_is_explained_by_a_picture_of_its_evidence() {
    let (node, digest) = Node::serving(&[]).await;
    let (_, classified) = node.post("/classify", "image/png", picture(7)).await;
    let (status, answer) = node.post("/explain", "image/png", picture(7)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["endpoint"], &answer["model_digest"]), (&"bears".into(), &digest.as_str().into()));
    let best = &classified["predictions"][0];
    assert_eq!(answer["class"], best["class"]);
    let close = |one: &Value, other: &Value| (one.as_f64().unwrap() - other.as_f64().unwrap()).abs() < 1e-4;
    assert!(close(&answer["probability"], &best["probability"]), "{answer}");
    let [explained, said] = [&answer, &classified].map(|told| told["predictions"].as_array().unwrap());
    assert!(explained.iter().zip(said).all(|(one, other)| close(&one["probability"], &other["probability"])));
    assert_eq!(overlay(&answer).dimensions(), (SIZE, SIZE));
    node.end().await;
}

#[tokio::test]
async fn any_class_can_be_asked_for_and_no_other() {
    let (node, _) = Node::serving(&[]).await;
    let mut overlays = Vec::new();
    for class in CLASSES {
        let (status, answer) = node.post(&format!("/explain?class={class}"), "image/png", picture(3)).await;
        assert_eq!((status, answer["class"].as_str()), (200, Some(class)), "{answer}");
        let shown = overlay(&answer);
        // A grid of one place: it is bright all over, or dark all over.
        assert_eq!(answer["has_evidence"].as_bool().unwrap(), shown.pixels().all(|pixel| pixel[0] > 120), "{class}");
        overlays.push(shown);
    }
    assert!(overlays.iter().any(|one| *one != overlays[0]), "what speaks for one class does not speak for all");
    let (status, answer) = node.post("/explain?class=wolf", "image/png", picture(3)).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (400, Some("unknown-class")), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("black, grizzly, teddy"), "{answer}");
}

#[tokio::test]
async fn what_is_no_picture_is_not_explained_and_many_at_once_do_not_pile_up() {
    let (node, _) = Node::serving(&[]).await;
    let (status, answer) = node.post("/explain", "image/jpeg", "no picture").await;
    assert_eq!((status, answer["error"]["code"].as_str()), (422, Some("not-an-image")), "{answer}");
    let many = (0..60).map(|seed| node.post("/explain", "image/png", picture(seed)));
    let answers = futures::future::join_all(many).await;
    let busy = |answer: &Value| answer["error"]["code"] == "busy";
    assert!(answers.iter().all(|(status, answer)| *status == 200 || (*status == 503 && busy(answer))), "{answers:?}");
    assert!(answers.iter().any(|(status, _)| *status == 200));
    assert_eq!(node.post("/classify", "image/png", picture(1)).await.0, 200);
}
