//! One round of giving out tasks: whose turn it is, and what there is to give.

use std::cmp::Reverse;
use std::collections::HashMap;

use uuid::Uuid;

use super::accounts::{Accounts, Class, Totals};
use super::assign::{Assignment, Plan};
use super::lanes::{LaneView, Need, ProjectView};
use super::offer::Offer;
use super::placement::GpuSet;
use super::workers::{WishId, Workers};

/// A lane by its place among those that have tasks, most urgent first.
pub(super) type LaneIndex = usize;

pub(super) struct Round<'a> {
    lanes: Vec<Lane<'a>>,
    accounts: Accounts<'a>,
    /// For every project, and everything projects compete for, its lanes, the most urgent last.
    turns: Vec<Vec<LaneIndex>>,
    workers: Workers<'a>,
    /// Workers that something is kept on.
    kept: Vec<usize>,
    totals: Totals,
    limit: usize,
    gangs: usize,
    assignments: Vec<Assignment>,
    /// Of each assignment, the lane and the worker.
    given: Vec<(LaneIndex, usize)>,
}

struct Lane<'a> {
    view: &'a LaneView,
    account: usize,
    class: Class,
    wish: WishId,
    /// The same of workers without GPUs only: for tasks that can do without, once the project may have no more.
    wish_without_gpus: Option<WishId>,
    /// Tasks not given yet.
    left: u32,
    is_blocked: bool,
}

impl<'a> Round<'a> {
    pub(super) fn new(lanes: &'a [LaneView], projects: &'a [ProjectView], offers: &'a [Offer], limit: usize) -> Self {
        let mut workers = Workers::new(offers);
        let mut accounts = Accounts::new(projects);
        let mut ready: Vec<&LaneView> =
            lanes.iter().filter(|lane| !lane.paused && lane.ready >= lane.at_once()).collect();
        ready.sort_by(|a, b| a.rank().total_cmp(&b.rank()).then(a.id.cmp(&b.id)));
        let lanes = ready.into_iter().map(|view| Lane {
            view,
            account: accounts.find(&view.project),
            class: Class::of(view, offers),
            wish: workers.wish(&view.request, false),
            wish_without_gpus: view.request.is_flexible().then(|| workers.wish(&view.request, true)),
            left: view.ready,
            is_blocked: false,
        });
        let lanes: Vec<Lane<'a>> = lanes.collect();
        Self {
            turns: turns(&lanes),
            totals: accounts.totals(offers),
            lanes,
            accounts,
            workers,
            kept: Vec::new(),
            limit,
            gangs: 0,
            assignments: Vec::new(),
            given: Vec::new(),
        }
    }

    /// Gives out what there is, each time to the project whose turn it is.
    pub(super) fn fill(&mut self) {
        while let Some(lane) = self.next() {
            if self.count(lane) > self.limit - self.assignments.len() {
                // Nobody takes its places meanwhile: its turn is first in the next round.
                return;
            }
            self.give(lane);
        }
    }

    /// The lane whose turn it is: the most urgent of the project with the smallest share.
    fn next(&mut self) -> Option<LaneIndex> {
        let mut first: Option<(f64, LaneIndex)> = None;
        for turn in 0..self.turns.len() {
            let Some(lane) = self.head(turn) else { continue };
            let key = (self.share(lane), lane);
            if first.is_none_or(|first| key.0.total_cmp(&first.0).then(key.1.cmp(&first.1)).is_lt()) {
                first = Some(key);
            }
        }
        first.map(|(_, lane)| lane)
    }

    fn head(&mut self, turn: usize) -> Option<LaneIndex> {
        while let Some(lane) = self.turns[turn].last().copied() {
            let is_too_large = self.count(lane) > self.limit;
            if is_too_large && self.is_open(lane) {
                // Whether there is room for it at all says whether others are to make some.
                self.fits(lane);
            }
            if !is_too_large && !self.lanes[lane].is_blocked && self.is_open(lane) {
                return Some(lane);
            }
            self.turns[turn].pop();
        }
        None
    }

    /// What the lane's project has of what it asks for, in the light of its weight.
    pub(super) fn share(&self, lane: LaneIndex) -> f64 {
        self.accounts.share(self.lanes[lane].account, self.lanes[lane].class, &self.totals)
    }

