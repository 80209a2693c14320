//! What every project has and may have, as a plan takes shape, and what it is fair to give it next.

use std::collections::HashMap;

use super::lanes::{LaneView, Need, ProjectView, hold};
use super::offer::Offer;

/// What projects compete for. One that has much of one thing still has its turn at another: whoever collects pictures
/// with a hundred slots gets its GPU all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// The coordinator's own time: the most urgent goes first, whose ever it is.
    Own,
    /// Room on workers.
    Slots,
    /// GPUs.
    Gpus,
}

/// Projects by number.
pub(super) struct Accounts<'a> {
    list: Vec<Account>,
    by_name: HashMap<&'a str, usize>,
}

struct Account {
    project: ProjectView,
    /// What of the quotas is saved for lanes of this rank or a better one.
    saved: Option<(f64, Need)>,
}

/// What everybody has together, so that shares of different things can be compared.
pub(super) struct Totals {
    slots: f64,
    gpus: f64,
}

impl Class {
    pub(super) fn of(lane: &LaneView, offers: &[Offer]) -> Self {
        let request = &lane.request;
        let has_gpus = |offer: &Offer| !offer.gpus.is_empty() && offer.kinds.contains(&request.kind);
        if !request.kind.runs_on_workers() {
            Self::Own
        } else if request.gpus_on(1) > 0 && (!request.is_flexible() || offers.iter().any(has_gpus)) {
            Self::Gpus
        } else {
            Self::Slots
        }
    }
}

impl<'a> Accounts<'a> {
    pub(super) fn new(projects: &'a [ProjectView]) -> Self {
        Self {
            list: projects.iter().map(|project| Account { project: project.clone(), saved: None }).collect(),
            by_name: projects.iter().enumerate().map(|(number, project)| (project.name.as_str(), number)).collect(),
        }
    }

    /// A project's number. One of which nothing is known is like any other, without quotas.
    pub(super) fn find(&mut self, name: &'a str) -> usize {
        *self.by_name.entry(name).or_insert_with(|| {
            self.list.push(Account { project: ProjectView::unknown(name), saved: None });
            self.list.len() - 1
        })
    }

    /// Whether neither a pause nor a quota, nor what is saved of one for a more urgent lane, holds a lane's tasks up.
    pub(super) fn allows(&self, number: usize, lane: &LaneView) -> bool {
        hold(lane, &self.list[number].project).is_none() && self.has_quota(number, lane, lane.need())
    }

    /// Whether the quotas leave the lane's next tasks so much.
    pub(super) fn has_quota(&self, number: usize, lane: &LaneView, need: Need) -> bool {
        let Account { project, saved } = &self.list[number];
        let saved = saved.filter(|(rank, _)| lane.rank() > *rank).map(|(_, saved)| saved).unwrap_or_default();
        let gpus = if need.gpus > 0 { need.gpus.saturating_add(saved.gpus) } else { 0 };
        project.exceeded_by(Need { tasks: need.tasks.saturating_add(saved.tasks), gpus }).is_none()
    }

    /// Whether the lane's tasks would be within the quotas if nothing of the project were at work.
    pub(super) fn could_ever_allow(&self, number: usize, lane: &LaneView) -> bool {
        let idle = ProjectView { running: 0, gpus: 0, ..self.list[number].project.clone() };
        idle.exceeded_by(lane.need()).is_none()
    }

    /// Keeps a part of the quotas from the less urgent lanes of the project, unless one is kept for a more urgent lane.
    pub(super) fn save(&mut self, number: usize, lane: &LaneView, need: Need) {
        self.list[number].saved.get_or_insert((lane.rank(), need));
    }

    pub(super) fn is_saving(&self, number: usize) -> bool {
        self.list[number].saved.is_some()
    }

    /// Notes that a task was given, with so many GPUs.
    pub(super) fn charge(&mut self, number: usize, lane: &LaneView, gpus: u32) {
        let Account { project, saved } = &mut self.list[number];
        project.running += 1;
        project.gpus += gpus;
        *saved = saved.filter(|(rank, _)| lane.rank().total_cmp(rank).is_ne());
    }

    /// What a project has of what a lane asks for, in the light of its weight.
    pub(super) fn share(&self, number: usize, class: Class, totals: &Totals) -> f64 {
        let project = &self.list[number].project;
        match class {
            Class::Own => 0.0,
            Class::Slots => f64::from(project.running) / totals.slots / self.weight(number),
            Class::Gpus => f64::from(project.gpus) / totals.gpus / self.weight(number),
        }
    }

    pub(super) fn weight(&self, number: usize) -> f64 {
        let weight = self.list[number].project.weight;
        if weight > 0.0 { weight } else { f64::MIN_POSITIVE }
    }

    pub(super) fn totals(&self, offers: &[Offer]) -> Totals {
        let running: f64 = self.list.iter().map(|account| f64::from(account.project.running)).sum();
        let free: f64 = offers.iter().map(|offer| f64::from(offer.slots)).sum();
        let gpus: usize = offers.iter().map(|offer| offer.gpus.len()).sum();
        Totals { slots: (running + free).max(1.0), gpus: (gpus as f64).max(1.0) }
    }
}
