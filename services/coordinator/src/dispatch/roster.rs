//! Who is attached to this coordinator, what each has to offer, and what each was given.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tonic::Status;
use ursa_domain::scheduling::{GpuOffer, GpuUse, Offer, Resources, Running};
use ursa_domain::{JobKind, Lease};
use ursa_proto::v1;
use uuid::Uuid;

use crate::store::{Beat, ClaimedTask, WorkerReportRow};

/// A worker that gave something back gets nothing for so long: it may have no room for a while.
const REST: Duration = Duration::from_secs(1);
/// A beat that was on its way when a lease ended is over by then.
const REMEMBER: Duration = Duration::from_mins(1);
/// What was measured of a GPU's memory may not show yet what a task takes that began so lately.
const SETTLING: Duration = Duration::from_mins(1);
/// A worker that has fallen behind in reading its orders hears them again with the next beat.
pub(crate) const ORDERS_IN_FLIGHT: usize = 16;

/// Where a worker takes its orders.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    /// At the end of a session.
    Session(mpsc::Sender<Result<v1::WorkerOrders, Status>>),
    /// In this process: the coordinator's own executor.
    Executor {
        /// Takes what it shall do.
        start: mpsc::UnboundedSender<ClaimedTask>,
        /// Takes the tokens of leases it shall drop.
        stop: mpsc::UnboundedSender<Uuid>,
    },
}

/// A worker's session: tells it from an older one of the same worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attachment {
    worker: Uuid,
    number: u64,
}

/// What a worker holds, as far as placing others goes.
#[derive(Debug, Clone)]
pub(super) struct Lent {
    pub(super) lease: Lease,
    pub(super) kind: JobKind,
    pub(super) priority: i32,
    pub(super) resources: Resources,
    pub(super) gpus: Vec<u32>,
    pub(super) preemptible: bool,
    pub(super) asked_back: bool,
    since: Instant,
}

#[derive(Debug)]
struct Attached {
    row: WorkerReportRow,
    protocol: u32,
    running: Vec<(Lease, v1::Progress, i32)>,
    reported_at: Instant,
    /// Since the last beat.
    is_fresh: bool,
    /// Whether a beat has told what it holds: nothing is placed before.
    is_known: bool,
    /// When a beat looks next for all that it holds.
    search_at: Instant,
    /// Whether an operator wants it to take no more.
    drain: bool,
    /// When an operator last said so here: what the database said before is older.
    drain_said_at: Option<Instant>,
    rests_until: Instant,
    lent: HashMap<Uuid, Lent>,
    door: Door,
    number: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    state: Mutex<State>,
    /// Somebody new, or news that cannot wait for the next beat.
    pub(super) hurry: Notify,
    /// There may be more room.
    pub(super) room: Notify,
}

#[derive(Debug, Default)]
struct State {
    workers: HashMap<Uuid, Attached>,
    /// Leases that ended lately: a beat that began before may still bring them.
    ended: HashMap<Uuid, Instant>,
    next_number: u64,
}

/// What a report says, checked.
#[derive(Debug)]
pub(crate) struct Report {
    /// Who it is, and what it offers.
    pub(crate) row: WorkerReportRow,
    /// Version of the session protocol it speaks.
    pub(crate) protocol: u32,
    /// Attempts it works on: how far each is, and how far an order to stop it.
    pub(crate) running: Vec<(Lease, v1::Progress, i32)>,
}

/// A worker as the beat sees it.
pub(super) struct Pulse {
    pub(super) worker: Uuid,
    pub(super) protocol: u32,
    pub(super) leases: Vec<Lease>,
    pub(super) reported_at: Instant,
    pub(super) door: Door,
}

impl Roster {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a worker's first report.
    pub(crate) fn attach(&self, report: Report, door: Door) -> Attachment {
        let mut state = self.state();
        state.next_number += 1;
        let number = state.next_number;
        let worker = report.row.id;
        let now = Instant::now();
        let earlier = state.workers.remove(&worker);
        let (drain, drain_said_at) = earlier.as_ref().map_or((false, None), |old| (old.drain, old.drain_said_at));
        let attached = Attached {
            row: report.row,
            protocol: report.protocol,
            running: report.running,
            reported_at: now,
            is_fresh: true,
            is_known: false,
            search_at: now,
            drain,
            drain_said_at,
            rests_until: now,
            lent: earlier.map(|earlier| earlier.lent).unwrap_or_default(),
            door,
            number,
        };
        state.workers.insert(worker, attached);
        self.hurry.notify_one();
        Attachment { worker, number }
    }

