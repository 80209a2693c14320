use std::time::Duration;

use proptest::prelude::*;

use super::*;
use ursa_domain::scheduling::{self, Running, place};

const LEAST_AT_WORK: Duration = Duration::from_mins(10);

fn preempt(lane: &LaneView, offers: &[Offer], running: &[Running]) -> Option<Vec<(Uuid, u32)>> {
    scheduling::preempt(lane, offers, running, LEAST_AT_WORK)
}

fn running(number: u128, on: u128, priority: i32) -> Running {
    Running {
        attempt: (Uuid::from_u128(number), 1),
        worker: Uuid::from_u128(on),
        gpus: vec![],
        shared_bytes: 0,
        kind: JobKind::Scrape,
        priority,
        preemptible: true,
        at_work: Duration::ZERO,
    }
}

fn with_gpus(gpus: &[u32], attempt: Running) -> Running {
    Running { gpus: gpus.to_vec(), kind: JobKind::Train, ..attempt }
}

fn used(offer: Offer, all: GpuUse) -> Offer {
    let gpus = offer.gpus.iter().map(|gpu| GpuOffer { used: all, ..gpu.clone() }).collect();
    Offer { gpus, ..offer }
}

fn urgent(resources: Resources) -> LaneView {
    LaneView { priority: 5, ..lane(1, "red", JobKind::Train, resources) }
}

fn numbers(attempts: Option<Vec<(Uuid, u32)>>) -> Vec<u128> {
    attempts.unwrap_or_default().into_iter().map(|(task, _)| task.as_u128()).collect()
}

#[test]
fn the_lowest_priority_goes_first_and_then_the_youngest() {
    let offers = [worker(1, 0, vec![]), worker(2, 0, vec![])];
    let probe = LaneView { priority: 5, ..lane(1, "red", JobKind::Probe, Resources::default()) };
    let mut at_work = vec![
        running(1, 1, 3),
        Running { at_work: Duration::from_secs(9), ..running(2, 1, 2) },
        Running { at_work: Duration::from_secs(7), ..running(3, 2, 2) },
        Running { preemptible: false, ..running(4, 1, 0) },
        running(5, 1, 5),
    ];
    assert_eq!(numbers(preempt(&probe, &offers, &at_work)), [3]);
    at_work.retain(|attempt| !attempt.preemptible || attempt.priority >= 5);
    assert_eq!(preempt(&probe, &offers, &at_work), None, "neither its equals nor who must not be disturbed");
}

#[test]
fn what_has_begun_before_is_left_alone_the_longer_the_more_often() {
    let offers = [worker(1, 0, vec![])];
    let probe = LaneView { priority: 5, ..lane(1, "red", JobKind::Probe, Resources::default()) };
    let asked = |number: u32, at_work: Duration| {
        let attempt = Running { attempt: (Uuid::from_u128(1), number), at_work, ..running(1, 1, 2) };
        preempt(&probe, &offers, &[attempt]).is_some()
    };
    let a_moment = Duration::from_secs(1);
    assert!(asked(1, Duration::ZERO), "the first attempt has no peace");
    for number in 2..9 {
        let peace = LEAST_AT_WORK * (number - 1);
        assert!(!asked(number, peace.saturating_sub(a_moment)) && asked(number, peace), "attempt {number}");
    }
    assert!(!asked(u32::MAX, Duration::from_hours(24 * 365)), "without an overflow");
}

#[test]
fn nothing_is_asked_back_when_it_fits_or_nothing_helps() {
    let full = used(worker(1, 4, gpus(1, 24)), GpuUse::Exclusive);
    let at_work = [with_gpus(&[0], running(1, 1, 0))];
    assert_eq!(preempt(&urgent(of_gpus(1, 40)), std::slice::from_ref(&full), &at_work), None);
    assert_eq!(preempt(&urgent(of_gpus(2, 0)), std::slice::from_ref(&full), &at_work), None);
    assert_eq!(numbers(preempt(&urgent(of_gpus(1, 20)), std::slice::from_ref(&full), &at_work)), [1]);
    assert_eq!(preempt(&urgent(of_gpus(1, 20)), &[full, worker(2, 1, gpus(1, 24))], &at_work), None);
}

#[test]
fn one_with_two_gpus_goes_before_two_with_one() {
    let full = used(worker(1, 4, gpus(4, 24)), GpuUse::Exclusive);
    let at_work =
        [with_gpus(&[0], running(1, 1, 0)), with_gpus(&[1], running(2, 1, 0)), with_gpus(&[2, 3], running(3, 1, 4))];
    assert_eq!(numbers(preempt(&urgent(of_gpus(2, 0)), &[full], &at_work)), [3]);
}

