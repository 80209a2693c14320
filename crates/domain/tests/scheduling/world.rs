//! Workers, lanes and projects to test with: by hand, and drawn.

use proptest::prelude::*;
use ursa_domain::JobKind;
use ursa_domain::scheduling::{GpuOffer, GpuUse, LaneView, Offer, ProjectView, Request, Resources};
use uuid::Uuid;

pub(crate) const GIB: u64 = 1 << 30;

/// A worker without GPUs that takes everything.
pub(crate) fn worker(id: u128, slots: u32) -> Offer {
    Offer {
        id: Uuid::from_u128(id),
        kinds: JobKind::ALL.iter().copied().filter(|kind| kind.runs_on_workers()).collect(),
        slots,
        draining: false,
        labels: [].into(),
        gpus: Vec::new(),
        cpu_training: true,
    }
}

/// The same with GPUs of so many GiB each, all free.
pub(crate) fn gpu_worker(id: u128, slots: u32, gibibytes: &[u64]) -> Offer {
    let gpu = |(index, gibibytes): (usize, &u64)| GpuOffer {
        index: index as u32,
        model: "NVIDIA H100".into(),
        memory_bytes: gibibytes * GIB,
        free_bytes: gibibytes * GIB,
        driver: "550.54".into(),
        used: GpuUse::Free,
    };
    Offer { gpus: gibibytes.iter().enumerate().map(gpu).collect(), ..worker(id, slots) }
}

/// One task that is ready since 0 and needs nothing in particular, of project "p".
pub(crate) fn lane(id: i64, kind: JobKind) -> LaneView {
    LaneView {
        id,
        project: "p".into(),
        kind,
        priority: 4,
        request: Request { kind, resources: Resources::default() },
        ready: 1,
        head_ready_at: 0.0,
        gang: 1,
        paused: false,
    }
}

/// One training task that needs so many GPUs.
pub(crate) fn gpu_lane(id: i64, gpus: u32) -> LaneView {
    with(lane(id, JobKind::Train), |resources| resources.gpus = Some(gpus))
}

/// The lane, with other needs.
pub(crate) fn with(mut lane: LaneView, change: impl FnOnce(&mut Resources)) -> LaneView {
    change(&mut lane.request.resources);
    lane
}

/// Of weight 1, with nothing at work and no quotas.
pub(crate) fn project(name: &str) -> ProjectView {
    ProjectView {
        name: name.into(),
        weight: 1.0,
        running: 0,
        gpus: 0,
        max_running: None,
        max_gpus: None,
        paused: false,
    }
}

/// A few lanes, projects and workers in any state.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) lanes: Vec<LaneView>,
    pub(crate) projects: Vec<ProjectView>,
    pub(crate) offers: Vec<Offer>,
}

pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let lanes = prop::collection::vec(any_lane(), 0..8);
    let projects = (any_project("p"), any_project("q"), any_project("r"));
    let offers = prop::collection::vec(any_offer(), 0..5);
    (lanes, projects, offers).prop_map(|(mut lanes, (p, q, r), mut offers)| {
        for (id, lane) in lanes.iter_mut().enumerate() {
            lane.id = id as i64;
        }
        for (id, offer) in offers.iter_mut().enumerate() {
            offer.id = Uuid::from_u128(id as u128);
        }
        World { lanes, projects: vec![p, q, r], offers }
    })
}

fn any_project(name: &'static str) -> impl Strategy<Value = ProjectView> {
    let weight = prop::sample::select(vec![0.001, 1.0, 3.0, 0.0, -1.0, f64::NAN, f64::INFINITY]);
    let quota = || prop::option::weighted(0.4, 0..8_u32);
    (weight, 0..5_u32, 0..5_u32, quota(), quota(), prop::bool::weighted(0.1)).prop_map(
        move |(weight, running, gpus, max_running, max_gpus, paused)| ProjectView {
            name: name.into(),
            weight,
            running,
            gpus,
            max_running,
            max_gpus,
            paused,
        },
    )
}

