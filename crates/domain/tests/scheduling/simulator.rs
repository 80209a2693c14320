//! Workers, lanes and projects in invented time. It keeps its own books, and checks every plan against them, and whatever is
//! asked back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use ursa_domain::scheduling::{Assignment, Plan, Promises, Running, assign};

/// What is asked back is gone after so many seconds, unless it ends before.
pub(super) const LEAVES_WITHIN: f64 = 5.0;

pub(super) struct World {
    pub(super) now: f64,
    pub(super) limit: usize,
    pub(super) lanes: Vec<Lane>,
    pub(super) projects: Vec<ProjectView>,
    pub(super) started: Vec<Started>,
    pub(super) asked: Vec<Asked>,
    /// With nothing on them.
    workers: Vec<Offer>,
    running: Vec<Work>,
    /// `None` is for a planner that forgets everything.
    promises: Option<Promises>,
    /// What attempts have in peace for each one before; `None` where nothing is asked back.
    least_at_work: Option<Duration>,
    /// Of a task.
    last_id: u128,
}

pub(super) struct Lane {
    /// What is ready of it is worked out.
    pub(super) view: LaneView,
    preemptible: bool,
    /// In the order in which they become ready.
    tasks: Vec<Task>,
}

#[derive(Debug, Clone, Copy)]
struct Task {
    id: u128,
    ready_at: f64,
    /// How long it takes, in seconds: all of it again where it was asked back.
    seconds: f64,
    /// How often it has begun.
    attempts: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    pub(super) lane: i64,
    pub(super) ready_at: f64,
    pub(super) at: f64,
}

/// Somebody was asked to make room for a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) lane: i64,
    pub(super) at: f64,
    /// How many tasks had started until then.
    pub(super) started: usize,
}

struct Work {
    lane: usize,
    worker: usize,
    gpus: Vec<u32>,
    task: Task,
    began_at: f64,
    /// When it ends, or has made room.
    ends_at: f64,
    asked_back: bool,
    /// Whether it is not done when it ends.
    begins_again: bool,
}

impl World {
    pub(super) fn new(workers: Vec<Offer>, projects: Vec<ProjectView>) -> Self {
        Self {
            now: 0.0,
            limit: 1000,
            lanes: Vec::new(),
            projects,
            started: Vec::new(),
            asked: Vec::new(),
            workers,
            running: Vec::new(),
            promises: Some(Promises::default()),
            least_at_work: None,
            last_id: 0,
        }
    }

    /// Has less urgent work asked back for what is blocked.
    pub(super) fn preempting(mut self, least_at_work: Duration) -> Self {
        self.least_at_work = Some(least_at_work);
        self
    }

    pub(super) fn forgetful(mut self) -> Self {
        self.promises = None;
        self
    }

    /// Adds a lane with tasks that become ready at times and take a while, both in seconds.
    pub(super) fn with(mut self, view: LaneView, tasks: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let task = |(ready_at, seconds)| {
            self.last_id += 1;
            Task { id: self.last_id, ready_at, seconds, attempts: 0 }
        };
        let tasks = tasks.into_iter().map(task).collect();
        self.lanes.push(Lane { view, preemptible: false, tasks });
        self
    }

    /// As [`World::with`], of tasks that may be asked back.
    pub(super) fn with_preemptible(self, view: LaneView, tasks: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut world = self.with(view, tasks);
        world.lanes.last_mut().unwrap().preemptible = true;
        world
    }

    /// Goes on until a time.
    pub(super) fn run(mut self, until: f64) -> Self {
        while self.now < until {
            self.give_out();
            self.wait();
        }
        self
    }

    /// Goes on until nothing more can happen.
    pub(super) fn run_dry(mut self) -> Self {
        loop {
            self.give_out();
            let is_over = self.running.is_empty() && self.next_arrival().is_none();
            if is_over {
                return self;
            }
            self.wait();
        }
    }

    /// Plans again and again until nothing more is given, nor asked back.
    pub(super) fn give_out(&mut self) {
        while self.plan() {}
    }