    /// Whether it has tasks left that neither a pause nor a quota holds up.
    pub(super) fn is_open(&self, lane: LaneIndex) -> bool {
        let Lane { view, account, left, .. } = self.lanes[lane];
        left >= view.at_once() && self.accounts.allows(account, view)
    }

    /// Has every project save what is left of its quotas for the most urgent of its lanes that `need` some of it.
    pub(super) fn save_quotas(&mut self, need: impl Fn(&LaneView) -> Need) {
        for lane in self.lanes() {
            let Lane { view, account, .. } = self.lanes[lane];
            let need = need(view);
            if need != Need::default()
                && !self.accounts.is_saving(account)
                && self.accounts.could_ever_allow(account, view)
                && self.is_feasible(lane)
            {
                self.accounts.save(account, view, need);
            }
        }
    }

    /// Whether enough workers could do it if nothing of ours were on them.
    fn is_feasible(&mut self, lane: LaneIndex) -> bool {
        let wish = self.wish(lane);
        self.workers.eligible(wish).len() >= self.count(lane)
    }

    /// Tasks that are placed at once.
    fn count(&self, lane: LaneIndex) -> usize {
        self.lanes[lane].view.at_once() as usize
    }

    fn wish(&self, lane: LaneIndex) -> WishId {
        let Lane { view, account, wish, wish_without_gpus, .. } = self.lanes[lane];
        let with_gpus = Need { gpus: view.at_once(), ..view.need() };
        wish_without_gpus.filter(|_| !self.accounts.has_quota(account, view, with_gpus)).unwrap_or(wish)
    }

    /// Whether its next tasks fit somewhere now.
    pub(super) fn fits(&mut self, lane: LaneIndex) -> bool {
        let wish = self.wish(lane);
        let fits = self.workers.fits(wish, self.count(lane));
        self.lanes[lane].is_blocked |= !fits;
        fits
    }

    /// Places the lane's next tasks; `false` when they fit nowhere, or are more than may be given.
    pub(super) fn give(&mut self, lane: LaneIndex) -> bool {
        let count = self.count(lane);
        if self.assignments.len() + count > self.limit {
            return false;
        }
        let Some(given) = self.workers.give(self.wish(lane), count) else {
            self.lanes[lane].is_blocked = true;
            return false;
        };
        let gang = (count > 1).then_some(self.gangs);
        self.gangs += usize::from(count > 1);
        let Lane { view, account, left, .. } = &mut self.lanes[lane];
        // The tasks of another gang belong to another job: only who looks again knows them.
        *left = if count > 1 { 0 } else { *left - 1 };
        for (worker, gpus) in given {
            self.accounts.charge(*account, view, gpus.len() as u32);
            self.given.push((lane, worker));
            self.assignments.push(Assignment { lane: view.id, worker: self.workers.id(worker), gpus, gang });
        }
        true
    }

    /// Every lane, most urgent first.
    pub(super) fn lanes(&self) -> std::ops::Range<LaneIndex> {
        0..self.lanes.len()
    }

