//! Rounds: what is ready, who has room, who gets what. `ursa_domain::scheduling` decides; the database has the last word.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::Instant;
use ursa_domain::scheduling::{LaneView, Offer, Plan, ProjectView, Promises, Request, Running};

use super::asleep::Asleep;
use super::giving::{give, hand_over, places};
use super::orders::Directory;
use crate::context::Context;
use crate::hub;
use crate::marks::{Begin, Marks};
use crate::store::{ClaimedTask, LaneHead, StoreResult, Topic, Tx};

/// A hint may get lost; nothing waits longer than this for a round.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// Tasks in one round.
const AT_A_TIME: usize = 1000;
/// While others are about to end, what waits for room waits so long at most for theirs: a round costs much the same for one task
/// and for many.
const GATHER: Duration = Duration::from_millis(10);
/// With so many free slots it waits no longer.
const MUCH_ROOM: usize = 64;
const MOMENT: Duration = Duration::from_millis(1);
/// What is submitted waits no longer for a round than most take: another transaction may hold one up.
const ONE_ROUND: Duration = Duration::from_millis(20);

/// What is remembered from round to round. It only saves work: a new dispatcher begins without.
#[derive(Debug)]
struct Memory {
    directory: Directory,
    marks: Marks,
    asleep: Asleep,
    /// Room that is kept for those who wait for more than comes free at once.
    promises: Promises,
}

impl Memory {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            directory: Directory::default(),
            marks: Marks::new(now),
            asleep: Asleep::new(now),
            promises: Promises::default(),
        }
    }
}

/// Whoever holds its memory gives out tasks: nobody else does here meanwhile.
#[derive(Debug)]
pub(crate) struct Dispatcher(Mutex<Memory>);

impl Dispatcher {
    /// Room that is kept by now. Waits for a round that is on its way.
    pub(crate) async fn promises(&self) -> Promises {
        self.0.lock().await.promises.clone()
    }
}

impl Default for Dispatcher {
    fn default() -> Self {
        Self(Mutex::new(Memory::new()))
    }
}

/// Dispatches for ever.
pub(super) async fn run(context: Context) {
    let mut wake = context.hub.subscribe(Topic::Tasks);
    let mut ended = context.hub.subscribe(Topic::Room);
    let mut outage = false;
    loop {
        wake.borrow_and_update();
        // Room that came free before this round is seen by it, and is no reason for another.
        ended.borrow_and_update();
        let _ = context.roster.room.notified().now_or_never();
        let mut waiting = true;
        let outcome = rounds(&context).await;
        if outcome.is_err() {
            // Something may have been claimed all the same.
            context.roster.doubt();
        }
        match outcome {
            Ok(rest) => (outage, waiting) = (false, rest == Rest::Waits),
            Err(error) if error.is_outage() => {
                if !outage {
                    tracing::warn!(%error, "nothing is dispatched: waiting for the database");
                }
                outage = true;
            }
            // It had to wait for somebody for too long: everybody else waits for it.
            Err(error) if error.is_conflict() => tracing::info!(%error, "a round of dispatching was given up"),
            Err(error) => tracing::error!(%error, "a round of dispatching failed"),
        }
        let next_look = context.dispatcher.0.lock().await.marks.next_look(Instant::now());
        tokio::select! {
            () = hub::wait(&mut wake, next_look.unwrap_or(LOOK)) => {}
            // Every task that ends makes room: where nothing waits for it, that is no news.
            () = room(&context, &mut ended), if waiting => {
                tokio::select! {
                    () = much_room(&context) => {}
                    () = hub::wait(&mut wake, GATHER) => {}
                }
            }
        }
    }
}

/// Resolves when there may be more room: here, or in a quota.
async fn room(context: &Context, ended: &mut watch::Receiver<u64>) {
    tokio::select! {
        () = context.roster.room.notified() => {}
        () = hub::wait(ended, LOOK) => {}
    }
}

