//! Gives tasks: leases what was assigned, and tells the workers.

use std::collections::HashMap;

use futures::future::join_all;
use prost::Message as _;
use ursa_domain::scheduling::Assignment;
use ursa_proto::v1;
use uuid::Uuid;

use super::beat::answer;
use super::orders::{Directory, fail_unordered, order};
use super::roster::{Door, Lent};
use crate::context::Context;
use crate::store::{ClaimedTask, LaneHead, Mark, Place, StoreResult};

/// A message with so much in it, in bytes, takes no further order: it has to fit, whatever the tasks carry.
const FULL_MESSAGE: usize = 256 << 10;

/// Leases what was assigned, and gives the orders.
pub(super) async fn give(
    context: &Context,
    directory: &Directory,
    lanes: &[LaneHead],
    assignments: &[Assignment],
) -> StoreResult<usize> {
    let (singles, gangs) = places(context, lanes, assignments);
    let quotas = lanes.iter().any(LaneHead::has_quota);
    let lease = context.config.lease;
    let mut claimed =
        if singles.is_empty() { Vec::new() } else { context.store.claim(&singles, quotas, lease).await? };
    for (head, places) in gangs {
        claimed.extend(context.store.claim_gang(head, &places, lease).await?);
    }
    let given = claimed.len();
    hand_over(context, directory, claimed).await;
    Ok(given)
}

/// Places for one task each, and for gangs, each with the head of its lane.
pub(super) fn places(
    context: &Context,
    lanes: &[LaneHead],
    assignments: &[Assignment],
) -> (Vec<Place>, Vec<(Uuid, Vec<Place>)>) {
    let mut singles = Vec::new();
    // Of each lane one at most.
    let mut gangs: HashMap<i32, (Uuid, Vec<Place>)> = HashMap::new();
    for assignment in assignments {
        let Some(lane) = lanes.iter().find(|lane| i64::from(lane.id) == assignment.lane) else { continue };
        let Some(place) = place(context, lane, assignment) else { continue };
        if lane.gang > 1 {
            gangs.entry(lane.id).or_insert_with(|| (lane.head.id, Vec::new())).1.push(place);
        } else {
            singles.push(place);
        }
    }
    (singles, gangs.into_values().collect())
}

fn place(context: &Context, lane: &LaneHead, assignment: &Assignment) -> Option<Place> {
    let (worker_name, code_version) = context.roster.name_and_code(assignment.worker)?;
    Some(Place {
        lane: lane.id,
        project: lane.project.clone(),
        worker: assignment.worker,
        worker_name,
        code_version,
        gpus: assignment.gpus.clone(),
        // A gang is brought to the head of its lane first, before others of which a task is still missing.
        from: if lane.gang > 1 { Mark::START } else { lane.head },
    })
}

/// Tells the workers. What does not reach one is told again when it does not list it.
pub(super) async fn hand_over(context: &Context, directory: &Directory, claimed: Vec<ClaimedTask>) {
    let mut by_worker: HashMap<Uuid, Vec<ClaimedTask>> = HashMap::new();
    for task in claimed {
        if let Some(lane) = directory.lane(task.lane) {
            context.roster.lend(task.worker, Lent::claimed(&task, lane.kind, lane.priority, &lane.resources));
        }
        by_worker.entry(task.worker).or_default().push(task);
    }
    join_all(by_worker.into_iter().map(|(worker, tasks)| tell(context, directory, worker, tasks))).await;
}

async fn tell(context: &Context, directory: &Directory, worker: Uuid, tasks: Vec<ClaimedTask>) {
    match context.roster.find(worker) {
        Some((Door::Session(sender), _)) => {
            let mut orders = answer(context);
            let mut bytes = 0;
            for task in tasks {
                let Some(order) = write(context, directory, &task).await else { continue };
                bytes += order.encoded_len();
                orders.start.push(order);
                if bytes >= FULL_MESSAGE {
                    // A full or closed channel is no loss: the beat repeats what the worker does not list.
                    let _ = sender.try_send(Ok(std::mem::replace(&mut orders, answer(context))));
                    bytes = 0;
                }
            }
            if !orders.start.is_empty() {
                let _ = sender.try_send(Ok(orders));
            }
        }
        Some((Door::Executor { start, .. }, _)) => {
            for task in tasks {
                // It has gone: this coordinator ends, and the leases run out.
                let _ = start.send(task);
            }
        }
        None => {}
    }
}

async fn write(context: &Context, directory: &Directory, task: &ClaimedTask) -> Option<v1::TaskOrder> {
    match order(context, directory, task).await {
        Ok(order) => Some(order),
        Err(error) => {
            fail_unordered(context, task, &error).await;
            None
        }
    }
}
