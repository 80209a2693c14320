//! A round has to be over before anybody notices.

use std::time::{Duration, Instant};

use ursa_domain::JobKind;
use ursa_domain::scheduling::{GpuUse, LaneView, Offer, ProjectView, Resources, assign};

use super::{gpus, lane, of_gpus, project, worker};

/// Many times what it takes, so that a busy machine does not matter and a loop in a loop does.
const AT_MOST: Duration = Duration::from_millis(500);
const WORKERS: u128 = 2000;
const LANES: i64 = 50;
const TASKS: usize = 512;

/// The shortest of a few rounds.
fn measure(what: &str, lanes: &[LaneView], offers: &[Offer], given: usize) {
    let projects: Vec<ProjectView> = (0..5).map(|id| project(&format!("p{id}"), 1.0)).collect();
    let round = || {
        let begun = Instant::now();
        let plan = assign(lanes, &projects, offers, 0.0, TASKS);
        let took = begun.elapsed();
        assert_eq!(plan.assignments.len(), given, "{what}");
        took
    };
    let shortest = (0..5).map(|_| round()).min().unwrap_or_default();
    eprintln!("{what}: {:.1} ms", shortest.as_secs_f64() * 1e3);
    assert!(shortest < AT_MOST, "{what}: {shortest:?}");
}

fn lanes(make: impl Fn(i64) -> LaneView) -> Vec<LaneView> {
    let lane = |id| LaneView { project: format!("p{}", id % 5), priority: (id % 10) as i32, ready: 11, ..make(id) };
    (0..LANES).map(lane).collect()
}

fn gpu_workers() -> Vec<Offer> {
    let gpu_worker = |id: u128| Offer {
        labels: [("host".into(), format!("host-{id}")), ("zone".into(), format!("z{}", id % 7))].into(),
        ..worker(id, 16, gpus(8, 80))
    };
    (0..WORKERS).map(gpu_worker).collect()
}

/// Every lane asks for something else.
fn different(id: i64) -> LaneView {
    let resources = Resources {
        gpu_models: vec!["A100".into(), "alpha".into()],
        min_driver: "535.1".into(),
        avoid_labels: [("zone".into(), format!("z{}", id % 7))].into(),
        ..of_gpus(1 + id as u32 % 4, 10 + id as u64)
    };
    lane(id, "", JobKind::Train, resources)
}

#[test]
fn a_round_over_two_thousand_workers_takes_milliseconds() {
    let probes = lanes(|id| lane(id, "", JobKind::Probe, Resources::default()));
    let slots: Vec<Offer> = (0..WORKERS).map(|id| worker(id, 4, Vec::new())).collect();
    measure("tasks without GPUs", &probes, &slots, TASKS);
    measure("tasks that all ask for something else", &lanes(different), &gpu_workers(), TASKS);
    let mut busy = gpu_workers();
    busy.iter_mut().flat_map(|offer| &mut offer.gpus).for_each(|gpu| gpu.used = GpuUse::Exclusive);
    let waiting = lanes(|id| LaneView { head_ready_at: -100.0, ..different(id) });
    measure("tasks that all fit nowhere and have waited long", &waiting, &busy, 0);
    for offer in &mut busy {
        offer.gpus[0].used = GpuUse::Free;
    }
    measure("tasks that have waited long for a few GPUs of many workers", &waiting, &busy, 13 * 11);
    let gangs = lanes(|id| LaneView { gang: 8, ..different(id) });
    measure("gangs of eight", &gangs, &gpu_workers(), 50 * 8);
}
