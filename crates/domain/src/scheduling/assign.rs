//! The next tasks for the workers that have room.
//!
//! Again and again, the project with the smallest share of what it may have by its weight gets its most urgent task that
//! fits anywhere. Urgency is when a task became ready, less [`PRIORITY_STEP`] for every level of priority: waiting makes
//! up for priority, so nothing waits for ever. A task that fits nowhere now does not hold up those that do, but once the
//! most urgent one has waited [`RESERVE_AFTER`], the worker that would fit it first is kept free for it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use uuid::Uuid;

use super::placement::{Offer, Request, could_ever_place, place};
use crate::JobKind;

/// What one level of priority is worth in waiting.
pub const PRIORITY_STEP: Duration = Duration::from_mins(10);
/// After so long a task that fits nowhere has a worker kept free for it.
pub const RESERVE_AFTER: Duration = Duration::from_mins(1);

/// Ready tasks that are interchangeable.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneView {
    /// Its id.
    pub id: i64,
    /// Whose tasks they are.
    pub project: String,
    /// Their kind.
    pub kind: JobKind,
    /// Their priority; higher goes first.
    pub priority: i32,
    /// What each needs.
    pub request: Request,
    /// How many there are at least.
    pub ready: u32,
    /// When the first became ready, in seconds since the epoch.
    pub head_ready_at: f64,
    /// Tasks to be placed together, each on another worker; 1 is none.
    pub gang: u32,
    /// Whether its queue is paused.
    pub paused: bool,
}

/// What a project may have, and has.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectView {
    /// Its name.
    pub name: String,
    /// Its share beside the others'.
    pub weight: f64,
    /// Tasks at work.
    pub running: u32,
    /// GPUs at work.
    pub gpus: u32,
    /// Tasks at a time.
    pub max_running: Option<u32>,
    /// GPUs at a time.
    pub max_gpus: Option<u32>,
    /// Whether nothing more begins.
    pub paused: bool,
}

/// One task for one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The lane it comes from.
    pub lane: i64,
    /// Who gets it.
    pub worker: Uuid,
    /// With which GPUs.
    pub gpus: Vec<u32>,
    /// Those with the same number go together.
    pub gang: Option<usize>,
}

/// What [`assign`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In the order of their urgency and fairness.
    pub assignments: Vec<Assignment>,
    /// Lanes whose next task fits nowhere now, though nothing else holds it up; most urgent first.
    pub blocked: Vec<i64>,
    /// Workers that are kept free for the most urgent of those.
    pub reserved: Vec<Uuid>,
}

impl LaneView {
    /// Smaller is more urgent, in seconds.
    pub fn rank(&self) -> f64 {
        self.head_ready_at - f64::from(self.priority) * PRIORITY_STEP.as_secs_f64()
    }
}

/// Gives out at most `limit` tasks. `now` is in seconds since the epoch.
pub fn assign(lanes: &[LaneView], projects: &[ProjectView], offers: &[Offer], now: f64, limit: usize) -> Plan {
    let mut round = Round::new(lanes, projects, offers);
    round.reserve(now);
    while round.plan.assignments.len() < limit {
        let left = limit - round.plan.assignments.len();
        let Some(lane) = round.next_lane(left) else { break };
        round.give(lane);
    }
    round.finish()
}

struct Round<'a> {
    /// Most urgent first.
    lanes: Vec<&'a LaneView>,
    /// Tasks left in each.
    left: Vec<u32>,
    /// Lanes that fit nowhere any more.
    blocked: HashSet<usize>,
    projects: HashMap<&'a str, ProjectView>,
    offers: Vec<Offer>,
    /// Workers that only one lane may use.
    reserved: HashMap<Uuid, usize>,
    gangs: usize,
    plan: Plan,
}

impl<'a> Round<'a> {
    fn new(lanes: &'a [LaneView], projects: &'a [ProjectView], offers: &[Offer]) -> Self {
        let mut lanes: Vec<&LaneView> = lanes.iter().filter(|lane| !lane.paused && lane.ready > 0).collect();
        lanes.sort_by(|a, b| a.rank().total_cmp(&b.rank()).then(a.id.cmp(&b.id)));
        let mut offers = offers.to_vec();
        offers.sort_by_key(|offer| offer.id);
        Self {
            left: lanes.iter().map(|lane| lane.ready).collect(),
            lanes,
            blocked: HashSet::new(),
            projects: projects.iter().map(|project| (project.name.as_str(), project.clone())).collect(),
            offers,
            reserved: HashMap::new(),
            gangs: 0,
            plan: Plan::default(),
        }
    }