    /// Takes in another report of a session.
    pub(crate) fn report(&self, attachment: Attachment, report: Report) {
        let mut state = self.state();
        let Some(attached) = state.get(attachment) else { return };
        let is_news = attached.stages() != stages(&report.running) || attached.row.draining != report.row.draining;
        attached.row = report.row;
        attached.running = report.running;
        attached.reported_at = Instant::now();
        attached.is_fresh = true;
        if is_news {
            self.hurry.notify_one();
        }
    }

    /// Forgets a worker whose session ended. Its leases live as long as they are to live.
    pub(crate) fn detach(&self, attachment: Attachment) {
        let mut state = self.state();
        if state.get(attachment).is_some() {
            state.workers.remove(&attachment.worker);
        }
    }

    /// Has a worker take no more from now on, or take some again, if it is attached here.
    pub(crate) fn drain(&self, worker: Uuid, drain: bool) {
        if let Some(attached) = self.state().workers.get_mut(&worker) {
            attached.drain = drain;
            attached.drain_said_at = Some(Instant::now());
        }
        self.room.notify_one();
    }

    /// Everybody who is attached.
    pub(super) fn attached(&self) -> Vec<Uuid> {
        self.state().workers.keys().copied().collect()
    }

    /// Takes note that leases have ended, so that their workers have room at once. One that was given back without having
    /// been asked for gives its worker a rest.
    pub(crate) fn ended(&self, leases: &[Lease], given_back: bool) {
        let tokens: HashSet<Uuid> = leases.iter().map(|lease| lease.token).collect();
        let mut state = self.state();
        let now = Instant::now();
        state.ended.extend(tokens.iter().map(|token| (*token, now)));
        for attached in state.workers.values_mut() {
            let mut unasked = false;
            attached.lent.retain(|token, lent| {
                let has_ended = tokens.contains(token);
                unasked |= has_ended && !lent.asked_back;
                !has_ended
            });
            if given_back && unasked {
                attached.rests_until = now + REST;
            }
        }
        drop(state);
        self.room.notify_one();
    }

    /// Every worker that has reported since the last beat; and a beat of them.
    pub(super) fn pulse(&self) -> (Vec<Pulse>, Beat) {
        let mut state = self.state();
        let now = Instant::now();
        state.ended.retain(|_, at| now.duration_since(*at) < REMEMBER);
        let mut beat = Beat::default();
        let mut pulses = Vec::new();
        for attached in state.workers.values_mut().filter(|attached| attached.is_fresh) {
            attached.is_fresh = false;
            beat.workers.push(attached.row.clone());
            for (lease, progress, stage) in &attached.running {
                beat.leases.push(*lease);
                beat.progress.push(progress.clone());
                beat.stages.push(*stage);
            }
            let is_listed = |token: &Uuid| attached.running.iter().any(|(lease, ..)| lease.token == *token);
            beat.others.extend(attached.lent.values().map(|lent| lent.lease).filter(|lease| !is_listed(&lease.token)));
            if attached.search_at <= now {
                beat.searched.push(attached.row.id);
            }
            pulses.push(Pulse {
                worker: attached.row.id,
                protocol: attached.protocol,
                leases: attached.running.iter().map(|(lease, ..)| *lease).collect(),
                reported_at: attached.reported_at,
                door: attached.door.clone(),
            });
        }
        (pulses, beat)
    }

    /// Notes that a beat has looked for all that these workers hold, and when to look again.
    pub(super) fn searched(&self, workers: &[Uuid], search_at: Instant) {
        let mut state = self.state();
        for worker in workers {
            if let Some(attached) = state.workers.get_mut(worker) {
                attached.search_at = search_at;
            }
        }
    }

    /// What the executor in this process works on; it is as good as a report.
    pub(crate) fn list_own(&self, attachment: Attachment, leases: &[Lease]) {
        let mut state = self.state();
        if let Some(attached) = state.get(attachment) {
            attached.running = leases.iter().map(|lease| (*lease, v1::Progress::default(), 0)).collect();
            attached.reported_at = Instant::now();
            attached.is_fresh = true;
        }
    }

    /// Brings what a worker holds in line with the database, as it was at `asked_at`.
    pub(super) fn settle(&self, worker: Uuid, drain: bool, asked_at: Instant, open: Vec<Lent>) {
        let mut state = self.state();
        let State { workers, ended, .. } = &mut *state;
        let Some(attached) = workers.get_mut(&worker) else { return };
        if attached.drain_said_at.is_none_or(|said_at| said_at < asked_at) {
            attached.drain = drain;
        }
        attached.is_known = true;
        let open: HashMap<Uuid, Lent> = open
            .into_iter()
            .filter(|lent| !ended.contains_key(&lent.lease.token))
            .map(|lent| (lent.lease.token, lent))
            .collect();
        attached.lent.retain(|token, lent| lent.since >= asked_at || open.contains_key(token));
        for (token, lent) in open {
            let (asked_back, priority) = (lent.asked_back, lent.priority);
            let known = attached.lent.entry(token).or_insert(lent);
            known.asked_back |= asked_back;
            known.priority = priority;
        }
    }

