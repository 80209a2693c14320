//! The next tasks for the workers that have room.
//!
//! Again and again, the project with the smallest share of what it may have by its weight gets its most urgent task that
//! fits anywhere. Urgency is when a task became ready, less [`PRIORITY_STEP`](super::PRIORITY_STEP) for every level of priority: waiting makes
//! up for priority, so nothing waits for ever. A share is counted in GPUs for tasks that take some, and in tasks for the
//! others.
//!
//! A task that fits nowhere now does not hold up those that do. But one that needs several things at once, and has waited
//! [`RESERVE_AFTER`], has them kept free as they become so, on the workers that lack least: less urgent tasks go
//! elsewhere, and leave enough of its project's quotas. A project that has more than its share keeps nothing free.

use std::collections::HashMap;

use uuid::Uuid;

use super::claims::{Binding, Claims};
use super::fitting::Fitting;
use super::placement::{GpuUse, Offer};
use super::views::{Keep, LaneView, Need, ProjectView, RESERVE_AFTER};

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
    /// Workers that are kept free for lanes that need several things at once, in the order of their ids.
    pub reserved: Vec<Uuid>,
}

/// Gives out at most `limit` tasks. `now` is in seconds since the epoch.
pub fn assign(lanes: &[LaneView], projects: &[ProjectView], offers: &[Offer], now: f64, limit: usize) -> Plan {
    assign_keeping(lanes, projects, offers, &[], now, limit)
}

/// [`assign`], with workers that are being emptied for some lanes.
pub fn assign_keeping(
    lanes: &[LaneView],
    projects: &[ProjectView],
    offers: &[Offer],
    keeps: &[Keep],
    now: f64,
    limit: usize,
) -> Plan {
    let mut round = Round::new(lanes, projects, offers);
    round.keep(keeps);
    round.claim(now);
    round.give_out(limit);
    round.finish()
}

struct Round<'a> {
    /// Most urgent first.
    lanes: Vec<Lane<'a>>,
    projects: Vec<ProjectView>,
    fitting: Fitting<'a>,
    claims: Claims<'a>,
    gangs: usize,
    plan: Plan,
}

struct Lane<'a> {
    view: &'a LaneView,
    project: usize,
    /// Where its request fits.
    table: usize,
    /// Tasks that are placed at once.
    gang: u32,
    /// Tasks left.
    left: u32,
    /// GPUs that each takes, where it takes some.
    gpus: u32,
    /// It fits nowhere any more.
    is_blocked: bool,
}

impl Lane<'_> {
    /// What its next tasks take of its project's quotas at least: those that do without GPUs where there are none need none.
    fn least(&self) -> Need {
        Need { tasks: self.gang, gpus: self.view.request.gpus().unwrap_or_default().saturating_mul(self.gang) }
    }

    /// And at most.
    fn most(&self) -> Need {
        Need { tasks: self.gang, gpus: self.gpus.saturating_mul(self.gang) }
    }
}

