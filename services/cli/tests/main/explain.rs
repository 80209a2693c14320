//! How a model's reasons are asked for and written down as pictures.

use serde_json::{Value, json};
use ursa_proto::v1;
use v1::explain_spec::{Model, Of};

use crate::engine::{json_of, printed};
use crate::fake::{Fake, Script};
use crate::{text, ursa};

const MODEL: &str = "9f2c4e1ab83d5f607182939a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e";

fn heatmap(image: &str, class: &str, values: Vec<f32>) -> v1::Heatmap {
    v1::Heatmap {
        digest: MODEL.into(),
        image_id: image.into(),
        class: class.into(),
        probability: 0.125,
        predicted: "black".into(),
        side: 2,
        values,
        overlay_png: format!("picture of {image}").into(),
        ..v1::Heatmap::default()
    }
}

/// A coordinator whose only job explains two images, and is in `state`.
fn script(state: &str, error: &str) -> Script {
    let image = |image: &str, class: &str| json!({"image_id": image, "class": class, "probability": 0.125, "predicted": "black"});
    let output: Value = json!({"model_digest": MODEL, "images": [image("first", "teddy"), image("second", "../bear")]});
    let job = v1::Job {
        id: "why".into(),
        name: "explain".into(),
        kind: "explain".into(),
        state: state.into(),
        error: error.into(),
        output_json: output.to_string(),
        ..v1::Job::default()
    };
    let heatmaps =
        vec![heatmap("first", "teddy", vec![0.0, 1.5, 0.0, 0.25]), heatmap("second", "../bear", vec![0.0; 4])];
    Script {
        details: vec![v1::JobDetail { job: Some(job), ..v1::JobDetail::default() }],
        heatmaps,
        ..Script::default()
    }
}

fn asked(fake: &Fake) -> v1::ExplainSpec {
    let mut submitted = fake.submitted();
    assert_eq!((submitted.len(), submitted[0].jobs.len(), submitted[0].reuse), (1, 1, true));
    let Some(v1::job_definition::Spec::Explain(spec)) = submitted.remove(0).jobs.remove(0).spec else { panic!() };
    spec
}

#[tokio::test]
async fn reasons_are_asked_for_waited_for_and_written_as_pictures() {
    let (address, fake) = Fake::start(script("succeeded", "")).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("why");
    let told =
        printed(&address, &["models", "explain", &MODEL[..8], "first", "second", "--folder", path.to_str().unwrap()])
            .await;
    for said in
        ["TAKEN FOR", "teddy", "12.5 %", "black", "first-teddy.png", "second-.._bear.png", "(nothing speaks for it)"]
    {
        assert!(told.contains(said), "{said:?} is missing:\n{told}");
    }
    assert_eq!(std::fs::read(path.join("first-teddy.png")).unwrap(), b"picture of first");
    assert_eq!(std::fs::read(path.join("second-.._bear.png")).unwrap(), b"picture of second", "and nowhere else");
    let spec = asked(&fake);
    assert_eq!((spec.model, spec.of), (Some(Model::ModelDigest(MODEL[..8].into())), None));
    assert_eq!(spec.image_ids, ["first", "second"]);
    assert_eq!(fake.asked()[0], format!("heatmap of first for teddy by {MODEL}"));
}

#[tokio::test]
async fn another_class_is_asked_for_by_its_name_or_as_what_was_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for (flags, expected) in
        [(&["--predicted"][..], Of::Predicted(true)), (&["--class", "big bear"], Of::Class("big bear".into()))]
    {
        let (address, fake) = Fake::start(script("succeeded", "")).await;
        let command = [&["models", "explain", MODEL, "first", "--folder", folder], flags].concat();
        let found = json_of(&address, &command).await;
        assert_eq!((&found[0]["image_id"], &found[0]["side"]), (&json!("first"), &json!(2)));
        assert_eq!(found[0]["values"], json!([0.0, 1.5, 0.0, 0.25]));
        assert_eq!(asked(&fake).of, Some(expected));
    }
    let (address, _fake) = Fake::start(Script::default()).await;
    let both = ursa(&address, &["models", "explain", MODEL, "first", "--predicted", "--class", "teddy"]).await;
    assert_eq!(both.status.code(), Some(2), "{}", text(&both.stderr));
    assert_eq!(ursa(&address, &["models", "explain", MODEL]).await.status.code(), Some(2), "of no image");
}

#[tokio::test]
async fn a_job_that_failed_says_why() {
    let (address, _fake) = Fake::start(script("failed", "there is no verified image first")).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let failed = ursa(&address, &["models", "explain", MODEL, "first", "--folder", folder]).await;
    assert_eq!(failed.status.code(), Some(1));
    let complaint = text(&failed.stderr);
    assert!(complaint.contains("job why is failed: there is no verified image first"), "{complaint}");
}

#[tokio::test]
async fn a_job_tells_what_it_explained_and_the_command_that_draws_it() {
    let (address, _fake) = Fake::start(script("succeeded", "")).await;
    let told = printed(&address, &["jobs", "get", "why"]).await;
    for said in ["Model 9f2c4e1ab83d", "second", "12.5 %", "ursa models explain 9f2c4e1ab83d first --class \"teddy\""] {
        assert!(told.contains(said), "{said:?} is missing:\n{told}");
    }
}