/// Resolves when no more room is about to come free, or so much is that more would make no difference.
async fn much_room(context: &Context) {
    while context.completions.is_busy() {
        let (free, slots) = context.roster.room_there_is(context.config.patience());
        if free >= slots.min(MUCH_ROOM) {
            return;
        }
        // Room is told of a moment before those who made it are no longer on their way.
        let _ = tokio::time::timeout(MOMENT, context.roster.room.notified()).await;
    }
}

/// What a round leaves. What becomes ready meanwhile wakes the dispatcher by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Another round may find something to place.
    Places,
    /// Something waits for room.
    Waits,
    /// Nothing is ready.
    Nothing,
}

/// Until nothing more can be placed.
async fn rounds(context: &Context) -> StoreResult<Rest> {
    loop {
        let mut memory = context.dispatcher.0.lock().await;
        let rest = context.store.patience().with(round(context, &mut memory)).await?;
        if rest != Rest::Places {
            return Ok(rest);
        }
    }
}

async fn round(context: &Context, memory: &mut Memory) -> StoreResult<Rest> {
    let (offers, running) = context.roster.offers(context.config.patience());
    let may_preempt = running.iter().any(|attempt| attempt.may_make_room(context.config.least_at_work));
    let room = room_on(&offers);
    if room == 0 && !may_preempt {
        return Ok(Rest::Waits);
    }
    let limit = room.clamp(1, AT_A_TIME);
    let lanes = look(context, memory, limit, None).await?;
    if lanes.is_empty() {
        return Ok(Rest::Nothing);
    }
    let (views, plan) = plan(memory, &lanes, &offers, limit);
    let given = give(context, &memory.directory, &lanes, &plan.assignments).await?;
    if given == 0 && may_preempt {
        make_room(context, &mut memory.promises, &views, &plan.blocked, &offers, &running).await?;
    }
    Ok(match rest(&lanes, &plan, given, limit) {
        // Whoever still waits may have others make room.
        Rest::Waits if given > 0 && may_preempt => Rest::Places,
        rest => rest,
    })
}

fn room_on(offers: &[Offer]) -> usize {
    offers.iter().filter(|offer| !offer.draining).map(|offer| offer.slots as usize).sum()
}

fn plan(memory: &mut Memory, lanes: &[LaneHead], offers: &[Offer], limit: usize) -> (Vec<LaneView>, Plan) {
    let views: Vec<LaneView> = lanes.iter().map(view).collect();
    let plan = memory.promises.assign(&views, &owners(lanes), offers, seconds(Utc::now()), limit);
    (views, plan)
}

fn rest(lanes: &[LaneHead], plan: &Plan, given: usize, limit: usize) -> Rest {
    let seen: usize = lanes.iter().map(|lane| lane.ready as usize).sum();
    let all_seen = lanes.iter().all(|lane| lane.gang == 1 && (lane.ready as usize) < limit);
    // Where there are gangs or quotas, a plan may leave something to the next one; and whoever was given less than was planned
    // may have come too late.
    let is_plain = lanes.iter().all(|lane| lane.gang == 1 && !lane.has_quota());
    let all_planned = is_plain && plan.assignments.len() < limit;
    if given == 0 {
        Rest::Waits
    } else if given == seen && all_seen {
        Rest::Nothing
    } else if given == plan.assignments.len() && all_planned {
        Rest::Waits
    } else {
        Rest::Places
    }
}

/// What is ready; as a transaction sees it that makes more ready, if there is one.
async fn look(
    context: &Context,
    memory: &mut Memory,
    limit: usize,
    mut within: Option<&mut Tx>,
) -> StoreResult<Vec<LaneHead>> {
    let now = Instant::now();
    let left_out = memory.asleep.left_out(now);
    let Begin { marks, back } = memory.marks.for_a_look(now);
    let mut lanes = context.store.lane_heads(marks, back, &left_out, limit as u32, within.as_deref_mut()).await?;
    memory.asleep.learn(lanes.iter().map(|lane| (lane.id, lane.ready == 0)), now);
    // Gangs are looked for all over their lanes.
    memory.marks.learn(lanes.iter().filter(|lane| lane.gang == 1).map(|lane| (lane.id, lane.head)));
    lanes.retain(|lane| lane.ready > 0);
    let ids: Vec<i32> = lanes.iter().map(|lane| lane.id).collect();
    memory.directory.learn(&context.store, &ids, within).await?;
    Ok(lanes)
}