impl<'a> Round<'a> {
    fn new(lanes: &'a [LaneView], projects: &[ProjectView], offers: &'a [Offer]) -> Self {
        let mut fitting = Fitting::new(offers);
        let mut projects = projects.to_vec();
        let mut by_name: HashMap<String, usize> =
            projects.iter().enumerate().map(|(index, project)| (project.name.clone(), index)).collect();
        let has_gpus = offers.iter().any(|offer| !offer.gpus.is_empty());
        let mut views: Vec<&LaneView> = lanes.iter().filter(|lane| !lane.paused && lane.ready > 0).collect();
        views.sort_by(|a, b| a.rank().total_cmp(&b.rank()).then(a.id.cmp(&b.id)));
        let mut lane = |view: &'a LaneView| Lane {
            view,
            project: *by_name.entry(view.project.clone()).or_insert_with(|| {
                projects.push(ProjectView::unknown(&view.project));
                projects.len() - 1
            }),
            table: fitting.table(&view.request),
            gang: view.gang.max(1),
            left: view.ready,
            gpus: if has_gpus { view.request.gpus_on(1) } else { 0 },
            is_blocked: false,
        };
        Self {
            lanes: views.into_iter().map(&mut lane).collect(),
            claims: Claims::new(fitting.len()),
            projects,
            fitting,
            gangs: 0,
            plan: Plan::default(),
        }
    }

    /// Keeps workers for the lanes that they are being emptied for.
    fn keep(&mut self, keeps: &[Keep]) {
        for keep in keeps {
            let offer = (0..self.fitting.len()).find(|offer| self.fitting.offer(*offer).id == keep.worker);
            let lane = self.lanes.iter().position(|lane| lane.view.id == keep.lane);
            if let (Some(offer), Some(lane)) = (offer, lane) {
                self.claims.keep(offer, lane, &self.lanes[lane].view.request, Binding::Everybody);
            }
        }
    }

    /// Has things kept free for lanes that need several at once and have waited long.
    fn claim(&mut self, now: f64) {
        let is_sharing = self.fitting.gpus().any(|used| matches!(used, GpuUse::Shared { .. }));
        for index in 0..self.lanes.len() {
            let lane = &self.lanes[index];
            let waits = now - lane.view.head_ready_at > RESERVE_AFTER.as_secs_f64();
            let needs_several = lane.gang > 1 || lane.gpus > 1 || (lane.gpus == 1 && is_sharing);
            if waits && needs_several && lane.left >= lane.gang && self.may_claim(index) {
                self.claim_for(index);
            }
        }
    }

    /// Whether a lane could run by its project's quotas, and its project has no more than its share.
    fn may_claim(&self, index: usize) -> bool {
        let lane = &self.lanes[index];
        let (project, lends_gpus) = (&self.projects[lane.project], lane.gpus > 0);
        if project.ever_holds(lane.least()) {
            return false;
        }
        let mut rivals: Vec<usize> = self.lanes.iter().map(|lane| lane.project).collect();
        rivals.sort_unstable();
        rivals.dedup();
        let rivals = || rivals.iter().map(|project| &self.projects[*project]);
        let share = project.share(lends_gpus);
        let free_gpus = || self.fitting.gpus().filter(|used| *used == GpuUse::Free).count() as f64;
        let free = if lends_gpus { free_gpus() } else { self.fitting.slots() };
        let used: f64 = rivals().map(|project| project.used(lends_gpus)).sum();
        let weights: f64 = rivals().map(ProjectView::weight).sum();
        share < (used + free) / weights || rivals().all(|rival| share <= rival.share(lends_gpus))
    }

    /// Claims the workers that lack least, unless one that would do is kept for a more urgent lane.
    fn claim_for(&mut self, index: usize) {
        let lane = &self.lanes[index];
        let request = &lane.view.request;
        let may_have_gpus = !self.projects[lane.project].ever_holds(lane.most());
        let missing = |offer: usize| {
            let needs_gpus = request.gpus_on(self.fitting.offer(offer).gpus.len()) > 0;
            if needs_gpus && !may_have_gpus { None } else { self.fitting.missing(lane.table, offer) }
        };
        if self.claims.offers(Binding::LessUrgent).any(|offer| missing(offer).is_some()) {
            return;
        }
        let free = (0..self.fitting.len()).filter(|offer| self.claims.is_free(*offer));
        let mut nearest: Vec<(u32, usize)> = free.filter_map(|offer| Some((missing(offer)?, offer))).collect();
        if nearest.len() < lane.gang as usize {
            return;
        }
        nearest.sort_unstable();
        for (_, offer) in nearest.into_iter().take(lane.gang as usize) {
            self.claims.keep(offer, index, request, Binding::LessUrgent);
        }
        let need = if may_have_gpus { lane.most() } else { lane.least() };
        self.claims.keep_quota(index, lane.project, need);
    }

    fn give_out(&mut self, limit: usize) {
        while self.plan.assignments.len() < limit {
            let left = limit - self.plan.assignments.len();
            let Some(next) = self.turn() else { return };
            let gang = self.lanes[next].gang as usize;
            match self.places(next) {
                None => self.lanes[next].is_blocked = true,
                Some(offers) if gang <= left => self.give(next, &offers),
                // Nobody takes its places meanwhile: it is first in the next round.
                Some(_) if left < limit => return,
                Some(_) => self.lanes[next].left = 0,
            }
        }
    }

    /// The lane whose turn it is.
    fn turn(&self) -> Option<usize> {
        let mut has_head = vec![false; self.projects.len()];
        // Lanes are in order: the first of a project is its most urgent, and so is the first of equal shares.
        let is_head = |index: &usize| {
            let lane = &self.lanes[*index];
            let may_go = lane.left >= lane.gang
                && !lane.is_blocked
                && !has_head[lane.project]
                && self.may_have(*index, lane.least());
            has_head[lane.project] |= may_go;
            may_go
        };
        let heads = (0..self.lanes.len()).filter(is_head);
        heads.min_by(|a, b| self.share(*a).total_cmp(&self.share(*b)))
    }

    fn share(&self, index: usize) -> f64 {
        let lane = &self.lanes[index];
        self.projects[lane.project].share(lane.gpus > 0)
    }

    /// Whether the project's pauses and quotas allow the lane's next tasks to take so much.
    fn may_have(&self, index: usize, need: Need) -> bool {
        let lane = &self.lanes[index];
        let ahead = self.claims.ahead_of(index, lane.project);
        let gpus = if need.gpus > 0 { need.gpus.saturating_add(ahead.gpus) } else { 0 };
        self.projects[lane.project].hold(need.tasks.saturating_add(ahead.tasks), gpus).is_none()
    }

    /// Where the lane's next tasks would go: as many offers as its gang has.
    fn places(&mut self, index: usize) -> Option<Vec<usize>> {
        let lane = &self.lanes[index];
        let request = &lane.view.request;
        let may_have_gpus = self.may_have(index, lane.most());
        let claims = &self.claims;
        let allowed = |at: usize, offer: &Offer, room: &_| {
            claims.allow(at, index, request, offer, room) && (may_have_gpus || request.gpus_on(offer.gpus.len()) == 0)
        };
        self.fitting.best(lane.table, lane.gang as usize, allowed)
    }

    fn give(&mut self, index: usize, offers: &[usize]) {
        let lane = &mut self.lanes[index];
        let gang = (lane.gang > 1).then_some(self.gangs);
        self.gangs += usize::from(gang.is_some());
        let project = &mut self.projects[lane.project];
        for offer in offers {
            let gpus = self.fitting.put(lane.table, *offer);
            project.running = project.running.saturating_add(1);
            project.gpus = project.gpus.saturating_add(gpus.len() as u32);
            let worker = self.fitting.offer(*offer).id;
            self.plan.assignments.push(Assignment { lane: lane.view.id, worker, gpus, gang });
        }
        // The tasks of another gang belong to another job: they are looked at anew.
        lane.left = if lane.gang > 1 { 0 } else { lane.left - 1 };
        if self.claims.release(index) {
            for lane in &mut self.lanes {
                lane.is_blocked = false;
            }
        }
    }

    fn finish(mut self) -> Plan {
        let blocked = self.lanes.iter().filter(|lane| lane.is_blocked);
        self.plan.blocked = blocked.map(|lane| lane.view.id).collect();
        let reserved = self.claims.offers(Binding::LessUrgent);
        self.plan.reserved = reserved.map(|offer| self.fitting.offer(offer).id).collect();
        self.plan
    }
}
