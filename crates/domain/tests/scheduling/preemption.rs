//! What is asked back for a more urgent task.

use proptest::prelude::*;
use ursa_domain::JobKind;
use ursa_domain::scheduling::{
    GpuUse, Keep, LaneView, Offer, ProjectView, Running, assign, assign_keeping, place, preempt,
};
use uuid::Uuid;

use crate::ledger::subsets;
use crate::world::{GIB, any_lane, any_offer, gpu_lane, gpu_worker, lane, project, with, worker};

/// An offer with attempts on it, and those.
fn any_busy_worker(id: u128) -> impl Strategy<Value = (Offer, Vec<Running>)> {
    let gpus = prop::sample::subsequence(vec![0, 1, 2, 3], 0..=3);
    let attempt = (gpus, 0..10, prop::bool::weighted(0.8), prop::bool::weighted(0.3), 0.0..9.0);
    let offer = prop_oneof![any_offer(), Just(gpu_worker(0, 0, &[24; 4]))];
    (offer, prop::collection::vec(attempt, 0..6)).prop_map(move |(offer, attempts)| {
        let mut offer = Offer { id: Uuid::from_u128(id), slots: offer.slots % 2, cpu_training: true, ..offer };
        for gpu in &mut offer.gpus {
            (gpu.used, gpu.free_bytes) = (GpuUse::Free, gpu.memory_bytes);
        }
        let mut running = Vec::new();
        for (number, (gpus, priority, preemptible, shares, started_at)) in attempts.into_iter().enumerate() {
            let shared_bytes = if shares { 8 * GIB } else { 0 };
            let attempt = Running {
                attempt: (Uuid::from_u128(id), number as u32),
                worker: offer.id,
                gpus: gpus.into_iter().filter(|gpu| is_free(&offer, *gpu, shares)).collect(),
                shared_bytes,
                kind: JobKind::Train,
                priority,
                preemptible,
                started_at,
            };
            if attempt.gpus.is_empty() && !std::mem::take(&mut offer.cpu_training) {
                continue;
            }
            hold(&mut offer, &attempt);
            running.push(attempt);
        }
        (offer, running)
    })
}

fn is_free(offer: &Offer, index: u32, shares: bool) -> bool {
    offer.gpus.iter().filter(|gpu| gpu.index == index).any(|gpu| match gpu.used {
        GpuUse::Free => true,
        GpuUse::Shared { bytes } => shares && bytes + 8 * GIB <= gpu.memory_bytes,
        GpuUse::Exclusive => false,
    })
}

fn hold(offer: &mut Offer, attempt: &Running) {
    for gpu in offer.gpus.iter_mut().filter(|gpu| attempt.gpus.contains(&gpu.index)) {
        let lent = if let GpuUse::Shared { bytes } = gpu.used { bytes } else { 0 };
        gpu.used = match attempt.shared_bytes {
            0 => GpuUse::Exclusive,
            bytes => GpuUse::Shared { bytes: lent + bytes },
        };
        gpu.free_bytes -= if attempt.shared_bytes == 0 { gpu.free_bytes } else { attempt.shared_bytes };
    }
}

/// The worker without some attempts, measured anew.
fn without(offer: &Offer, gone: &[Running], running: &[Running]) -> Offer {
    let mut offer = Offer { slots: offer.slots + gone.len() as u32, ..offer.clone() };
    for gpu in &mut offer.gpus {
        (gpu.used, gpu.free_bytes) = (GpuUse::Free, gpu.memory_bytes);
    }
    let stays = |attempt: &&Running| attempt.worker == offer.id && !gone.contains(attempt);
    let staying: Vec<&Running> = running.iter().filter(stays).collect();
    let trains = |attempt: &Running| attempt.gpus.is_empty();
    offer.cpu_training |= gone.iter().any(trains) && !staying.iter().any(|attempt| trains(attempt));
    for attempt in staying {
        hold(&mut offer, attempt);
    }
    offer
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_fewest_that_are_enough_go_and_all_are_less_urgent(
        lane in prop_oneof![any_lane(), (1..5_u32).prop_map(|gpus| LaneView { priority: 9, ..gpu_lane(0, gpus) })],
        (first, mut running) in any_busy_worker(1),
        (second, more) in any_busy_worker(2),
    ) {
        running.extend(more);
        let offers = [first, second];
        let fits = offers.iter().any(|offer| place(offer, &lane.request).is_ok());
        let may_go = |attempt: &&Running| attempt.preemptible && attempt.priority < lane.priority;
        let sets = offers.iter().flat_map(|offer| {
            let there = running.iter().filter(|attempt| attempt.worker == offer.id).filter(may_go).cloned();
            let enough = |gone: &Vec<Running>| place(&without(offer, gone, &running), &lane.request).is_ok();
            subsets(&there.collect::<Vec<_>>()).into_iter().filter(enough)
        });
        let worst = |gone: &Vec<Running>| gone.iter().map(|attempt| attempt.priority).max();
        let best = sets.min_by_key(|gone| (gone.len(), worst(gone)));
        let found = preempt(&lane, &offers, &running);
        if fits || lane.gang > 1 {
            prop_assert_eq!(found, None);
        } else {
            let gone = found.map(|found| running.iter().filter(|one| found.contains(&one.attempt)).cloned().collect());
            prop_assert_eq!(gone.as_ref().map(Vec::len), best.as_ref().map(Vec::len));
            prop_assert_eq!(gone.as_ref().map(worst), best.as_ref().map(worst));
            if let Some(gone) = gone {
                let offer = offers.iter().find(|offer| offer.id == gone[0].worker).unwrap();
                prop_assert!(gone.iter().all(|attempt| attempt.worker == offer.id && may_go(&attempt)));
                prop_assert!(place(&without(offer, &gone, &running), &lane.request).is_ok());
            }
        }
    }
}