    /// Whether anything came of it.
    fn plan(&mut self) -> bool {
        let (lanes, projects, offers) = (self.views(), self.project_views(), self.offers());
        let plan = match &mut self.promises {
            Some(promises) => promises.assign(&lanes, &projects, &offers, self.now, self.limit),
            None => assign(&lanes, &projects, &offers, self.now, self.limit),
        };
        check(&plan, &lanes, &projects, &offers, self.limit);
        for given in &plan.assignments {
            self.start(given);
        }
        !plan.assignments.is_empty() || self.make_room(&plan.blocked)
    }

    /// Asks less urgent work back for the most urgent lane that something can be done for, as the dispatcher does.
    fn make_room(&mut self, blocked: &[i64]) -> bool {
        let Some(least_at_work) = self.least_at_work else { return false };
        let (lanes, offers, running) = (self.views(), self.offers(), self.at_work());
        let Some(promises) = &mut self.promises else { return false };
        let mut waiting: Vec<&LaneView> = lanes.iter().filter(|lane| blocked.contains(&lane.id)).collect();
        waiting.sort_by_key(|lane| Reverse(lane.priority));
        let asked = waiting
            .into_iter()
            .find_map(|lane| Some((lane, promises.preempt(lane, &offers, &running, least_at_work, self.now)?)));
        let Some((lane, attempts)) = asked else { return false };
        for (task, _) in attempts {
            self.ask_back(lane, task.as_u128(), least_at_work);
        }
        self.asked.push(Asked { lane: lane.id, at: self.now, started: self.started.len() });
        true
    }

    fn ask_back(&mut self, for_lane: &LaneView, task: u128, least_at_work: Duration) {
        let work = self.running.iter_mut().find(|work| work.task.id == task).expect("who is at work");
        let lane = &self.lanes[work.lane];
        assert!(lane.preemptible && !work.asked_back, "who must not be disturbed, or was, is asked");
        assert!(lane.view.priority < for_lane.priority, "room is made for what is no more urgent");
        let at_work = Duration::from_secs_f64(self.now - work.began_at);
        assert!(at_work >= least_at_work * (work.task.attempts - 1), "it had no peace");
        work.asked_back = true;
        let gone_at = self.now + LEAVES_WITHIN;
        if gone_at < work.ends_at {
            (work.ends_at, work.begins_again) = (gone_at, true);
        }
    }

    fn start(&mut self, given: &Assignment) {
        let lane = self.lanes.iter().position(|lane| lane.view.id == given.lane).unwrap();
        let mut task = self.lanes[lane].tasks.remove(0);
        task.attempts += 1;
        let worker = self.workers.iter().position(|worker| worker.id == given.worker).unwrap();
        self.started.push(Started { lane: given.lane, ready_at: task.ready_at, at: self.now });
        self.running.push(Work {
            lane,
            worker,
            gpus: given.gpus.clone(),
            task,
            began_at: self.now,
            ends_at: self.now + task.seconds,
            asked_back: false,
            begins_again: false,
        });
    }

    /// Until something ends or becomes ready, but a minute at most.
    fn wait(&mut self) {
        let ends = self.running.iter().map(|work| work.ends_at);
        self.now = ends.chain(self.next_arrival()).fold(self.now + 60.0, f64::min);
        let ended: Vec<Work> = self.running.extract_if(.., |work| work.ends_at <= self.now).collect();
        for Work { lane, task, .. } in ended.into_iter().filter(|work| work.begins_again) {
            let waits_anew = Task { ready_at: self.now, ..task };
            let tasks = &mut self.lanes[lane].tasks;
            tasks.insert(tasks.partition_point(|other| other.ready_at <= self.now), waits_anew);
        }
    }

    fn next_arrival(&self) -> Option<f64> {
        let next = |lane: &Lane| {
            let arrived = lane.tasks.partition_point(|task| task.ready_at <= self.now);
            lane.tasks.get(arrived).map(|task| task.ready_at)
        };
        self.lanes.iter().filter_map(next).min_by(f64::total_cmp)
    }

