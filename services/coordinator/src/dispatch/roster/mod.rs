//! Who is attached to this coordinator, what each has to offer, and what each was given.

mod attached;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tonic::Status;
use ursa_domain::Lease;
use ursa_domain::scheduling::{Offer, Running};
use ursa_proto::v1;
use uuid::Uuid;

use attached::Attached;
pub(super) use attached::Lent;

use crate::store::{Beat, ClaimedTask, WorkerReportRow};

/// A worker that gave something back gets nothing for so long: it may have no room for a while.
const REST: Duration = Duration::from_secs(1);
/// A beat that was on its way when a lease ended is over by then.
const REMEMBER: Duration = Duration::from_mins(1);
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

impl Attachment {
    /// Whose it is.
    pub(super) fn worker(&self) -> Uuid {
        self.worker
    }
}

/// Whom a search is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// Those for whom none has looked yet.
    New,
    /// The others, as far as it is due.
    Known,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    state: Mutex<State>,
    /// News that cannot wait for the next beat.
    pub(super) hurry: Notify,
    /// Somebody new.
    pub(super) newcomers: Notify,
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
    number: u64,
    /// Whether the beat asks for all that it holds.
    is_whole: bool,
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
            since: now,
            reported_at: now,
            is_fresh: true,
            found: None,
            search_at: now,
            is_known: false,
            drain,
            drain_said_at,
            rests_until: now,
            lent: earlier.map(|earlier| earlier.lent).unwrap_or_default(),
            door,
            number,
        };
        state.workers.insert(worker, attached);
        self.newcomers.notify_one();
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

    /// Everything that is known or believed to be held, and by whom.
    pub(super) fn held(&self) -> Vec<(Uuid, Lease)> {
        let state = self.state();
        let of = |attached: &Attached| {
            let listed = attached.running.iter().map(|(lease, ..)| *lease);
            listed.chain(attached.not_listed()).map(|lease| (attached.row.id, lease)).collect::<Vec<_>>()
        };
        state.workers.values().flat_map(of).collect()
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
        for attached in
            state.workers.values_mut().filter(|attached| attached.is_fresh && attached.has_been_searched(now))
        {
            attached.is_fresh = false;
            beat.workers.push(attached.row.clone());
            for (lease, progress, stage) in &attached.running {
                beat.leases.push(*lease);
                beat.progress.push(progress.clone());
                beat.stages.push(*stage);
            }
            beat.others.extend(attached.not_listed());
            pulses.push(Pulse {
                worker: attached.row.id,
                number: attached.number,
                is_whole: attached.found.is_some(),
                protocol: attached.protocol,
                leases: attached.running.iter().map(|(lease, ..)| *lease).collect(),
                reported_at: attached.reported_at,
                door: attached.door.clone(),
            });
        }
        (pulses, beat)
    }

    /// Has the next beat take along what this one did not bring to the database.
    pub(super) fn tell_again(&self, pulses: &[Pulse]) {
        let mut state = self.state();
        for pulse in pulses {
            if let Some(attached) = state.get(Attachment { worker: pulse.worker, number: pulse.number }) {
                attached.is_fresh = true;
            }
        }
    }

    /// Whose open attempts are to be looked for.
    pub(super) fn due_for_a_search(&self, whom: Whom) -> Vec<Attachment> {
        let state = self.state();
        let now = Instant::now();
        let is_due = |attached: &&Attached| match whom {
            Whom::New => attached.found.is_none(),
            Whom::Known => attached.found.is_some() && attached.search_at <= now,
        };
        let attachment = |attached: &Attached| Attachment { worker: attached.row.id, number: attached.number };
        state.workers.values().filter(is_due).map(attachment).collect()
    }

    /// When the next search is due.
    pub(super) fn search_again_at(&self, who: &[Attachment], search_at: Instant) {
        let mut state = self.state();
        for attachment in who {
            if let Some(attached) = state.get(*attachment) {
                attached.search_at = search_at;
            }
        }
    }

    /// A claim may have been made that nobody here knows of: everybody is due for a search.
    pub(super) fn doubt(&self) {
        let now = Instant::now();
        self.state().workers.values_mut().for_each(|attached| attached.search_at = now);
    }

    /// Takes in what a search has found, for the next beats to ask about. Whoever is new is given nothing before.
    pub(super) fn found(&self, who: &[Attachment], held: Vec<(Uuid, Lease)>) {
        let mut by_worker: HashMap<Uuid, Vec<Lease>> = HashMap::new();
        for (worker, lease) in held {
            by_worker.entry(worker).or_default().push(lease);
        }
        let mut state = self.state();
        for attachment in who {
            let found = by_worker.remove(&attachment.worker).unwrap_or_default();
            if let Some(attached) = state.get(*attachment)
                && attached.found.replace(found).is_none()
            {
                self.hurry.notify_one();
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
    pub(super) fn settle(&self, pulse: &Pulse, drain: bool, asked_at: Instant, open: Vec<Lent>) {
        let mut state = self.state();
        let State { workers, ended, .. } = &mut *state;
        // A newer session has beats of its own.
        let Some(attached) = workers.get_mut(&pulse.worker).filter(|attached| attached.number == pulse.number) else {
            return;
        };
        if attached.drain_said_at.is_none_or(|said_at| said_at < asked_at) {
            attached.drain = drain;
        }
        attached.is_known |= pulse.is_whole;
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
    pub(super) fn lend(&self, worker: Uuid, mut lent: Lent) {
        let mut state = self.state();
        // A beat that asks from now on asks about it, too.
        lent.since = Instant::now();
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

    /// Whether all of these are attached here.
    pub(crate) fn has_all(&self, mut workers: impl Iterator<Item = Uuid>) -> bool {
        let state = self.state();
        workers.all(|worker| state.workers.contains_key(&worker))
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

#[cfg(test)]
mod tests {
    use ursa_domain::JobKind;
    use ursa_domain::scheduling::Resources;

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
            let pulse = pulse(&roster);
            roster.settle(&pulse, false, Instant::now(), Vec::new());
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

    /// A beat of one worker that has been searched for.
    fn pulse(roster: &Roster) -> Pulse {
        roster.found(&roster.due_for_a_search(Whom::New), Vec::new());
        roster.pulse().0.remove(0)
    }

    #[test]
    fn nothing_is_placed_before_a_beat_has_asked_about_what_a_search_has_found() {
        let worker = Uuid::now_v7();
        let roster = roster_with(worker);
        let is_known = || !roster.offers(Duration::from_mins(1)).0.is_empty();
        assert!(roster.pulse().0.is_empty(), "it waits for the search");
        let lease = Lease { task_id: Uuid::now_v7(), attempt: 1, token: Uuid::now_v7() };
        let newcomers = roster.due_for_a_search(Whom::New);
        assert_eq!((newcomers.len(), roster.due_for_a_search(Whom::Known).len()), (1, 0));
        roster.found(&newcomers, vec![(worker, lease)]);
        assert!(!is_known() && roster.due_for_a_search(Whom::New).is_empty());
        let (pulses, beat) = roster.pulse();
        assert_eq!(beat.others, [lease]);
        roster.settle(&pulses[0], false, Instant::now(), Vec::new());
        assert!(is_known());
        roster.search_again_at(&newcomers, Instant::now() + Duration::from_mins(1));
        assert!(roster.due_for_a_search(Whom::Known).is_empty());
        roster.doubt();
        assert_eq!(roster.due_for_a_search(Whom::Known), newcomers);
    }

    /// Leases run out while Postgres is away: the first beat afterwards has to renew those of everybody who is there.
    #[test]
    fn a_report_that_a_beat_did_not_bring_to_the_database_is_in_the_next_one() {
        let worker = Uuid::now_v7();
        let roster = roster_with(worker);
        let failed = pulse(&roster);
        assert!(roster.pulse().0.is_empty(), "it has said nothing since");
        roster.tell_again(std::slice::from_ref(&failed));
        let (pulses, beat) = roster.pulse();
        assert_eq!((pulses.len(), beat.workers[0].id), (1, worker));
        // Of a session that a newer one has taken the place of, nothing is told.
        let (door, _) = mpsc::channel(1);
        let row = beat.workers[0].clone();
        let newer = roster.attach(Report { row, protocol: 2, running: Vec::new() }, Door::Session(door));
        roster.found(&[newer], Vec::new());
        assert_eq!(roster.pulse().0.len(), 1);
        roster.tell_again(&[failed]);
        assert!(roster.pulse().0.is_empty());
    }

    /// A search may take long while somebody keeps an old transaction open.
    #[test]
    fn a_beat_renews_leases_before_a_search_that_takes_long_is_over() {
        let roster = roster_with(Uuid::now_v7());
        std::thread::sleep(attached::A_SEARCH + Duration::from_millis(10));
        let (pulses, _) = roster.pulse();
        roster.settle(&pulses[0], false, Instant::now(), Vec::new());
        assert!(roster.offers(Duration::from_mins(1)).0.is_empty(), "what it holds is not known yet");
    }

    fn is_draining(roster: &Roster) -> bool {
        roster.offers(Duration::from_mins(1)).0[0].draining
    }

    #[test]
    fn what_a_beat_read_before_an_operator_spoke_does_not_count() {
        let worker = Uuid::now_v7();
        let roster = roster_with(worker);
        let pulse = pulse(&roster);
        let before = Instant::now();
        roster.drain(worker, true);
        roster.settle(&pulse, false, before, Vec::new());
        assert!(is_draining(&roster));
        std::thread::sleep(Duration::from_millis(1));
        roster.settle(&pulse, false, Instant::now(), Vec::new());
        assert!(!is_draining(&roster), "another coordinator was told since");
    }
}
