//! A coordinator's rounds in virtual time: tasks come, are given out, take their time and end. Every plan is checked by
//! the ledger.

use ursa_domain::JobKind;
use ursa_domain::scheduling::{GpuUse, LaneView, Offer, ProjectView, assign};
use uuid::Uuid;

use crate::ledger::Ledger;
use crate::world::World;

const AT_A_TIME: usize = 512;

#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// Index of its lane.
    lane: usize,
    ready_at: f64,
    duration: f64,
    pub(crate) begun: Option<Begun>,
    pub(crate) has_ended: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub(crate) at: f64,
    pub(crate) worker: Uuid,
    pub(crate) gpus: Vec<u32>,
}

impl Task {
    fn is_at_work(&self) -> bool {
        self.begun.is_some() && !self.has_ended
    }

    fn ends_at(&self) -> Option<f64> {
        self.begun.as_ref().filter(|_| !self.has_ended).map(|begun| begun.at + self.duration)
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Simulation {
    /// Seconds.
    pub(crate) now: f64,
    /// With nothing on them.
    workers: Vec<Offer>,
    /// With nothing at work.
    projects: Vec<ProjectView>,
    pub(crate) lanes: Vec<LaneView>,
    pub(crate) tasks: Vec<Task>,
}

impl Simulation {
    /// Lanes begin empty.
    pub(crate) fn new(workers: Vec<Offer>, projects: Vec<ProjectView>, lanes: Vec<LaneView>) -> Self {
        Self { now: 0.0, workers, projects, lanes, tasks: Vec::new() }
    }

    /// Has a task ready now; returns its index.
    pub(crate) fn submit(&mut self, lane: usize, duration: f64) -> usize {
        self.tasks.push(Task { lane, ready_at: self.now, duration, begun: None, has_ended: false });
        self.tasks.len() - 1
    }

    /// Tasks of a lane that wait.
    pub(crate) fn waiting(&self, lane: usize) -> impl Iterator<Item = usize> {
        let waits = move |task: &Task| task.lane == lane && task.begun.is_none();
        self.tasks.iter().enumerate().filter(move |(_, task)| waits(task)).map(|(index, _)| index)
    }

    /// Tasks and GPUs of a project that are at work.
    pub(crate) fn at_work(&self, project: &str) -> (u32, u32) {
        let tasks = self.tasks.iter().filter(|task| task.is_at_work() && self.lanes[task.lane].project == project);
        tasks.fold((0, 0), |(count, gpus), task| {
            (count + 1, gpus + task.begun.as_ref().map_or(0, |begun| begun.gpus.len() as u32))
        })
    }

    /// Gives out until nothing more can be, then goes on to the end of the next task. False when nothing is at work.
    pub(crate) fn step(&mut self) -> Result<bool, String> {
        self.give_out()?;
        let Some(next) = self.tasks.iter().filter_map(Task::ends_at).min_by(f64::total_cmp) else { return Ok(false) };
        self.now = next;
        for task in self.tasks.iter_mut().filter(|task| task.ends_at().is_some_and(|at| at <= next)) {
            task.has_ended = true;
        }
        Ok(true)
    }

    /// Gives out until nothing more can be.
    pub(crate) fn give_out(&mut self) -> Result<(), String> {
        loop {
            let world = self.world();
            let plan = assign(&world.lanes, &world.projects, &world.offers, self.now, AT_A_TIME);
            Ledger::open(&world).carry_out(&plan, AT_A_TIME)?;
            if plan.assignments.is_empty() {
                return Ok(());
            }
            for one in plan.assignments {
                let lane = one.lane as usize;
                let task = self.waiting(lane).next().ok_or("no task waits")?;
                self.tasks[task].begun = Some(Begun { at: self.now, worker: one.worker, gpus: one.gpus });
            }
        }
    }

    /// What a coordinator sees.
    fn world(&self) -> World {
        let lanes = self.lanes.iter().enumerate().filter_map(|(index, lane)| self.view(index, lane));
        let projects = self.projects.iter().map(|project| {
            let (running, gpus) = self.at_work(&project.name);
            ProjectView { running, gpus, ..project.clone() }
        });
        World {
            lanes: lanes.collect(),
            projects: projects.collect(),
            offers: self.workers.iter().map(|worker| self.offer(worker)).collect(),
        }
    }

    fn view(&self, index: usize, lane: &LaneView) -> Option<LaneView> {
        let head_ready_at = self.tasks[self.waiting(index).next()?].ready_at;
        let waiting = self.waiting(index).count() as u32;
        let ready = if lane.gang > 1 { waiting.min(lane.gang) } else { waiting };
        Some(LaneView { id: index as i64, head_ready_at, ready, ..lane.clone() })
    }

    fn offer(&self, worker: &Offer) -> Offer {
        let mut offer = worker.clone();
        for task in self.tasks.iter().filter(|task| task.is_at_work()) {
            let Some(begun) = task.begun.as_ref().filter(|begun| begun.worker == worker.id) else { continue };
            let lane = &self.lanes[task.lane];
            let resources = &lane.request.resources;
            offer.slots -= 1;
            offer.cpu_training &= lane.kind != JobKind::Train || !begun.gpus.is_empty();
            for gpu in offer.gpus.iter_mut().filter(|gpu| begun.gpus.contains(&gpu.index)) {
                gpu.used = match gpu.used {
                    _ if !resources.shared => GpuUse::Exclusive,
                    GpuUse::Shared { bytes } => GpuUse::Shared { bytes: bytes + resources.gpu_memory_bytes },
                    _ => GpuUse::Shared { bytes: resources.gpu_memory_bytes },
                };
                let taken = if resources.shared { resources.gpu_memory_bytes } else { gpu.memory_bytes };
                gpu.free_bytes = gpu.free_bytes.saturating_sub(taken);
            }
        }
        offer
    }
}