    pub(super) fn views(&self) -> Vec<LaneView> {
        let view = |lane: &Lane| {
            let ready = lane.tasks.partition_point(|task| task.ready_at <= self.now) as u32;
            let head_ready_at = lane.tasks.first()?.ready_at;
            // Of gangs, the first job's.
            let ready = if lane.view.gang > 1 { ready.min(lane.view.gang) } else { ready };
            (ready >= lane.view.gang).then(|| LaneView { ready, head_ready_at, ..lane.view.clone() })
        };
        self.lanes.iter().filter_map(view).collect()
    }

    pub(super) fn running(&self, project: &str) -> usize {
        self.running.iter().filter(|work| self.lanes[work.lane].view.project == project).count()
    }

    /// Whether all of a lane's tasks have ended.
    pub(super) fn is_over(&self, id: i64) -> bool {
        let is_idle = |lane: usize| !self.running.iter().any(|work| work.lane == lane);
        self.lanes.iter().enumerate().any(|(lane, it)| it.view.id == id && it.tasks.is_empty() && is_idle(lane))
    }

    pub(super) fn started_of(&self, lane: i64) -> impl Iterator<Item = Started> {
        self.started.iter().copied().filter(move |started| started.lane == lane)
    }

    fn project_views(&self) -> Vec<ProjectView> {
        let view = |project: &ProjectView| {
            let gpus = |work: &Work| {
                if self.lanes[work.lane].view.project == project.name { work.gpus.len() as u32 } else { 0 }
            };
            let gpus = self.running.iter().map(gpus).sum();
            ProjectView { running: self.running(&project.name) as u32, gpus, ..project.clone() }
        };
        self.projects.iter().map(view).collect()
    }

    /// What may be asked back, or must not.
    fn at_work(&self) -> Vec<Running> {
        let running = |work: &Work| {
            let Lane { view, preemptible, .. } = &self.lanes[work.lane];
            let resources = &view.request.resources;
            Running {
                attempt: (Uuid::from_u128(work.task.id), work.task.attempts),
                worker: self.workers[work.worker].id,
                gpus: work.gpus.clone(),
                shared_bytes: if resources.shared { resources.gpu_memory_bytes } else { 0 },
                kind: view.kind,
                priority: view.priority,
                preemptible: *preemptible,
                at_work: Duration::from_secs_f64(self.now - work.began_at),
            }
        };
        self.running.iter().filter(|work| !work.asked_back).map(running).collect()
    }

    pub(super) fn offers(&self) -> Vec<Offer> {
        let mut offers = self.workers.clone();
        for work in &self.running {
            lend(&mut offers[work.worker], &self.lanes[work.lane].view.request, &work.gpus);
        }
        offers
    }
}

/// Books a task, and fails if there is no place for it.
fn lend(offer: &mut Offer, request: &Request, gpus: &[u32]) {
    let resources = &request.resources;
    offer.slots = offer.slots.checked_sub(1).expect("a slot");
    if request.kind == JobKind::Train && gpus.is_empty() {
        assert!(std::mem::take(&mut offer.cpu_training), "two runs train on one processor");
    }
    for index in gpus {
        let gpu = offer.gpus.iter_mut().find(|gpu| gpu.index == *index).expect("a GPU of the worker");
        gpu.used = match gpu.used {
            GpuUse::Free if resources.shared => GpuUse::Shared { bytes: resources.gpu_memory_bytes },
            GpuUse::Free => GpuUse::Exclusive,
            GpuUse::Shared { bytes } if resources.shared => {
                GpuUse::Shared { bytes: bytes + resources.gpu_memory_bytes }
            }
            used => panic!("a GPU that is {used:?} is given to {resources:?}"),
        };
        gpu.free_bytes = gpu.free_bytes.checked_sub(resources.gpu_memory_bytes).expect("memory that is free");
        if let GpuUse::Shared { bytes } = gpu.used {
            assert!(bytes <= gpu.memory_bytes, "more memory is promised than there is");
        }
    }
}

