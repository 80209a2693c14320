//! Orders as a coordinator gives them.

use ursa_domain::recipe::Recipe;
use ursa_proto::v1::{self, task_order::Work};
use uuid::Uuid;

fn order(work: Work) -> v1::TaskOrder {
    let lease = v1::Lease { task_id: Uuid::new_v4().to_string(), attempt: 1, token: Uuid::new_v4().to_string() };
    v1::TaskOrder { lease: Some(lease), job_id: Uuid::new_v4().to_string(), work: Some(work), gpus: Vec::new() }
}

/// A probe of so many milliseconds.
pub(crate) fn probe(duration_ms: u64) -> v1::TaskOrder {
    order(Work::Probe(v1::ProbeTask { duration_ms, fail: false }))
}

/// A training run by the script beside this file, which acts as `manner` says.
pub(crate) fn train(manner: &str, gpus: &[u32]) -> v1::TaskOrder {
    let task = v1::TrainTask {
        snapshot_id: Uuid::new_v4().to_string(),
        dataset: manner.to_owned(),
        snapshot_number: 1,
        snapshot_digest: "00".repeat(32),
        recipe: Some((&Recipe::default()).into()),
        train_percent: 100,
        ..v1::TrainTask::default()
    };
    v1::TaskOrder { gpus: gpus.to_vec(), ..order(Work::Train(task)) }
}

/// An evaluation of the model 9f2c by the script beside this file, which acts as `manner` says.
pub(crate) fn evaluate(manner: &str, gpus: &[u32]) -> v1::TaskOrder {
    let task = v1::EvaluateTask {
        snapshot_id: Uuid::new_v4().to_string(),
        dataset: manner.to_owned(),
        snapshot_number: 1,
        snapshot_digest: "00".repeat(32),
        model_digest: "9f2c".into(),
    };
    v1::TaskOrder { gpus: gpus.to_vec(), ..order(Work::Evaluate(task)) }
}

/// An explanation of one image by the script beside this file, which acts as `manner` says.
pub(crate) fn explain(manner: &str) -> v1::TaskOrder {
    let image = v1::ImageToExplain {
        image_id: Uuid::from_u128(7).to_string(),
        shard_key: manner.to_owned(),
        shard_offset: 512,
        shard_length: 90,
        class: "teddy".into(),
    };
    order(Work::Explain(v1::ExplainTask { model_digest: "9f2c".into(), images: vec![image] }))
}

/// An order to stop what `order` began.
pub(crate) fn stop(order: &v1::TaskOrder, reason: v1::StopReason) -> v1::StopOrder {
    v1::StopOrder { lease: order.lease.clone(), reason: reason.into() }
}