/// The dispatcher while no round is on its way.
pub(super) struct AtRest<'a> {
    context: &'a Context,
    memory: MutexGuard<'a, Memory>,
}

impl<'a> AtRest<'a> {
    /// Waits for a round that is on its way; `None` where that takes long, or leaves nobody with room.
    pub(super) async fn catch(context: &'a Context) -> Option<Self> {
        let has_room = || context.roster.room_there_is(context.config.patience()).0 > 0;
        if !has_room() {
            return None;
        }
        let memory = tokio::time::timeout(ONE_ROUND, context.dispatcher.0.lock()).await.ok()?;
        has_room().then_some(Self { context, memory })
    }

    /// Leases what there is room for, as part of a transaction that makes so many `new` tasks ready. Gangs and quotas take more
    /// than that: where there are any, and where something new is left, a round is asked for.
    pub(super) async fn lease(&mut self, tx: &mut Tx, new: usize) -> StoreResult<Vec<ClaimedTask>> {
        let (context, memory) = (self.context, &mut *self.memory);
        let (offers, _) = context.roster.offers(context.config.patience());
        let limit = room_on(&offers).clamp(1, AT_A_TIME);
        let lanes = look(context, memory, limit, Some(tx)).await?;
        if lanes.iter().any(|lane| lane.gang > 1 || lane.has_quota()) {
            tx.hint(Topic::Tasks);
            return Ok(Vec::new());
        }
        let (_, plan) = plan(memory, &lanes, &offers, limit);
        let (places, _) = places(context, &lanes, &plan.assignments);
        let claimed = context.store.claim_within(tx, &places, context.config.lease).await?;
        let is_done = match rest(&lanes, &plan, claimed.len(), limit) {
            Rest::Nothing => true,
            // The others waited before.
            Rest::Waits => claimed.len() >= new,
            Rest::Places => false,
        };
        if !is_done {
            tx.hint(Topic::Tasks);
        }
        Ok(claimed)
    }

    /// Gives the orders, now that the transaction is committed.
    pub(super) async fn order(self, claimed: Vec<ClaimedTask>) {
        hand_over(self.context, &self.memory.directory, claimed).await;
    }
}

/// Whose lanes they are, each once.
fn owners(lanes: &[LaneHead]) -> Vec<ProjectView> {
    let mut seen = HashSet::new();
    lanes.iter().map(|lane| &lane.owner).filter(|owner| seen.insert(owner.name.as_str())).cloned().collect()
}

fn view(lane: &LaneHead) -> LaneView {
    LaneView {
        id: i64::from(lane.id),
        project: lane.project.clone(),
        kind: lane.kind,
        priority: lane.priority,
        request: Request { kind: lane.kind, resources: lane.resources.clone() },
        ready: lane.ready,
        head_ready_at: seconds(lane.head.at),
        // Of a gang of which some have done their part, the others go on together.
        gang: if lane.gang > 1 { lane.ready } else { 1 },
        paused: lane.paused,
    }
}

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_micros() as f64 / 1e6
}

/// Asks less urgent work back for the most urgent lane that something can be done for.
async fn make_room(
    context: &Context,
    promises: &mut Promises,
    lanes: &[LaneView],
    blocked: &[i64],
    offers: &[Offer],
    running: &[Running],
) -> StoreResult<()> {
    let now = seconds(Utc::now());
    let mut waiting: Vec<&LaneView> = lanes.iter().filter(|lane| blocked.contains(&lane.id)).collect();
    waiting.sort_by_key(|lane| std::cmp::Reverse(lane.priority));
    let least_at_work = context.config.least_at_work;
    let victims = waiting.into_iter().find_map(|lane| promises.preempt(lane, offers, running, least_at_work, now));
    if let Some(victims) = victims {
        context.store.preempt(&victims).await?;
        context.roster.asked_back(&victims);
        context.roster.hurry.notify_one();
    }
    Ok(())
}
