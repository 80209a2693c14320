//! The beat: what every attached worker said since the last one goes to the database in one statement, whatever their
//! number, and comes back as orders to stop, to start what was lost on its way, or simply to go on.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use ursa_domain::Lease;
use ursa_proto::v1;
use uuid::Uuid;

use super::orders::{Directory, order};
use super::roster::{Door, Lent, Pulse};
use crate::context::Context;
use crate::store::{ClaimedTask, OpenAttempt, Standing, StoreResult, Topic};

/// Reports come in all the time; so often they are gathered.
const SHORTEST: Duration = Duration::from_millis(20);
/// An order that its worker does not list after this part of a lease was lost on its way.
const ORDER_LOST: u32 = 4;

/// Beats for ever: several times as often as workers report, and at once when there is news.
pub(super) async fn run(context: Context) {
    let mut interval = tokio::time::interval((context.config.report_interval / 4).max(SHORTEST));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stops = context.hub.subscribe(Topic::Stops);
    let mut directory = Directory::default();
    let patience = context.store.patience();
    let mut outage = false;
    loop {
        let outcome = tokio::select! {
            _ = interval.tick() => beat(&context, &mut directory).await,
            () = context.roster.hurry.notified() => beat(&context, &mut directory).await,
            Ok(()) = stops.changed() => patience.with(tell_stops(&context)).await,
        };
        match outcome {
            Ok(()) => outage = false,
            Err(error) if error.is_outage() => {
                if !outage {
                    tracing::warn!(%error, "no lease can be renewed: waiting for the database");
                }
                outage = true;
            }
            Err(error) => tracing::error!(%error, "a beat failed"),
        }
    }
}

async fn beat(context: &Context, directory: &mut Directory) -> StoreResult<()> {
    let asked_at = Instant::now();
    let (pulses, beat) = context.roster.pulse();
    if pulses.is_empty() {
        return Ok(());
    }
    let patience = context.store.patience();
    let (standings, at) = match patience.with(context.store.beat(&beat, context.config.lease)).await {
        Ok(answer) => answer,
        Err(error) => {
            // What the database refused it would refuse again.
            if error.is_outage() || error.is_conflict() {
                context.roster.tell_again(&pulses);
            }
            return Err(error);
        }
    };
    if let Some(at) = at {
        context.renewals.came_through(at);
    }
    patience.with(answer_all(context, directory, &pulses, standings, asked_at)).await
}

/// Tells every worker that has reported how it stands, as it was at `asked_at`.
async fn answer_all(
    context: &Context,
    directory: &mut Directory,
    pulses: &[Pulse],
    mut standings: HashMap<Uuid, Standing>,
    asked_at: Instant,
) -> StoreResult<()> {
    let lanes: Vec<i32> = standings.values().flat_map(|standing| &standing.open).map(|attempt| attempt.lane).collect();
    directory.learn(&context.store, &lanes, None).await?;
    let mut fenced = Vec::new();
    for pulse in pulses {
        let standing = standings.remove(&pulse.worker).unwrap_or_default();
        let lent = standing.open.iter().filter_map(|attempt| directory.lent(attempt)).collect();
        context.roster.settle(pulse, standing.drain, asked_at, lent);
        let lost = lost(context, pulse, &standing.open);
        let orders = orders(context, directory, pulse, &standing, &lost).await;
        deliver(&pulse.door, orders);
        fenced.extend(lost);
    }
    context.roster.room.notify_one();
    if !fenced.is_empty() {
        context.store.mark_fenced(&fenced).await?;
    }
    Ok(())
}

/// Tells workers at once what they shall stop. What does not reach one, it hears with the next beat.
async fn tell_stops(context: &Context) -> StoreResult<()> {
    let mut by_worker: HashMap<Uuid, Vec<v1::StopOrder>> = HashMap::new();
    for (worker, lease, reason) in context.store.stops(&context.roster.held()).await? {
        let protocol = context.roster.find(worker).map_or(0, |(_, protocol)| protocol);
        by_worker.entry(worker).or_default().push(stop_order(lease, &reason, protocol));
    }
    for (worker, stop) in by_worker {
        if let Some((door, _)) = context.roster.find(worker) {
            deliver(&door, v1::WorkerOrders { stop, ..answer(context) });
        }
    }
    Ok(())
}