fn attempt(number: u32, gpus: &[u32], priority: i32) -> Running {
    Running {
        attempt: (Uuid::nil(), number),
        worker: Uuid::from_u128(1),
        gpus: gpus.to_vec(),
        shared_bytes: 0,
        kind: JobKind::Train,
        priority,
        preemptible: true,
        started_at: f64::from(number),
    }
}

fn numbers(found: Option<Vec<(Uuid, u32)>>) -> Vec<u32> {
    let mut numbers: Vec<u32> = found.into_iter().flatten().map(|(_, number)| number).collect();
    numbers.sort_unstable();
    numbers
}

fn busy(slots: u32, gpus: usize) -> Offer {
    let mut offer = gpu_worker(1, slots, &vec![24; gpus]);
    offer.gpus.iter_mut().for_each(|gpu| gpu.used = GpuUse::Exclusive);
    offer
}

#[test]
fn one_that_has_all_that_is_needed_goes_before_several_of_lower_priority() {
    let running = [attempt(1, &[0], 0), attempt(2, &[1], 0), attempt(3, &[2, 3], 3)];
    assert_eq!(numbers(preempt(&gpu_lane(1, 2), &[busy(4, 4)], &running)), [3]);
}

#[test]
fn of_equals_the_lowest_priority_goes_and_then_the_youngest() {
    let running = [attempt(1, &[0], 1), attempt(2, &[1], 0), attempt(3, &[2], 0), attempt(4, &[3], 1)];
    assert_eq!(numbers(preempt(&gpu_lane(1, 1), &[busy(4, 4)], &running)), [3]);
    assert_eq!(numbers(preempt(&gpu_lane(1, 3), &[busy(4, 4)], &running)), [2, 3, 4]);
}

#[test]
fn work_that_is_not_in_the_way_stays() {
    let probe = Running { kind: JobKind::Probe, ..attempt(1, &[], 0) };
    assert_eq!(numbers(preempt(&gpu_lane(1, 1), &[busy(0, 1)], &[probe.clone(), attempt(2, &[0], 3)])), [2]);
    assert_eq!(numbers(preempt(&lane(1, JobKind::Probe), &[busy(0, 1)], &[probe, attempt(2, &[0], 3)])), [1]);
}

#[test]
fn those_that_share_go_only_as_far_as_memory_is_needed() {
    let mut offer = gpu_worker(1, 4, &[24]);
    (offer.gpus[0].used, offer.gpus[0].free_bytes) = (GpuUse::Shared { bytes: 24 * GIB }, 0);
    let running: Vec<Running> = (1..=3).map(|n| Running { shared_bytes: 8 * GIB, ..attempt(n, &[0], 0) }).collect();
    let asks = |gibibytes| {
        with(gpu_lane(1, 1), |resources| {
            (resources.shared, resources.gpu_memory_bytes) = (true, gibibytes * GIB);
        })
    };
    assert_eq!(numbers(preempt(&asks(8), &[offer.clone()], &running)), [3]);
    assert_eq!(numbers(preempt(&asks(9), &[offer.clone()], &running)), [2, 3]);
    assert_eq!(numbers(preempt(&gpu_lane(1, 1), &[offer.clone()], &running)), [1, 2, 3]);
    // Somebody else uses 10 GiB, which nobody can ask back.
    offer.gpus[0].used = GpuUse::Shared { bytes: 14 * GIB };
    let running: Vec<Running> = (1..=2).map(|n| Running { shared_bytes: 7 * GIB, ..attempt(n, &[0], 0) }).collect();
    assert_eq!(numbers(preempt(&asks(15), &[offer], &running)), []);
}

#[test]
fn many_small_ones_are_weighed_in_a_bounded_time() {
    let offers: Vec<Offer> = (1..=200).map(|id| Offer { id: Uuid::from_u128(id), ..busy(64, 64) }).collect();
    let running: Vec<Running> = (1..=200)
        .flat_map(|worker| {
            (0..64).map(move |gpu| Running { worker: Uuid::from_u128(worker), ..attempt(gpu, &[gpu], 0) })
        })
        .collect();
    assert_eq!(numbers(preempt(&gpu_lane(1, 32), &offers, &running)).len(), 32);
}

#[test]
fn what_was_asked_back_for_a_lane_does_not_go_back_to_whom_it_was_taken_from() {
    let projects = [ProjectView { running: 9, ..project("p") }, ProjectView { running: 1, ..project("q") }];
    let urgent = LaneView { priority: 9, ..lane(1, JobKind::Probe) };
    let victim = LaneView { priority: 0, project: "q".into(), ..lane(2, JobKind::Probe) };
    let (lanes, offers) = ([urgent, victim], [worker(1, 1)]);
    let first = |keeps: &[Keep]| assign_keeping(&lanes, &projects, &offers, keeps, 0.0, 1).assignments[0].lane;
    assert_eq!(first(&[]), 2, "its project has the smaller share");
    assert_eq!(first(&[Keep { worker: offers[0].id, lane: 1 }]), 1);
    assert_eq!(first(&[Keep { worker: offers[0].id, lane: 7 }]), 2, "nobody waits in that lane any more");
    assert!(assign(&lanes, &projects, &offers, 0.0, 1).reserved.is_empty());
}