#[test]
fn sharers_leave_as_far_as_needed() {
    let full = used(worker(1, 4, gpus(1, 80)), GpuUse::Shared { bytes: 70 * GIB });
    let share = |number, gib: u64, priority| Running {
        shared_bytes: gib * GIB,
        ..with_gpus(&[0], running(number, 1, priority))
    };
    let at_work = [share(1, 10, 0), share(2, 20, 1), share(3, 40, 2)];
    let offers = [full];
    assert_eq!(numbers(preempt(&urgent(shared(20)), &offers, &at_work)), [1]);
    assert_eq!(numbers(preempt(&urgent(shared(30)), &offers, &at_work)), [2]);
    assert_eq!(numbers(preempt(&urgent(shared(60)), &offers, &at_work)), [1, 3]);
    assert_eq!(numbers(preempt(&urgent(of_gpus(1, 0)), &offers, &at_work)), [1, 2, 3]);
}

#[test]
fn a_processor_s_place_for_training_is_asked_back_of_who_has_it() {
    let full = Offer { cpu_training: false, ..worker(1, 2, vec![]) };
    let at_work = [running(1, 1, 0), with_gpus(&[], running(2, 1, 1))];
    assert_eq!(numbers(preempt(&urgent(Resources::default()), &[full], &at_work)), [2]);
}

#[test]
fn a_gang_has_one_asked_back_when_only_one_place_is_missing() {
    let offers = [worker(1, 1, vec![]), worker(2, 0, vec![]), worker(3, 0, vec![])];
    let at_work = [running(1, 2, 0), running(2, 3, 0)];
    let gang = |gang| LaneView { gang, priority: 5, ..lane(1, "red", JobKind::Probe, Resources::default()) };
    assert_eq!(numbers(preempt(&gang(2), &offers, &at_work)), [1]);
    assert_eq!(preempt(&gang(3), &offers, &at_work), None);
}

#[test]
fn a_worker_with_much_on_it_is_answered_for_soon() {
    let full = used(worker(1, 0, gpus(64, 80)), GpuUse::Shared { bytes: 64 * GIB });
    let at_work: Vec<Running> = (0..256)
        .map(|n| Running { shared_bytes: 16 * GIB, ..with_gpus(&[n % 64], running(u128::from(n), 1, n as i32 % 3)) })
        .collect();
    assert_eq!(numbers(preempt(&urgent(of_gpus(16, 0)), &[full], &at_work)).len(), 64);
}

/// A worker that is full with attempts, each with some of its GPUs.
fn a_full_worker() -> impl Strategy<Value = (Offer, Vec<Running>)> {
    let attempt = (proptest::sample::subsequence(vec![0, 1, 2, 3], 0..3), 0..8_i32, any::<bool>(), 0..9_u64);
    (proptest::collection::vec(attempt, 1..7), 0..2_u32).prop_map(|(attempts, slots)| {
        let mut offer = worker(1, slots, gpus(4, 24));
        let mut all = Vec::new();
        for (number, (wanted, priority, preemptible, at_work)) in attempts.into_iter().enumerate() {
            let is_free = |gpu: &u32| offer.gpus[*gpu as usize].used == GpuUse::Free;
            let gpus: Vec<u32> = wanted.into_iter().filter(is_free).collect();
            for gpu in &gpus {
                offer.gpus[*gpu as usize].used = GpuUse::Exclusive;
            }
            let kind = if gpus.is_empty() { JobKind::Scrape } else { JobKind::Train };
            let at_work = Duration::from_secs(at_work);
            all.push(Running { gpus, kind, preemptible, at_work, ..running(number as u128, 1, priority) });
        }
        (offer, all)
    })
}

fn without(offer: &Offer, gone: &[&Running]) -> Offer {
    let mut offer = offer.clone();
    offer.slots += gone.len() as u32;
    for gpu in &mut offer.gpus {
        if gone.iter().any(|attempt| attempt.gpus.contains(&gpu.index)) {
            gpu.used = GpuUse::Free;
        }
    }
    offer
}

proptest! {
    #[test]
    fn no_smaller_set_would_do((offer, at_work) in a_full_worker(), wanted in 0..4_u32) {
        let lane = LaneView { priority: 5, ..lane(1, "red", JobKind::Train, of_gpus(wanted, 20)) };
        let fits = |gone: &[&Running]| place(&without(&offer, gone), &lane.request).is_ok();
        let may: Vec<&Running> = at_work.iter().filter(|attempt| attempt.preemptible && attempt.priority < 5).collect();
        let sets = (0..1_u32 << may.len()).map(|set| -> Vec<&Running> {
            may.iter().enumerate().filter(|(bit, _)| set & (1 << bit) != 0).map(|(_, attempt)| *attempt).collect()
        });
        let smallest = sets.filter(|set| fits(set)).map(|set| set.len()).min();
        let found = preempt(&lane, std::slice::from_ref(&offer), &at_work);
        prop_assert_eq!(found.as_ref().map(Vec::len), smallest.filter(|size| *size > 0));
        let gone: Vec<&Running> = may.into_iter().filter(|attempt| found.iter().flatten().any(|it| *it == attempt.attempt)).collect();
        prop_assert!(found.is_none_or(|found| found.len() == gone.len() && fits(&gone)));
    }
}