/// What a worker has to hear: everything it shall stop, among it what is `lost`, and what it was given and does not know of.
async fn orders(
    context: &Context,
    directory: &Directory,
    pulse: &Pulse,
    standing: &Standing,
    lost: &[Lease],
) -> v1::WorkerOrders {
    let Standing { drain, open } = standing;
    let mut orders = answer(context);
    orders.drain = *drain;
    let listed: HashSet<Uuid> = pulse.leases.iter().map(|lease| lease.token).collect();
    let stop = |attempt: &OpenAttempt| {
        attempt.stop_reason.as_deref().map(|reason| stop_order(attempt.lease, reason, pulse.protocol))
    };
    orders.stop = open.iter().filter_map(stop).collect();
    let gone = v1::StopReason::LeaseLost.into();
    orders.stop.extend(lost.iter().map(|lease| v1::StopOrder { lease: Some((*lease).into()), reason: gone }));
    for attempt in open.iter().filter(|attempt| was_lost(context, pulse, &listed, attempt)) {
        match order(context, directory, &claimed(attempt)).await {
            Ok(order) => orders.start.push(order),
            Err(error) => tracing::info!(%error, task = %attempt.lease.task_id, "could not repeat an order"),
        }
    }
    orders
}

/// An empty answer: go on.
pub(super) fn answer(context: &Context) -> v1::WorkerOrders {
    v1::WorkerOrders {
        lease_ms: context.config.lease.as_millis() as u32,
        report_interval_ms: context.config.report_interval.as_millis() as u32,
        ..v1::WorkerOrders::default()
    }
}

fn claimed(attempt: &OpenAttempt) -> ClaimedTask {
    ClaimedTask {
        lease: attempt.lease,
        job_id: attempt.job_id,
        lane: attempt.lane,
        payload: attempt.payload.clone(),
        worker: attempt.worker,
        gpus: attempt.gpus.clone(),
        preemptible: attempt.preemptible,
    }
}

/// A peer of the older protocol knows only one good reason to stop.
fn stop_order(lease: Lease, reason: &str, protocol: u32) -> v1::StopOrder {
    let reason = match reason {
        "deadline" if protocol > 1 => v1::StopReason::Deadline,
        "preempted" if protocol > 1 => v1::StopReason::Preempted,
        _ => v1::StopReason::Cancelled,
    };
    v1::StopOrder { lease: Some(lease.into()), reason: reason.into() }
}

/// Whether a worker should have begun an attempt and has not.
fn was_lost(context: &Context, pulse: &Pulse, listed: &HashSet<Uuid>, attempt: &OpenAttempt) -> bool {
    attempt.stop_reason.is_none()
        && matches!(pulse.door, Door::Session(_))
        && !listed.contains(&attempt.lease.token)
        && context.roster.is_overdue(pulse.worker, attempt.lease.token, context.config.lease / ORDER_LOST)
}

/// What a worker lists and does not hold any more.
fn lost(context: &Context, pulse: &Pulse, open: &[OpenAttempt]) -> Vec<Lease> {
    let open: HashSet<Uuid> = open.iter().map(|attempt| attempt.lease.token).collect();
    let is_lost = |lease: &&Lease| {
        !open.contains(&lease.token) && !context.roster.has_ended_since(lease.token, pulse.reported_at)
    };
    pulse.leases.iter().filter(is_lost).copied().collect()
}

fn deliver(door: &Door, orders: v1::WorkerOrders) {
    match door {
        // A full channel is no loss: the next beat says it all again.
        Door::Session(sender) => drop(sender.try_send(Ok(orders))),
        Door::Executor { stop, .. } => {
            for token in orders.stop.iter().filter_map(|order| order.lease.as_ref()?.token.parse().ok()) {
                // It has gone: this coordinator ends.
                let _ = stop.send(token);
            }
        }
    }
}

impl Directory {
    /// What a worker holds with an attempt.
    fn lent(&self, attempt: &OpenAttempt) -> Option<Lent> {
        let lane = self.lane(attempt.lane)?;
        let mut lent = Lent::claimed(&claimed(attempt), lane.kind, lane.priority, &lane.resources);
        lent.asked_back = attempt.stop_reason.is_some();
        Some(lent)
    }
}
