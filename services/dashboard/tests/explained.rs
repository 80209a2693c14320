//! What in an image speaks for a class: asked for on the page of a model, and shown once a job has found out.

use ursa_proto::v1;

use crate::data::{MODEL, NASTY, bears, id, job_id};
use crate::fake::Script;
use crate::setup::start;

/// An image that is labelled as black.
fn bear() -> String {
    id(5, 3)
}

fn page_of(image: &str) -> String {
    format!("/models/{MODEL}/images/{image}")
}

fn heatmap(class: &str, values: Vec<f32>) -> v1::Heatmap {
    v1::Heatmap {
        digest: MODEL.into(),
        image_id: bear(),
        class: class.into(),
        probability: 0.125,
        predicted: NASTY.into(),
        side: 2,
        values,
        overlay_png: b"\x89PNG of a bear".to_vec().into(),
        ..v1::Heatmap::default()
    }
}

#[tokio::test]
async fn every_loss_has_a_why_that_submits_a_job_and_waits_for_it() {
    let (dashboard, fake) = start(bears()).await;
    let action = format!("<form method=\"post\" action=\"{}?class=black\">", page_of(&bear()));
    dashboard.get(&format!("/models/{MODEL}")).await.shows(&action).shows("Why?");

    let asked = dashboard.post(&format!("{}?class=black", page_of(&bear())), "").await;
    assert_eq!(asked.status, 303);
    let waiting = format!("{}?class=black&job={}", page_of(&bear()), job_id(1));
    assert_eq!(asked.header("location"), waiting);
    let (model, image) = (format!("Some(ModelDigest({MODEL:?}))"), bear());
    let expected = format!("explain Some(Class(\"black\")) of [{image:?}] by {model}");
    assert!(fake.asked().contains(&expected), "{:?}", fake.asked());

    fake.change(|script| script.pipelines[0].jobs[0].state = "running".into());
    let page = dashboard.get(&waiting).await;
    page.shows("What speaks for black?").shows(&format!("data-subject=\"{}\"", job_id(1))).shows("data-on=\"job.\"");
    page.shows("running").lacks("Find out").lacks("heatmap.png");
    fake.change(|script| script.heatmaps.push(heatmap("black", vec![0.0, 1.0, 0.0, 0.0])));
    let page = dashboard.get(&format!("/fragments{waiting}")).await;
    page.lacks("<html").shows("12.5 %").shows("Bright: what speaks for black").lacks(NASTY);
    let source = format!("{}/heatmap.png?class=black", page_of(&bear()));
    page.shows(&format!("src=\"{source}\"")).shows("What speaks for &lt;script");
    let picture = dashboard.get(&source).await;
    assert_eq!((picture.status, picture.header("content-type")), (200, "image/png"));
    assert!(picture.body.contains("PNG of a bear"));
}

#[tokio::test]
async fn what_was_found_out_before_is_shown_without_another_job() {
    let (dashboard, fake) = start(Script { heatmaps: vec![heatmap(NASTY, vec![0.0; 4])], ..bears() }).await;
    let asked = dashboard.post(&page_of(&bear()), "").await;
    assert_eq!((asked.status, asked.header("location")), (303, &*page_of(&bear())));
    assert!(!fake.asked().iter().any(|one| one.starts_with("explain")), "{:?}", fake.asked());
    let page = dashboard.get(&page_of(&bear())).await;
    page.shows("Nothing in the picture speaks for &lt;script").shows("takes the image for it").lacks(NASTY);
    page.lacks("<form");
}

#[tokio::test]
async fn a_job_that_failed_says_why_and_may_be_asked_again() {
    let (dashboard, fake) = start(bears()).await;
    fake.change(|script| {
        script.pipelines[0].jobs[0].state = "failed".into();
        script.pipelines[0].jobs[0].error = format!("there is no verified image {NASTY}");
    });
    let page = dashboard.get(&format!("{}?job={}", page_of(&bear()), job_id(1))).await;
    page.shows("there is no verified image &lt;script").shows("Find out").lacks(NASTY);
    dashboard.get(&page_of(&bear())).await.shows("What speaks for its label?").shows("Find out");
    for nothing in [page_of("bear.jpg"), "/models/zz/images/x".into(), page_of(&bear()) + "/heatmap.png"] {
        assert_eq!(dashboard.get(&nothing).await.status, 404, "{nothing}");
    }
    assert_eq!(dashboard.get(&format!("/models/{}/images/{}", "0".repeat(64), bear())).await.status, 404);
}