    /// Whether a lease ended since: a report from before may well list it.
    pub(super) fn has_ended_since(&self, token: Uuid, reported_at: Instant) -> bool {
        self.state().ended.get(&token).is_some_and(|at| *at >= reported_at)
    }

    /// Notes what workers were just given.
    pub(super) fn lend(&self, worker: Uuid, lent: Lent) {
        let mut state = self.state();
        if let Some(attached) = state.workers.get_mut(&worker) {
            attached.lent.insert(lent.lease.token, lent);
        }
    }

    /// Notes that attempts were asked back.
    pub(super) fn asked_back(&self, attempts: &[(Uuid, u32)]) {
        let mut state = self.state();
        for attached in state.workers.values_mut() {
            for lent in attached.lent.values_mut() {
                lent.asked_back |= attempts.contains(&(lent.lease.task_id, lent.lease.attempt));
            }
        }
    }

    /// Whether an order was given longer than `patience` ago: its worker should have listed it.
    pub(super) fn is_overdue(&self, worker: Uuid, token: Uuid, patience: Duration) -> bool {
        let state = self.state();
        let lent = state.workers.get(&worker).and_then(|attached| attached.lent.get(&token));
        lent.is_some_and(|lent| lent.since.elapsed() > patience)
    }

    /// What everybody has to offer now, and what they hold. Who has not been heard of for `patience` offers nothing.
    pub(super) fn offers(&self, patience: Duration) -> (Vec<Offer>, Vec<Running>) {
        let state = self.state();
        let now = Instant::now();
        let mut offers = Vec::new();
        let mut running = Vec::new();
        for attached in state.workers.values() {
            if !attached.is_there(now, patience) {
                continue;
            }
            offers.push(attached.offer());
            running.extend(attached.lent.values().filter(|lent| !lent.asked_back).map(|lent| lent.running(attached)));
        }
        offers.sort_by_key(|offer| offer.id);
        (offers, running)
    }

    /// Slots that nothing holds, and all, of workers that are heard of within `patience`; but for this process's own.
    pub(super) fn room_there_is(&self, patience: Duration) -> (usize, usize) {
        let state = self.state();
        let now = Instant::now();
        let workers = state.workers.values().filter(|attached| !attached.row.internal);
        workers.filter(|attached| attached.is_there(now, patience)).fold((0, 0), |(free, all), attached| {
            (free + attached.free_slots() as usize, all + attached.row.slots as usize)
        })
    }

    /// A worker's door and protocol.
    pub(super) fn find(&self, worker: Uuid) -> Option<(Door, u32)> {
        let state = self.state();
        state.workers.get(&worker).map(|attached| (attached.door.clone(), attached.protocol))
    }

    /// A worker's name, and the version of its code.
    pub(super) fn name_and_code(&self, worker: Uuid) -> Option<(String, String)> {
        let state = self.state();
        state.workers.get(&worker).map(|attached| (attached.row.name.clone(), attached.row.code_version.clone()))
    }
}

impl State {
    /// The worker of a session, unless a newer session has taken its place.
    fn get(&mut self, attachment: Attachment) -> Option<&mut Attached> {
        self.workers.get_mut(&attachment.worker).filter(|attached| attached.number == attachment.number)
    }
}

fn stages(running: &[(Lease, v1::Progress, i32)]) -> BTreeMap<Uuid, i32> {
    running.iter().filter(|(.., stage)| *stage > 0).map(|(lease, _, stage)| (lease.token, *stage)).collect()
}

impl Attached {
    fn stages(&self) -> BTreeMap<Uuid, i32> {
        stages(&self.running)
    }

    /// Whether anything may be placed on it.
    fn is_there(&self, now: Instant, patience: Duration) -> bool {
        self.is_known && now.duration_since(self.reported_at) < patience && self.rests_until <= now
    }

    fn free_slots(&self) -> u32 {
        self.row.slots.saturating_sub(self.lent.len() as u32)
    }

