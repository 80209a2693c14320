//! A model that was trained here is asked about its own snapshot again, and about a later one.

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
    nothing_alarming(&mut system, &[]);
}
