//! The deploy task: points the endpoint at the model and waits until the nodes have proved it.

use std::time::Duration;

use serde::Deserialize;
use ursa_domain::ErrorClass;
use ursa_proto::v1;

use super::executor::TaskError;
use crate::context::Context;
use crate::hub;
use crate::store::{ClaimedTask, Topic};

const LOOK: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Payload {
    endpoint: String,
    model_digest: String,
    timeout_seconds: u64,
}

pub(super) async fn execute(context: &Context, task: &ClaimedTask) -> Result<(), TaskError> {
    let payload: Payload = serde_json::from_value(task.payload.clone())
        .map_err(|error| TaskError::Failed(ErrorClass::Fatal, error.to_string()))?;
    context.store.deploy_under(&task.lease, &payload.endpoint, &payload.model_digest).await?;
    let deadline = Duration::from_secs(payload.timeout_seconds);
    let ready = tokio::time::timeout(deadline, until_ready(context, &payload)).await;
    let nodes = match ready {
        Ok(nodes) => nodes?,
        Err(_) => return Err(too_late(context, &payload).await?),
    };
    let message = format!("{} serves the model on {nodes} nodes", payload.endpoint);
    Ok(context.store.complete_deploy(&task.lease, message).await?)
}

/// Resolves with the number of nodes once every node that is online serves the model; fails as soon as one refuses it.
async fn until_ready(context: &Context, payload: &Payload) -> Result<usize, TaskError> {
    let mut wake = context.hub.subscribe(Topic::Tasks);
    loop {
        wake.borrow_and_update();
        let endpoint = context.store.endpoint(&payload.endpoint, context.config.patience()).await?;
        if endpoint.model_digest != payload.model_digest {
            let message = format!("endpoint {} was pointed at another model meanwhile", payload.endpoint);
            return Err(TaskError::Failed(ErrorClass::Fatal, message));
        }
        if let Some(refused) = endpoint.assignments.iter().find(|node| node.state == "failed") {
            let message = format!("node {} refused the model: {}", refused.node_name, refused.error);
            return Err(TaskError::Failed(ErrorClass::Fatal, message));
        }
        if !endpoint.assignments.is_empty() && endpoint.assignments.iter().all(|node| node.state == "ready") {
            return Ok(endpoint.assignments.len());
        }
        hub::wait(&mut wake, LOOK).await;
    }
}

async fn too_late(context: &Context, payload: &Payload) -> Result<TaskError, TaskError> {
    let endpoint = context.store.endpoint(&payload.endpoint, context.config.patience()).await?;
    let message = describe_delay(&endpoint, payload.timeout_seconds);
    Ok(TaskError::Failed(ErrorClass::Fatal, message))
}

fn describe_delay(endpoint: &v1::Endpoint, seconds: u64) -> String {
    if endpoint.assignments.is_empty() {
        return format!(
            "no inference node was online for {seconds} s: start one with ursa-inference, then retry this job"
        );
    }
    let waiting: Vec<_> = endpoint
        .assignments
        .iter()
        .filter(|node| node.state != "ready")
        .map(|node| format!("{} is {}", node.node_name, node.state))
        .collect();
    format!("after {seconds} s {}: look at the nodes' logs, then retry this job", waiting.join(", "))
}
