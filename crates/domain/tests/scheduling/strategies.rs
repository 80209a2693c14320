//! Invented workers, requests, lanes and projects.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["zone", "disk", "spot"];
const VALUES: [&str; 3] = ["", "one", "two"];

pub(super) fn kind() -> impl Strategy<Value = JobKind> {
    proptest::sample::select(EVERY_KIND.to_vec())
}

fn some_labels(most: usize) -> impl Strategy<Value = BTreeMap<String, String>> {
    let word = |words: [&'static str; 3]| proptest::sample::select(words.to_vec()).prop_map(str::to_owned);
    btree_map(word(NAMES), word(VALUES), 0..=most)
}

pub(super) fn resources() -> impl Strategy<Value = Resources> {
    let gpus = prop_oneof![3 => Just(None), 1 => Just(Some(0)), 4 => (1..4u32).prop_map(Some)];
    let models =
        prop_oneof![4 => Just(vec![]), 1 => Just(vec!["alpha".to_owned()]), 1 => Just(vec!["BETA".to_owned()])];
    let driver = prop_oneof![4 => Just(""), 1 => Just("550.54"), 1 => Just("560")];
    let few = || prop_oneof![3 => Just(BTreeMap::new()), 1 => some_labels(1)];
    (gpus, 0..30_u64, models, driver, any::<bool>(), few(), few()).prop_map(
        |(gpus, gib, gpu_models, driver, shared, labels, avoid_labels)| Resources {
            gpus,
            gpu_memory_bytes: gib * GIB,
            gpu_models,
            min_driver: driver.into(),
            shared: shared && gib > 0 && gpus != Some(0),
            labels,
            avoid_labels,
        },
    )
}

fn some_gpu(index: u32) -> impl Strategy<Value = GpuOffer> {
    let used = prop_oneof![
        3 => Just(GpuUse::Free),
        1 => Just(GpuUse::Exclusive),
        2 => (1..10_u64).prop_map(|gib| GpuUse::Shared { bytes: gib * GIB }),
    ];
    (proptest::sample::select(vec!["Alpha 100", "Beta 7"]), 8..48_u64, 0..48_u64, any::<bool>(), used).prop_map(
        move |(model, gib, elsewhere, is_old, used)| GpuOffer {
            index,
            model: model.into(),
            memory_bytes: gib * GIB,
            free_bytes: gib.saturating_sub(elsewhere.saturating_sub(30)) * GIB,
            driver: if is_old { "535.183" } else { "555.42" }.into(),
            used,
        },
    )
}

/// A worker with something on it.
pub(super) fn offer(number: u128) -> impl Strategy<Value = Offer> {
    let gpus = (0..5_u32).prop_flat_map(|count| (0..count).map(some_gpu).collect::<Vec<_>>());
    let kinds = prop_oneof![5 => Just(EVERY_KIND.to_vec()), 1 => vec(kind(), 1..3)];
    (kinds, 0..5_u32, proptest::bool::weighted(0.1), some_labels(3), gpus, any::<bool>()).prop_map(
        move |(kinds, slots, draining, labels, gpus, cpu_training)| Offer {
            id: Uuid::from_u128(number),
            kinds,
            slots,
            draining,
            labels,
            gpus,
            cpu_training,
        },
    )
}

pub(super) fn offers(most: u128) -> impl Strategy<Value = Vec<Offer>> {
    (1..=most).prop_flat_map(|count| (1..=count).map(offer).collect::<Vec<_>>())
}

/// The same worker with nothing on it, and at least one slot.
pub(super) fn emptied(mut offer: Offer) -> Offer {
    offer.slots = offer.slots.max(1);
    offer.cpu_training = true;
    for gpu in &mut offer.gpus {
        gpu.used = GpuUse::Free;
    }
    offer
}

pub(super) fn lanes(most: i64) -> impl Strategy<Value = Vec<LaneView>> {
    (1..=most).prop_flat_map(|count| (1..=count).map(some_lane).collect::<Vec<_>>())
}

fn some_lane(id: i64) -> impl Strategy<Value = LaneView> {
    let gang = prop_oneof![4 => Just(1_u32), 1 => 2..4_u32];
    (0..3_usize, kind(), 0..10, resources(), 0..12_u32, -9000.0..0.0, gang, proptest::bool::weighted(0.1)).prop_map(
        move |(project, kind, priority, resources, ready, head_ready_at, gang, paused)| LaneView {
            priority,
            ready,
            head_ready_at,
            gang,
            paused,
            ..lane(id, PROJECTS[project], kind, resources)
        },
    )
}

const PROJECTS: [&str; 3] = ["red", "green", "blue"];

pub(super) fn projects() -> impl Strategy<Value = Vec<ProjectView>> {
    PROJECTS.into_iter().map(some_project).collect::<Vec<_>>()
}

fn some_project(name: &'static str) -> impl Strategy<Value = ProjectView> {
    let quota = || option::weighted(0.3, 0..6_u32);
    (0.2..5.0, 0..6_u32, 0..4_u32, quota(), quota(), proptest::bool::weighted(0.1)).prop_map(
        move |(weight, running, gpus, max_running, max_gpus, paused)| ProjectView {
            running,
            gpus,
            max_running,
            max_gpus,
            paused,
            ..project(name, weight)
        },
    )
}
