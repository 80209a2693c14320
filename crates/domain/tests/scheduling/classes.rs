use proptest::prelude::*;

use super::*;
use ursa_domain::scheduling::{GpuCount, WorkerClass, place};

fn train(resources: Resources) -> Request {
    request(JobKind::Train, resources)
}

/// Workers with two GPUs of 24 GiB in the cellar.
fn class() -> WorkerClass {
    WorkerClass {
        gpus: GpuCount::Exactly(2),
        gpu_memory_bytes: Some(24 * GIB),
        gpu_model: Some("NVIDIA A10".into()),
        gpu_driver: Some("550.54".into()),
        labels: Some(labels(&[("zone", "cellar")])),
    }
}

#[test]
fn a_task_counts_where_it_would_find_a_place() {
    let default = Resources::default;
    let cases = [
        (default(), Some(1)),
        (of_gpus(2, 24), Some(2)),
        (shared(10), Some(1)),
        (of_gpus(3, 0), None),
        (of_gpus(1, 25), None),
        (Resources { gpu_models: vec!["H100".into(), "a10".into()], ..default() }, Some(1)),
        (Resources { gpu_models: vec!["H100".into()], ..default() }, None),
        (Resources { min_driver: "550.9".into(), ..default() }, Some(1)),
        (Resources { min_driver: "560".into(), ..default() }, None),
        (Resources { labels: labels(&[("zone", "")]), ..default() }, Some(1)),
        (Resources { labels: labels(&[("zone", "attic")]), ..default() }, None),
        (Resources { avoid_labels: labels(&[("zone", "cellar")]), ..default() }, None),
    ];
    for (resources, gpus) in cases {
        assert_eq!(class().gpus_for(&train(resources.clone())), gpus, "{resources:?}");
    }
}

#[test]
fn who_has_gpus_is_there_for_those_who_want_some() {
    let without = WorkerClass { gpus: GpuCount::Exactly(0), ..WorkerClass::default() };
    let scrape = request(JobKind::Scrape, Resources::default());
    assert_eq!(class().gpus_for(&scrape), None);
    assert_eq!(without.gpus_for(&scrape), Some(0));
    assert_eq!(WorkerClass::default().gpus_for(&scrape), Some(0));
    assert_eq!(without.gpus_for(&train(Resources::default())), Some(0), "it learns on the processor there");
    assert_eq!(without.gpus_for(&train(of_gpus(1, 0))), None);
}

proptest! {
    #[test]
    fn a_class_of_which_all_is_said_takes_what_its_workers_take(
        count in 0..4_u32,
        gib in 0..40_u64,
        resources in strategies::resources(),
        kind in strategies::kind(),
    ) {
        let class = WorkerClass {
            gpus: GpuCount::Exactly(count),
            gpu_memory_bytes: Some(gib * GIB),
            gpu_model: Some("Alpha".into()),
            gpu_driver: Some("550.54".into()),
            labels: Some(labels(&[("zone", "one")])),
        };
        let worker = Offer { labels: labels(&[("zone", "one")]), ..worker(1, 1, gpus(count, gib)) };
        let request = request(kind, resources);
        let taken = place(&worker, &request).ok().map(|placement| placement.gpus.len() as u32);
        prop_assert_eq!(class.gpus_for(&request), taken.filter(|taken| *taken > 0 || count == 0));
    }

    #[test]
    fn a_class_of_which_nothing_is_said_takes_what_anybody_takes(
        offer in strategies::offer(1).prop_map(strategies::emptied),
        resources in strategies::resources(),
        kind in strategies::kind(),
    ) {
        let request = request(kind, resources);
        if place(&offer, &request).is_ok() {
            prop_assert!(WorkerClass::default().gpus_for(&request).is_some(), "{:?}", request);
        }
    }
}