    pub(super) fn view(&self, lane: LaneIndex) -> &'a LaneView {
        self.lanes[lane].view
    }

    /// The lane with an id, if it is open.
    pub(super) fn find_open(&self, id: i64) -> Option<LaneIndex> {
        self.lanes().find(|lane| self.view(*lane).id == id && self.is_open(*lane))
    }

    /// How many times the weight of the lane's project everybody who waits has together.
    pub(super) fn weights(&self, lane: LaneIndex) -> f64 {
        let mut accounts: Vec<usize> = self.lanes.iter().map(|lane| lane.account).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let all: f64 = accounts.into_iter().map(|account| self.accounts.weight(account)).sum();
        all / self.accounts.weight(self.lanes[lane].account)
    }

    pub(super) fn was_given(&self, lane: LaneIndex) -> bool {
        self.given.iter().any(|(given, _)| *given == lane)
    }

    /// How many tasks of other projects went to workers that could do the lane's.
    pub(super) fn passed_over(&mut self, lane: LaneIndex) -> usize {
        let wish = self.wish(lane);
        let account = self.lanes[lane].account;
        let eligible = self.workers.eligible(wish);
        let is_pass = |(given, worker): &&(LaneIndex, usize)| {
            self.lanes[*given].account != account
                && eligible.binary_search_by_key(worker, |(worker, _)| *worker).is_ok()
        };
        self.given.iter().filter(|given| is_pass(given)).count()
    }

    /// The workers that will most likely be the first to have room for the lane's next tasks.
    pub(super) fn soonest(&mut self, lane: LaneIndex) -> Option<Vec<Uuid>> {
        let wish = self.wish(lane);
        let request = &self.view(lane).request;
        let eligible = self.workers.eligible(wish).to_vec();
        let free = eligible.into_iter().filter(|(worker, _)| !self.kept.contains(worker));
        let mut waits: Vec<_> = free
            .map(|(worker, suitable)| {
                let room = self.workers.room(worker);
                (room.gpus_missing(request, suitable), room.slots == 0, Reverse(room.slots), worker)
            })
            .collect();
        waits.sort_unstable();
        let count = self.count(lane);
        let soonest = waits.into_iter().take(count).map(|(.., worker)| self.workers.id(worker));
        Some(soonest.collect::<Vec<_>>()).filter(|soonest| soonest.len() == count)
    }

    /// Whether a more urgent lane of the same project could use what is to be kept for this one.
    pub(super) fn gives_way(&mut self, lane: LaneIndex, workers: &[Uuid]) -> bool {
        let takes_gpus = |lane: &Lane<'_>| lane.view.request.gpus_on(1) > 0;
        (0..lane).any(|other| {
            self.lanes[other].account == self.lanes[lane].account
                && takes_gpus(&self.lanes[other]) >= takes_gpus(&self.lanes[lane])
                && self.is_open(other)
                && self.could_ever(other, workers) > 0
        })
    }

    /// How many of some workers could do the lane's tasks if nothing of ours were on them.
    pub(super) fn could_ever(&mut self, lane: LaneIndex, workers: &[Uuid]) -> usize {
        self.eligible_of(lane, workers).len()
    }

    /// Keeps what the lane needs of some workers from all others.
    pub(super) fn keep(&mut self, lane: LaneIndex, workers: &[Uuid]) {
        let wish = self.wish(lane);
        for (worker, suitable) in self.eligible_of(lane, workers) {
            self.workers.set_aside(wish, worker, suitable, self.count(lane) > 1);
            self.kept.push(worker);
        }
    }

    /// Whether several tasks may have to end before there is room for the lane's next on some workers.
    pub(super) fn gathers(&mut self, lane: LaneIndex, workers: &[Uuid]) -> bool {
        self.count(lane) > 1
            || self.view(lane).request.gpus_on(1) > 1
            || self
                .eligible_of(lane, workers)
                .into_iter()
                .any(|(worker, gpus)| self.workers.room(worker).shares_any(gpus))
    }

    /// Whether it is the lane's turn, or that of another with no smaller share, of those that fit and compete with it.
    pub(super) fn is_in_turn(&mut self, lane: LaneIndex) -> bool {
        let is_before = |round: &Self, other: LaneIndex| {
            round.lanes[other].class == round.lanes[lane].class
                && round.share(other) < round.share(lane)
                && round.is_open(other)
        };
        !self.lanes().any(|other| is_before(self, other) && self.fits(other))
    }

    fn eligible_of(&mut self, lane: LaneIndex, workers: &[Uuid]) -> Vec<(usize, GpuSet)> {
        let wish = self.wish(lane);
        let eligible = self.workers.eligible(wish).to_vec();
        eligible.into_iter().filter(|(worker, _)| workers.contains(&self.workers.id(*worker))).collect()
    }

    pub(super) fn finish(mut self) -> Plan {
        self.kept.sort_unstable();
        self.kept.dedup();
        Plan {
            blocked: self.lanes.iter().filter(|lane| lane.is_blocked).map(|lane| lane.view.id).collect(),
            reserved: self.kept.iter().map(|worker| self.workers.id(*worker)).collect(),
            assignments: self.assignments,
        }
    }
}

fn turns(lanes: &[Lane<'_>]) -> Vec<Vec<LaneIndex>> {
    let mut numbers = HashMap::new();
    let mut turns: Vec<Vec<LaneIndex>> = Vec::new();
    for (index, lane) in lanes.iter().enumerate().rev() {
        let number = *numbers.entry((lane.account, lane.class)).or_insert_with(|| {
            turns.push(Vec::new());
            turns.len() - 1
        });
        turns[number].push(index);
    }
    turns
}