pub(crate) fn any_resources() -> impl Strategy<Value = Resources> {
    let gpus = prop::option::of(0..4_u32);
    let memory = prop::sample::select(vec![0, 8 * GIB, 20 * GIB, 40 * GIB]);
    let models = prop::sample::select(vec![vec![], vec!["h100".to_owned()], vec!["A100".to_owned(), "L4".to_owned()]]);
    let driver = prop::sample::select(vec!["", "550.54", "600"]);
    let label = || prop::sample::select(vec![None, Some(("zone", "a")), Some(("zone", "")), Some(("disk", "fast"))]);
    (gpus, memory, models, driver, any::<bool>(), label(), label()).prop_map(
        |(gpus, gpu_memory_bytes, gpu_models, driver, shared, label, avoid)| {
            let labels = |label: Option<(&str, &str)>| label.map(|(name, value)| (name.into(), value.into()));
            Resources {
                gpus,
                gpu_memory_bytes,
                gpu_models,
                min_driver: driver.into(),
                shared: shared && gpu_memory_bytes > 0,
                labels: labels(label).into_iter().collect(),
                avoid_labels: labels(avoid).into_iter().collect(),
            }
        },
    )
}

pub(crate) fn any_lane() -> impl Strategy<Value = LaneView> {
    let kind = prop::sample::select(vec![JobKind::Train, JobKind::Probe, JobKind::Verify]);
    let plain = prop_oneof![2 => Just(Resources::default()), 3 => any_resources()];
    let ready_at = prop_oneof![9 => -7200.0..0.0, 1 => prop::sample::select(vec![f64::NAN, f64::NEG_INFINITY])];
    let gang = prop::sample::select(vec![0, 1, 1, 1, 2, 3]);
    let project = prop::sample::select(vec!["p", "q", "r", "unknown"]);
    (kind, plain, 0..10, 0..6_u32, ready_at, gang, project, prop::bool::weighted(0.1)).prop_map(
        |(kind, resources, priority, ready, head_ready_at, gang, project, paused)| LaneView {
            project: project.into(),
            priority,
            request: Request { kind, resources },
            ready,
            head_ready_at,
            gang,
            paused,
            ..lane(0, kind)
        },
    )
}

pub(crate) fn any_offer() -> impl Strategy<Value = Offer> {
    let kinds = prop::sample::subsequence(vec![JobKind::Train, JobKind::Probe, JobKind::Verify], 1..=3);
    let labels = prop::sample::subsequence(vec![("zone", "a"), ("disk", "fast"), ("disk", "slow")], 0..=2);
    let gpus = prop::collection::vec(any_gpu(), 0..5);
    (kinds, 0..5_u32, prop::bool::weighted(0.1), labels, gpus, any::<bool>()).prop_map(
        |(kinds, slots, draining, labels, mut gpus, cpu_training)| {
            for (index, gpu) in gpus.iter_mut().enumerate() {
                gpu.index = index as u32;
            }
            let labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Offer { kinds, draining, labels, gpus, cpu_training, ..worker(0, slots) }
        },
    )
}

fn any_gpu() -> impl Strategy<Value = GpuOffer> {
    let model = prop::sample::select(vec!["NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4", "Tesla T4"]);
    let memory = prop::sample::select(vec![16 * GIB, 24 * GIB, 80 * GIB]);
    let driver = prop::sample::select(vec!["535.183", "550.54.15", "broken"]);
    let lent = prop::sample::select(vec![None, Some(0), Some(8 * GIB), Some(20 * GIB)]);
    let foreign = prop::sample::select(vec![0, 0, GIB, 10 * GIB]);
    (model, memory, driver, lent, foreign, any::<bool>()).prop_map(
        |(model, memory_bytes, driver, lent, foreign, begun)| {
            // Whoever was given it may not have taken its memory yet.
            let taken = if begun { lent.unwrap_or_default() } else { 0 };
            GpuOffer {
                index: 0,
                model: model.into(),
                memory_bytes,
                free_bytes: memory_bytes.saturating_sub(foreign + taken),
                driver: driver.into(),
                used: match lent {
                    None => GpuUse::Free,
                    Some(0) => GpuUse::Exclusive,
                    Some(bytes) => GpuUse::Shared { bytes: bytes.min(memory_bytes) },
                },
            }
        },
    )
}
