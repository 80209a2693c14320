//! What must hold of placement and of plans, shown on invented fleets and in invented time.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod classes;
mod explaining;
mod fairness;
mod making_room;
mod placing;
mod plans;
mod preempting;
mod simulator;
mod speed;
mod strategies;
mod waiting;

use std::collections::BTreeMap;

use ursa_domain::JobKind;
use ursa_domain::scheduling::{GpuOffer, GpuUse, LaneView, Offer, ProjectView, Request, Resources};
use uuid::Uuid;

const GIB: u64 = 1 << 30;
const EVERY_KIND: [JobKind; 4] = [JobKind::Scrape, JobKind::Verify, JobKind::Train, JobKind::Probe];

fn worker(number: u128, slots: u32, gpus: Vec<GpuOffer>) -> Offer {
    Offer {
        id: Uuid::from_u128(number),
        kinds: EVERY_KIND.to_vec(),
        slots,
        draining: false,
        labels: BTreeMap::new(),
        gpus,
        cpu_training: true,
    }
}

fn gpus(count: u32, gib: u64) -> Vec<GpuOffer> {
    (0..count).map(|index| gpu(index, gib)).collect()
}

fn gpu(index: u32, gib: u64) -> GpuOffer {
    GpuOffer {
        index,
        model: "Alpha".into(),
        memory_bytes: gib * GIB,
        free_bytes: gib * GIB,
        driver: "550.54".into(),
        used: GpuUse::Free,
    }
}

fn request(kind: JobKind, resources: Resources) -> Request {
    Request { kind, resources }
}

/// So many GPUs with so much memory, exclusively.
fn of_gpus(count: u32, gib: u64) -> Resources {
    Resources { gpus: Some(count), gpu_memory_bytes: gib * GIB, ..Resources::default() }
}

/// A part of one GPU.
fn shared(gib: u64) -> Resources {
    Resources { shared: true, ..of_gpus(1, gib) }
}

fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn lane(id: i64, project: &str, kind: JobKind, resources: Resources) -> LaneView {
    LaneView {
        id,
        project: project.into(),
        kind,
        priority: 4,
        request: request(kind, resources),
        ready: 1,
        head_ready_at: 0.0,
        gang: 1,
        paused: false,
    }
}

fn project(name: &str, weight: f64) -> ProjectView {
    ProjectView { name: name.to_owned(), weight, running: 0, gpus: 0, max_running: None, max_gpus: None, paused: false }
}