/// Fails unless a plan does nothing that it must not.
pub(super) fn check(plan: &Plan, lanes: &[LaneView], projects: &[ProjectView], offers: &[Offer], limit: usize) {
    assert!(plan.assignments.len() <= limit);
    let mut offers = offers.to_vec();
    let mut projects: BTreeMap<&str, ProjectView> =
        projects.iter().map(|project| (project.name.as_str(), project.clone())).collect();
    for given in &plan.assignments {
        let lane = lanes.iter().find(|lane| lane.id == given.lane).expect("a lane that was given");
        let offer = offers.iter_mut().find(|offer| offer.id == given.worker).expect("a worker that was offered");
        check_one(given, lane, offer);
        lend(offer, &lane.request, &given.gpus);
        let project = projects.get_mut(lane.project.as_str()).unwrap();
        project.running += 1;
        project.gpus += given.gpus.len() as u32;
        assert!(!project.paused && !lane.paused, "what is paused begins");
        let within = |max: Option<u32>, used: u32, more: usize| more == 0 || max.is_none_or(|max| used <= max);
        assert!(within(project.max_running, project.running, 1), "too many tasks at work");
        assert!(within(project.max_gpus, project.gpus, given.gpus.len()), "too many GPUs at work");
    }
    check_gangs(plan, lanes);
    check_counts(plan, lanes);
}

fn check_one(given: &Assignment, lane: &LaneView, offer: &Offer) {
    let Resources { gpus, gpu_memory_bytes, gpu_models, min_driver, labels, avoid_labels, .. } =
        &lane.request.resources;
    assert!(!offer.draining && offer.kinds.contains(&lane.kind));
    let has = |(name, value): (&String, &String)| {
        offer.labels.get(name).is_some_and(|found| value.is_empty() || found == value)
    };
    assert!(labels.iter().all(has) && !avoid_labels.iter().any(has));
    let flexible = u32::from(lane.kind == JobKind::Train && !offer.gpus.is_empty());
    assert_eq!(given.gpus.len() as u32, gpus.unwrap_or(flexible), "the number of GPUs");
    assert_eq!(given.gpus.iter().collect::<BTreeSet<_>>().len(), given.gpus.len(), "a GPU is given twice");
    for gpu in offer.gpus.iter().filter(|gpu| given.gpus.contains(&gpu.index)) {
        let is_model = |part: &String| gpu.model.to_lowercase().contains(&part.to_lowercase());
        assert!(gpu_models.is_empty() || gpu_models.iter().any(is_model));
        assert!(gpu.driver >= *min_driver, "drivers here are as long as each other");
        assert!(gpu.free_bytes >= *gpu_memory_bytes);
    }
}

fn check_gangs(plan: &Plan, lanes: &[LaneView]) {
    let mut gangs: BTreeMap<usize, Vec<&Assignment>> = BTreeMap::new();
    for given in &plan.assignments {
        match given.gang {
            Some(gang) => gangs.entry(gang).or_default().push(given),
            None => assert!(lanes.iter().any(|lane| lane.id == given.lane && lane.gang == 1)),
        }
    }
    for gang in gangs.values() {
        let lane = lanes.iter().find(|lane| lane.id == gang[0].lane).unwrap();
        assert_eq!(gang.len() as u32, lane.gang, "a gang is placed in part");
        assert!(gang.iter().all(|given| given.lane == lane.id));
        let workers: BTreeSet<Uuid> = gang.iter().map(|given| given.worker).collect();
        assert_eq!(workers.len(), gang.len(), "two of a gang are on one worker");
    }
}

fn check_counts(plan: &Plan, lanes: &[LaneView]) {
    for lane in lanes {
        let given = plan.assignments.iter().filter(|given| given.lane == lane.id).count();
        assert!(given as u32 <= lane.ready, "more tasks are given than are ready");
    }
}