    /// Keeps workers free for the most urgent task that has waited long and fits nowhere.
    fn reserve(&mut self, now: f64) {
        let waits = |lane: &LaneView| now - lane.head_ready_at > RESERVE_AFTER.as_secs_f64();
        let starving = (0..self.lanes.len()).find(|index| {
            let lane = self.lanes[*index];
            waits(lane) && self.may_have(lane) && self.places(*index).is_none()
        });
        let Some(index) = starving else { return };
        let lane = self.lanes[index];
        let mut fitting: Vec<&Offer> =
            self.offers.iter().filter(|offer| could_ever_place(offer, &lane.request).is_ok()).collect();
        if fitting.len() < lane.gang as usize {
            return;
        }
        // The one with the least on it is free first.
        fitting.sort_by_key(|offer| (busy_gpus(offer), std::cmp::Reverse(offer.slots), offer.id));
        let kept: Vec<Uuid> = fitting.iter().take(lane.gang as usize).map(|offer| offer.id).collect();
        self.reserved.extend(kept.iter().map(|id| (*id, index)));
        self.plan.reserved = kept;
    }

    /// The lane whose turn it is, of those whose next tasks fit somewhere and are no more than `limit`.
    fn next_lane(&mut self, limit: usize) -> Option<usize> {
        loop {
            let candidates = (0..self.lanes.len()).filter(|index| {
                let lane = self.lanes[*index];
                self.left[*index] >= lane.gang
                    && lane.gang as usize <= limit
                    && !self.blocked.contains(index)
                    && self.may_have(lane)
            });
            // Lanes are in order, so the first of a project is its most urgent.
            let mut heads: Vec<usize> = Vec::new();
            for index in candidates {
                if !heads.iter().any(|head| self.lanes[*head].project == self.lanes[index].project) {
                    heads.push(index);
                }
            }
            let next = heads.into_iter().min_by(|a, b| self.share(*a).total_cmp(&self.share(*b)).then(a.cmp(b)))?;
            if self.places(next).is_some() {
                return Some(next);
            }
            self.blocked.insert(next);
        }
    }

    fn share(&self, lane: usize) -> f64 {
        let project = self.projects.get(self.lanes[lane].project.as_str());
        project.map_or(0.0, |project| f64::from(project.running) / project.weight)
    }

    /// Whether the project's pauses and quotas allow the lane's next tasks.
    fn may_have(&self, lane: &LaneView) -> bool {
        let Some(project) = self.projects.get(lane.project.as_str()) else { return true };
        let gpus = lane.request.gpus_on(1) * lane.gang;
        !project.paused
            && project.max_running.is_none_or(|max| project.running + lane.gang <= max)
            && project.max_gpus.is_none_or(|max| project.gpus + gpus <= max)
    }

    /// Where the lane's next tasks would go: as many workers as its gang has.
    fn places(&self, index: usize) -> Option<Vec<(usize, Vec<u32>)>> {
        let lane = self.lanes[index];
        let wants_gpu = lane.request.gpus_on(1) > 0;
        let mut fitting: Vec<(usize, Vec<u32>)> = Vec::new();
        for (offer_index, offer) in self.offers.iter().enumerate() {
            if self.reserved.get(&offer.id).is_some_and(|kept_for| *kept_for != index) || offer.slots == 0 {
                continue;
            }
            if let Ok(gpus) = place(offer, &lane.request) {
                fitting.push((offer_index, gpus));
            }
        }
        if fitting.len() < lane.gang as usize {
            return None;
        }
        // Spread; work that needs no GPU leaves those that have one alone.
        fitting.sort_by_key(|(offer, _)| {
            let offer = &self.offers[*offer];
            (!wants_gpu && !offer.gpus.is_empty(), std::cmp::Reverse(offer.slots), offer.id)
        });
        fitting.truncate(lane.gang as usize);
        Some(fitting)
    }

    fn give(&mut self, index: usize) {
        let lane = self.lanes[index];
        let Some(places) = self.places(index) else { return };
        let gang = (lane.gang > 1).then_some(self.gangs);
        self.gangs += usize::from(gang.is_some());
        for (offer, gpus) in places {
            self.offers[offer].lend(&lane.request, &gpus);
            if let Some(project) = self.projects.get_mut(lane.project.as_str()) {
                project.running += 1;
                project.gpus += gpus.len() as u32;
            }
            self.plan.assignments.push(Assignment { lane: lane.id, worker: self.offers[offer].id, gpus, gang });
        }
        // The tasks of another gang belong to another job: they are looked at anew.
        self.left[index] = if lane.gang > 1 { 0 } else { self.left[index] - 1 };
    }

    fn finish(mut self) -> Plan {
        let mut blocked: Vec<usize> = self.blocked.into_iter().collect();
        blocked.sort_unstable();
        self.plan.blocked = blocked.into_iter().map(|index| self.lanes[index].id).collect();
        self.plan
    }
}

fn busy_gpus(offer: &Offer) -> usize {
    offer.gpus.iter().filter(|gpu| gpu.used != super::GpuUse::Free).count()
}