    fn offer(&self) -> Offer {
        Offer {
            id: self.row.id,
            kinds: self.row.kinds.clone(),
            slots: self.free_slots(),
            draining: self.row.draining || self.drain,
            labels: self.row.labels.clone(),
            gpus: self.row.gpus.iter().map(|gpu| self.gpu_offer(gpu)).collect(),
            cpu_training: !self.lent.values().any(|lent| lent.kind.learns() && lent.gpus.is_empty()),
        }
    }

    fn gpu_offer(&self, gpu: &v1::Gpu) -> GpuOffer {
        let mine = || self.lent.values().filter(|lent| lent.gpus.contains(&gpu.index));
        let promised: u64 =
            mine().filter(|lent| lent.since.elapsed() < SETTLING).map(|lent| lent.resources.gpu_memory_bytes).sum();
        GpuOffer {
            index: gpu.index,
            model: gpu.model.clone(),
            memory_bytes: gpu.memory_bytes,
            free_bytes: gpu.free_bytes.saturating_sub(promised),
            driver: gpu.driver.clone(),
            used: mine().fold(GpuUse::Free, |used, lent| used.lend(&lent.resources)),
        }
    }
}

impl Lent {
    /// What was just claimed.
    pub(super) fn claimed(task: &ClaimedTask, kind: JobKind, priority: i32, resources: &Resources) -> Self {
        Self {
            lease: task.lease,
            kind,
            priority,
            resources: resources.clone(),
            gpus: task.gpus.clone(),
            preemptible: task.preemptible,
            asked_back: false,
            since: Instant::now(),
        }
    }

    fn running(&self, attached: &Attached) -> Running {
        Running {
            attempt: (self.lease.task_id, self.lease.attempt),
            worker: attached.row.id,
            gpus: self.gpus.clone(),
            shared_bytes: if self.resources.shared { self.resources.gpu_memory_bytes } else { 0 },
            kind: self.kind,
            priority: self.priority,
            preemptible: self.preemptible,
            at_work: self.since.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster_with(worker: Uuid) -> Roster {
        let row = WorkerReportRow {
            id: worker,
            name: "worker".into(),
            version: String::new(),
            code_version: String::new(),
            slots: 1,
            kinds: vec![JobKind::Probe],
            gpus: Vec::new(),
            labels: BTreeMap::new(),
            draining: false,
            internal: false,
        };
        let roster = Roster::default();
        let (door, _) = mpsc::channel(1);
        roster.attach(Report { row, protocol: 2, running: Vec::new() }, Door::Session(door));
        roster
    }

    #[test]
    fn who_gives_back_what_nobody_asked_for_rests_and_who_makes_room_has_it_at_once() {
        for asked in [false, true] {
            let worker = Uuid::now_v7();
            let roster = roster_with(worker);
            roster.settle(worker, false, Instant::now(), Vec::new());
            let lease = Lease { task_id: Uuid::now_v7(), attempt: 1, token: Uuid::now_v7() };
            let lent = Lent {
                lease,
                kind: JobKind::Probe,
                priority: 1,
                resources: Resources::default(),
                gpus: Vec::new(),
                preemptible: true,
                asked_back: false,
                since: Instant::now(),
            };
            roster.lend(worker, lent);
            if asked {
                roster.asked_back(&[(lease.task_id, lease.attempt)]);
            }
            roster.ended(&[lease], true);
            let (offers, _) = roster.offers(Duration::from_mins(1));
            assert_eq!(!offers.is_empty(), asked);
        }
    }

    #[test]
    fn all_that_a_worker_holds_is_looked_for_when_it_comes_and_when_that_is_due() {
        let worker = Uuid::now_v7();
        let roster = roster_with(worker);
        assert_eq!(roster.pulse().1.searched, [worker]);
        let looks = |search_at| {
            roster.searched(&[worker], search_at);
            roster.state().workers.get_mut(&worker).unwrap().is_fresh = true;
            roster.pulse().1.searched.len()
        };
        assert_eq!(looks(Instant::now() + Duration::from_mins(1)), 0);
        assert_eq!(looks(Instant::now()), 1);
    }

    fn is_draining(roster: &Roster) -> bool {
        roster.offers(Duration::from_mins(1)).0[0].draining
    }

    #[test]
    fn what_a_beat_read_before_an_operator_spoke_does_not_count() {
        let worker = Uuid::now_v7();
        let roster = roster_with(worker);
        let before = Instant::now();
        roster.drain(worker, true);
        roster.settle(worker, false, before, Vec::new());
        assert!(is_draining(&roster));
        std::thread::sleep(Duration::from_millis(1));
        roster.settle(worker, false, Instant::now(), Vec::new());
        assert!(!is_draining(&roster), "another coordinator was told since");
    }
}
