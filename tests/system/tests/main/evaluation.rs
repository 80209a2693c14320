//! A model that was trained here is asked about its own snapshot again, about a later one, and for its reasons.

use serde_json::Value;
use ursa_proto::v1::job_definition::Spec;
use ursa_proto::v1::{self, evaluate_spec};
use ursa_system::{Store, System};

use crate::asking::{ended, nothing_alarming, submit};
use crate::pipeline::bears;

fn evaluate(snapshot: &str) -> Spec {
    Spec::Evaluate(v1::EvaluateSpec {
        snapshot: Some(evaluate_spec::Snapshot::SnapshotFromJob(snapshot.into())),
        model: Some(evaluate_spec::Model::ModelFromJob("train".into())),
    })
}

async fn interpret(system: &System, digest: &str, snapshot: &str, side: &str) -> v1::Interpretation {
    let request =
        v1::InterpretModelRequest { digest: digest.into(), side: side.into(), limit: 0, snapshot: snapshot.into() };
    system.client.models().interpret_model(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_model_says_of_a_later_snapshot_what_it_says_of_the_same_pictures_in_its_own() {
    let mut system = System::start(Store::Folder, 12).await.unwrap();
    system.add_worker().await.unwrap();
    let mut pipeline = bears(&system.web, 4, 1);
    // The same pictures, split in another way.
    let later = Spec::Snapshot(v1::SnapshotSpec { dataset: "bears".into(), seed: 7, valid_percent: 40 });
    for (name, spec) in [("later", later), ("again", evaluate("snapshot")), ("other", evaluate("later"))] {
        let after = vec!["train".to_owned()];
        let spec = Some(spec);
        pipeline.jobs.push(v1::JobDefinition { name: name.into(), after, spec, ..v1::JobDefinition::default() });
    }
    let ids = submit(&system, pipeline).await;
    let mut outputs = Vec::new();
    for name in ["again", "other"] {
        let job = ended(&system, &ids[name], "succeeded").await.job.unwrap();
        outputs.push(serde_json::from_str::<Value>(&job.output_json).unwrap());
    }
    let (again, other) = (&outputs[0], &outputs[1]);
    let digest = |output: &Value| output["snapshot_digest"].as_str().unwrap().to_owned();
    let model = again["model_digest"].as_str().unwrap();
    assert_ne!(digest(again), digest(other));
    assert_eq!((&again["errors"], &again["classes"]), (&other["errors"], &other["classes"]));

    for side in ["train", "valid", "all"] {
        let packaged = interpret(&system, model, "", side).await;
        assert!(packaged.images > 0);
        assert_eq!(interpret(&system, model, &digest(again), side).await, packaged, "{side}");
    }
    let (own, later) =
        (interpret(&system, model, "", "all").await, interpret(&system, model, &digest(other), "").await);
    assert_eq!((later.snapshot_number, later.images, &later.confusion), (2, own.images, &own.confusion));
    assert_ne!(interpret(&system, model, &digest(other), "valid").await.images, own.images);
    says_why(&system, model, &own).await;
    nothing_alarming(&mut system, &[]);
}

/// What speaks for the label of the picture with the highest loss: of the same answer that the loss was measured by.
async fn says_why(system: &System, model: &str, found: &v1::Interpretation) {
    let image = &found.top_losses[0];
    let reasons = ursa_client::explanation::request(model, vec![image.image_id.clone()], None);
    let ids = submit(system, reasons.pipeline.unwrap()).await;
    ended(system, &ids["explain"], "succeeded").await;
    let request =
        v1::GetHeatmapRequest { digest: model.into(), image_id: image.image_id.clone(), class: String::new() };
    let heatmap = system.client.models().get_heatmap(request).await.unwrap().into_inner();
    let class = |index: u32| &found.classes[index as usize];
    assert_eq!((&heatmap.class, &heatmap.predicted), (class(image.actual), class(image.predicted)));
    assert!((heatmap.probability - image.probability_of_actual).abs() < 1e-3, "{heatmap:?}");
    assert_eq!(heatmap.values.len() as u32, heatmap.side.pow(2));
    assert!(heatmap.overlay_png.starts_with(b"\x89PNG"));
}
