//! An account of a world by somebody else's book-keeping: what a plan may do, checked one assignment at a time.

use std::collections::{BTreeMap, HashMap};

use ursa_domain::JobKind;
use ursa_domain::scheduling::{Assignment, GpuOffer, GpuUse, LaneView, Offer, Plan, ProjectView, Resources};
use uuid::Uuid;

use crate::world::World;

/// What is left while a plan is carried out.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    lanes: BTreeMap<i64, (LaneView, u32)>,
    projects: HashMap<String, ProjectView>,
    offers: BTreeMap<Uuid, Offer>,
    /// Memory that was promised in this plan and is not taken yet, by worker and GPU.
    promised: HashMap<(Uuid, u32), u64>,
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

impl Ledger {
    pub(crate) fn open(world: &World) -> Self {
        Self {
            lanes: world.lanes.iter().map(|lane| (lane.id, (lane.clone(), lane.ready))).collect(),
            projects: world.projects.iter().map(|project| (project.name.clone(), project.clone())).collect(),
            offers: world.offers.iter().map(|offer| (offer.id, offer.clone())).collect(),
            promised: HashMap::new(),
        }
    }

    /// Carries out a plan; what it may not do is an error.
    pub(crate) fn carry_out(&mut self, plan: &Plan, limit: usize) -> Result<(), String> {
        ensure(plan.assignments.len() <= limit, || format!("{} tasks for a limit of {limit}", plan.assignments.len()))?;
        for assignment in &plan.assignments {
            self.assign(assignment).map_err(|reason| format!("{assignment:?}: {reason}"))?;
        }
        for gang in plan.assignments.chunk_by(|a, b| a.gang.is_some() && a.gang == b.gang) {
            self.check_gang(gang)?;
        }
        Ok(())
    }

    fn check_gang(&self, together: &[Assignment]) -> Result<(), String> {
        let (lane, _) = &self.lanes[&together[0].lane];
        let mut workers: Vec<Uuid> = together.iter().map(|assignment| assignment.worker).collect();
        workers.sort_unstable();
        workers.dedup();
        ensure(together.iter().all(|assignment| assignment.lane == lane.id), || "a gang of several lanes".into())?;
        ensure(together[0].gang.is_some() == (lane.gang > 1), || "a gang that is none, or the reverse".into())?;
        ensure(workers.len() == together.len() && workers.len() == lane.gang.max(1) as usize, || {
            format!("{} workers for {} tasks of a gang of {}", workers.len(), together.len(), lane.gang)
        })
    }

    fn assign(&mut self, assignment: &Assignment) -> Result<(), String> {
        let (lane, left) = self.lanes.get_mut(&assignment.lane).ok_or("no such lane")?;
        ensure(*left > 0 && !lane.paused, || format!("{left} tasks left, paused: {}", lane.paused))?;
        *left -= 1;
        let offer = self.offers.get_mut(&assignment.worker).ok_or("no such worker")?;
        check_worker(lane, offer)?;
        offer.slots -= 1;
        let resources = &lane.request.resources;
        let is_particular =
            resources.gpu_memory_bytes > 0 || !resources.gpu_models.is_empty() || !resources.min_driver.is_empty();
        let on_its_own = u32::from(lane.kind == JobKind::Train && (!offer.gpus.is_empty() || is_particular));
        let wanted = resources.gpus.unwrap_or(on_its_own);
        ensure(assignment.gpus.len() == wanted as usize, || format!("it needs {wanted} GPUs"))?;
        if lane.kind == JobKind::Train && wanted == 0 {
            ensure(offer.cpu_training, || "two train on one processor".into())?;
            offer.cpu_training = false;
        }
        for index in &assignment.gpus {
            let gpu = offer.gpus.iter_mut().find(|gpu| gpu.index == *index).ok_or("no such GPU")?;
            lend(gpu, resources, self.promised.entry((offer.id, *index)).or_default())?;
        }
        let Some(project) = self.projects.get_mut(&lane.project) else { return Ok(()) };
        project.running += 1;
        project.gpus += wanted;
        ensure(!project.paused, || "the project is paused".into())?;
        ensure(project.max_running.is_none_or(|max| project.running <= max), || "too many tasks".into())?;
        ensure(wanted == 0 || project.max_gpus.is_none_or(|max| project.gpus <= max), || "too many GPUs".into())
    }

    /// A lane whose next tasks could still be given somewhere but on `reserved`, though they were not.
    pub(crate) fn forgotten(&self, reserved: &[Uuid]) -> Option<i64> {
        self.lanes.values().filter(|(lane, left)| *left >= lane.gang.max(1) && lane.gang <= 1).find_map(|(lane, _)| {
            let offers = self.offers.keys().filter(|id| !reserved.contains(id));
            let fits = offers.into_iter().any(|worker| self.fits(lane, *worker));
            fits.then_some(lane.id)
        })
    }

    fn fits(&self, lane: &LaneView, worker: Uuid) -> bool {
        let offer = &self.offers[&worker];
        let gpus: Vec<u32> = offer.gpus.iter().map(|gpu| gpu.index).collect();
        subsets(&gpus)
            .into_iter()
            .any(|gpus| self.clone().assign(&Assignment { lane: lane.id, worker, gpus, gang: None }).is_ok())
    }
}

fn check_worker(lane: &LaneView, offer: &Offer) -> Result<(), String> {
    let resources = &lane.request.resources;
    let has =
        |name: &String, value: &String| offer.labels.get(name).is_some_and(|found| value.is_empty() || value == found);
    ensure(offer.slots > 0, || "no slot".into())?;
    ensure(!offer.draining, || "it drains".into())?;
    ensure(offer.kinds.contains(&lane.kind), || "not of its kinds".into())?;
    ensure(resources.labels.iter().all(|(name, value)| has(name, value)), || "a label is missing".into())?;
    ensure(!resources.avoid_labels.iter().any(|(name, value)| has(name, value)), || "a label to be avoided".into())
}

fn lend(gpu: &mut GpuOffer, resources: &Resources, promised: &mut u64) -> Result<(), String> {
    let model = gpu.model.to_lowercase();
    let is_wanted = resources.gpu_models.iter().any(|wanted| model.contains(&wanted.to_lowercase()));
    ensure(resources.gpu_models.is_empty() || is_wanted, || format!("model {model}"))?;
    let numbers = |version: &str| version.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>().ok();
    let is_new =
        numbers(&gpu.driver).is_some_and(|found| numbers(&resources.min_driver).is_some_and(|min| found >= min));
    ensure(resources.min_driver.is_empty() || is_new, || format!("driver {}", gpu.driver))?;
    *promised += resources.gpu_memory_bytes;
    ensure(*promised <= gpu.free_bytes, || format!("{promised} bytes promised of {} free", gpu.free_bytes))?;
    gpu.used = match (gpu.used, resources.shared) {
        (GpuUse::Free, false) => GpuUse::Exclusive,
        (GpuUse::Free, true) => GpuUse::Shared { bytes: resources.gpu_memory_bytes },
        (GpuUse::Shared { bytes }, true) => GpuUse::Shared { bytes: bytes + resources.gpu_memory_bytes },
        _ => return Err("the GPU is lent already".into()),
    };
    match gpu.used {
        GpuUse::Shared { bytes } => ensure(bytes <= gpu.memory_bytes, || format!("{bytes} bytes lent of its memory")),
        _ => Ok(()),
    }
}

/// Every subset of a few things.
pub(crate) fn subsets<T: Clone>(of: &[T]) -> Vec<Vec<T>> {
    (0..1_usize << of.len())
        .map(|bits| of.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, one)| one.clone()).collect())
        .collect()
}
