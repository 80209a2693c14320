//! One round of giving out, in any state of the world.

use std::slice::from_ref;

use proptest::prelude::*;
use ursa_domain::JobKind;
use ursa_domain::scheduling::{GpuUse, Keep, LaneView, Plan, ProjectView, assign, assign_keeping};
use uuid::Uuid;

use crate::ledger::Ledger;
use crate::world::{GIB, World, any_offer, gpu_lane, gpu_worker, lane, project, with, worker, worlds};

fn plan(world: &World, limit: usize) -> Plan {
    assign(&world.lanes, &world.projects, &world.offers, 0.0, limit)
}

fn workers_of(plan: &Plan, lane: i64) -> Vec<u128> {
    plan.assignments.iter().filter(|one| one.lane == lane).map(|one| one.worker.as_u128()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_plan_gives_nothing_that_is_not_there(world in worlds(), limit in 0_usize..12) {
        let plan = plan(&world, limit);
        Ledger::open(&world).carry_out(&plan, limit).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_plan_does_not_depend_on_the_order_of_what_it_is_told(world in worlds(), limit in 0_usize..12) {
        let mut turned = world.clone();
        turned.lanes.reverse();
        turned.projects.reverse();
        turned.offers.reverse();
        prop_assert_eq!(plan(&world, limit), plan(&turned, limit));
    }

    #[test]
    fn nothing_that_fits_is_forgotten(world in worlds()) {
        let plan = plan(&world, 1000);
        let mut ledger = Ledger::open(&world);
        ledger.carry_out(&plan, 1000).map_err(TestCaseError::fail)?;
        // Quotas may be kept for others, too.
        if plan.reserved.is_empty() {
            prop_assert_eq!(ledger.forgotten(&[]), None, "{:?}", plan);
        }
    }

    #[test]
    fn what_is_blocked_fits_nowhere_and_nobody_works_on_it_twice(world in worlds()) {
        let plan = plan(&world, 1000);
        let known: Vec<i64> = world.lanes.iter().filter(|lane| lane.ready > 0 && !lane.paused).map(|lane| lane.id).collect();
        prop_assert!(plan.blocked.iter().all(|lane| known.contains(lane)));
        let rank = |id: &i64| world.lanes.iter().find(|lane| lane.id == *id).map(LaneView::rank);
        prop_assert!(plan.blocked.is_sorted_by(|a, b| rank(a) <= rank(b)));
        for one in &plan.assignments {
            let given = workers_of(&plan, one.lane).len();
            prop_assert!(given <= world.lanes[one.lane as usize].ready as usize);
        }
    }

    #[test]
    fn a_worker_that_is_emptied_for_a_lane_is_left_alone(offer in any_offer(), world in worlds()) {
        let keep = Keep { worker: Uuid::from_u128(99), lane: 98 };
        let mut world = world;
        world.offers.push(ursa_domain::scheduling::Offer { id: keep.worker, ..offer });
        world.lanes.push(gpu_lane(98, 4));
        let plan = assign_keeping(&world.lanes, &world.projects, &world.offers, &[keep], 0.0, 100);
        let there = plan.assignments.iter().filter(|one| one.worker == keep.worker);
        if workers_of(&plan, 98).is_empty() {
            let left = world.offers.last().map_or(0, |offer| offer.slots) as usize - there.clone().count();
            prop_assert!(there.clone().all(|one| one.gpus.is_empty()));
            prop_assert!(there.count() == 0 || left > 0);
        }
    }
}

#[test]
fn within_a_project_the_most_urgent_goes_first_and_waiting_makes_up_for_priority() {
    let old = LaneView { priority: 3, head_ready_at: -601.0, ..lane(1, JobKind::Probe) };
    let urgent = lane(2, JobKind::Probe);
    let first = |lanes: &[LaneView]| assign(lanes, &[], &[worker(1, 1)], 0.0, 9).assignments[0].lane;
    assert_eq!(first(&[old.clone(), urgent.clone()]), 1);
    assert_eq!(first(&[LaneView { head_ready_at: -599.0, ..old }, urgent]), 2);
}

#[test]
fn equal_shares_go_by_urgency() {
    let of = |id, project: &str, priority| LaneView { project: project.into(), priority, ..lane(id, JobKind::Probe) };
    let projects = [project("p"), project("q")];
    let first = |p, q| assign(&[of(1, "p", p), of(2, "q", q)], &projects, &[worker(1, 1)], 0.0, 9).assignments[0].lane;
    assert_eq!(first(5, 4), 1);
    assert_eq!(first(4, 5), 2);
}

#[test]
fn a_project_of_next_to_no_weight_gets_one_task_at_a_time() {
    let projects = [ProjectView { weight: 1e-300, ..project("p") }, ProjectView { running: 7, ..project("q") }];
    let of = |id, project: &str| LaneView { project: project.into(), ready: 9, ..lane(id, JobKind::Probe) };
    let plan = assign(&[of(1, "p"), of(2, "q")], &projects, &[worker(1, 4)], 0.0, 9);
    assert_eq!(workers_of(&plan, 1).len(), 1);
    assert_eq!(workers_of(&plan, 2).len(), 3);
}

#[test]
fn gpus_are_shared_out_by_gpus_and_not_by_tasks() {
    let busy = ProjectView { running: 100, ..project("p") };
    let projects = [busy, ProjectView { running: 8, gpus: 8, ..project("q") }];
    let of = |id, project: &str| LaneView { project: project.into(), ..gpu_lane(id, 1) };
    let plan = assign(&[of(1, "p"), of(2, "q")], &projects, &[gpu_worker(1, 4, &[24])], 0.0, 9);
    assert_eq!(workers_of(&plan, 1).len(), 1, "it has no GPU, though many tasks at work");
}

#[test]
fn a_worker_kept_for_many_gpus_is_given_no_gpu_task_and_only_spare_slots() {
    let mut offer = gpu_worker(1, 2, &[24, 24]);
    offer.gpus[0].used = GpuUse::Exclusive;
    let big = LaneView { head_ready_at: -61.0, ..gpu_lane(1, 2) };
    let small = LaneView { ready: 5, ..gpu_lane(2, 1) };
    let probe = LaneView { ready: 5, ..lane(3, JobKind::Probe) };
    let plan = assign(&[big.clone(), small.clone(), probe.clone()], &[], &[offer.clone()], 0.0, 9);
    assert_eq!(plan.reserved, [offer.id]);
    assert_eq!((workers_of(&plan, 2), workers_of(&plan, 3)), (vec![], vec![1]), "one slot is left for the big one");
    let fresh = LaneView { head_ready_at: -59.0, ..big };
    let plan = assign(&[fresh, small, probe], &[], &[offer], 0.0, 9);
    assert_eq!(workers_of(&plan, 2), [1], "nothing is kept before it has waited");
}

#[test]
fn a_more_urgent_task_may_use_what_is_kept_for_a_less_urgent_one() {
    let mut offer = gpu_worker(1, 4, &[24, 24]);
    offer.gpus[0].used = GpuUse::Exclusive;
    let big = LaneView { head_ready_at: -61.0, ..gpu_lane(1, 2) };
    let urgent = LaneView { priority: 9, ..gpu_lane(2, 1) };
    let plan = assign(&[big, urgent], &[], &[offer], 0.0, 9);
    assert_eq!(workers_of(&plan, 2), [1]);
}

#[test]
fn a_task_that_fits_nowhere_ever_keeps_nothing_from_others() {
    let impossible = LaneView { head_ready_at: -7200.0, ..gpu_lane(1, 16) };
    let big = LaneView { head_ready_at: -3600.0, ..gpu_lane(2, 2) };
    let mut offer = gpu_worker(1, 4, &[24, 24]);
    offer.gpus[0].used = GpuUse::Exclusive;
    let plan = assign(&[impossible, big, gpu_lane(3, 1)], &[], &[offer.clone()], 0.0, 9);
    assert_eq!((plan.reserved, plan.blocked), (vec![offer.id], vec![1, 2, 3]));
}

#[test]
fn each_sort_of_worker_can_be_kept_for_somebody() {
    let half_busy = |id, label: &str| {
        let mut offer = gpu_worker(id, 4, &[24, 24]);
        offer.labels = [(label.into(), String::new())].into();
        offer.gpus[0].used = GpuUse::Exclusive;
        offer
    };
    let big = |id, label: &str| {
        let lane = LaneView { head_ready_at: -61.0, ..gpu_lane(id, 2) };
        with(lane, |resources| resources.labels = [(label.into(), String::new())].into())
    };
    let offers = [half_busy(1, "a"), half_busy(2, "b"), half_busy(3, "a")];
    let plan = assign(&[big(1, "a"), big(2, "b"), big(3, "a"), gpu_lane(4, 1)], &[], &offers, 0.0, 9);
    assert_eq!(plan.reserved, [offers[0].id, offers[1].id], "the second that wants an `a` waits for the first");
    assert_eq!(workers_of(&plan, 4), [3]);
}

#[test]
fn quotas_are_kept_for_a_task_that_needs_much_of_them() {
    let projects = [ProjectView { running: 3, gpus: 3, max_gpus: Some(4), ..project("p") }];
    let big = LaneView { head_ready_at: -61.0, ..gpu_lane(1, 4) };
    let offers = [gpu_worker(1, 9, &[24; 8])];
    let given = |big| assign(&[big, gpu_lane(2, 1)], &projects, &offers, 0.0, 9).assignments.len();
    assert_eq!(given(big.clone()), 0);
    assert_eq!(given(LaneView { head_ready_at: 0.0, ..big.clone() }), 1, "it has not waited yet");
    assert_eq!(given(with(big, |resources| resources.gpus = Some(5))), 1, "the quota never allows it");
}

#[test]
fn a_project_with_more_than_its_share_keeps_nothing_free() {
    let mut busy = gpu_worker(1, 9, &[24; 4]);
    busy.gpus[..3].iter_mut().for_each(|gpu| gpu.used = GpuUse::Exclusive);
    let projects =
        [ProjectView { running: 2, gpus: 8, ..project("p") }, ProjectView { running: 3, gpus: 3, ..project("q") }];
    let big = LaneView { head_ready_at: -9000.0, ..gpu_lane(1, 4) };
    let small = LaneView { project: "q".into(), ..gpu_lane(2, 1) };
    let plan = assign(&[big.clone(), small.clone()], &projects, &[busy.clone()], 0.0, 9);
    assert_eq!((workers_of(&plan, 2), plan.reserved), (vec![1], vec![]));
    let turned = [ProjectView { gpus: 3, ..projects[0].clone() }, ProjectView { gpus: 8, ..projects[1].clone() }];
    let plan = assign(&[big, small], &turned, &[busy.clone()], 0.0, 9);
    assert_eq!((workers_of(&plan, 2), plan.reserved), (vec![], vec![busy.id]));
}

#[test]
fn a_gang_keeps_its_workers_and_takes_them_together() {
    let gang = LaneView { gang: 2, ready: 2, head_ready_at: -61.0, ..lane(1, JobKind::Probe) };
    let small = LaneView { ready: 9, ..lane(2, JobKind::Probe) };
    let plan = assign(&[gang.clone(), small.clone()], &[], &[worker(1, 1), worker(2, 0)], 0.0, 9);
    assert_eq!((plan.assignments.len(), plan.reserved.len()), (0, 2));
    let plan = assign(&[gang, small], &[], &[worker(1, 1), worker(2, 1)], 0.0, 9);
    assert_eq!(workers_of(&plan, 1), [1, 2]);
}

#[test]
fn nobody_takes_the_places_of_a_gang_that_the_limit_puts_off() {
    let first = lane(1, JobKind::Probe);
    let gang = LaneView { gang: 2, ready: 2, priority: 3, ..lane(2, JobKind::Probe) };
    let last = LaneView { priority: 2, ready: 9, ..lane(3, JobKind::Probe) };
    let plan = assign(&[first, gang, last], &[], &[worker(1, 2), worker(2, 1)], 0.0, 2);
    assert_eq!((workers_of(&plan, 1).len(), plan.assignments.len()), (1, 1));
}

#[test]
fn a_training_run_goes_to_a_gpu_if_there_is_one_and_other_work_leaves_it_alone() {
    let offers = [worker(1, 9), gpu_worker(2, 2, &[24])];
    let train = LaneView { ready: 2, ..lane(1, JobKind::Train) };
    let plan = assign(&[train, lane(2, JobKind::Probe)], &[], &offers, 0.0, 9);
    assert_eq!((workers_of(&plan, 1), workers_of(&plan, 2)), (vec![2, 1], vec![1]));
}

#[test]
fn training_that_may_have_no_gpu_by_its_quota_goes_to_a_processor() {
    let projects = [ProjectView { max_gpus: Some(0), ..project("p") }];
    let plan = assign(&[lane(1, JobKind::Train)], &projects, &[worker(1, 1), gpu_worker(2, 1, &[24])], 0.0, 9);
    assert_eq!(workers_of(&plan, 1), [1]);
}

#[test]
fn training_that_says_what_its_gpu_must_be_like_goes_to_no_processor() {
    let particular = with(lane(1, JobKind::Train), |resources| resources.gpu_memory_bytes = 20 * GIB);
    assert!(assign(from_ref(&particular), &[], &[worker(1, 1)], 0.0, 9).assignments.is_empty());
    let plan = assign(&[particular], &[], &[worker(1, 1), gpu_worker(2, 1, &[24])], 0.0, 9);
    assert_eq!(workers_of(&plan, 1), [2]);
}

#[test]
fn small_tasks_leave_large_gpus_and_whole_workers_to_others() {
    let small = with(gpu_lane(1, 1), |resources| resources.gpu_memory_bytes = 16 * GIB);
    let mut half = gpu_worker(3, 1, &[24, 24]);
    half.gpus[0].used = GpuUse::Exclusive;
    let offers = [gpu_worker(1, 9, &[80, 80]), gpu_worker(2, 9, &[24, 24]), half];
    let plan = assign(&[small], &[], &offers, 0.0, 9);
    assert_eq!(workers_of(&plan, 1), [3]);
}

#[test]
fn those_that_share_fill_a_gpu_before_they_open_another() {
    let shared = with(LaneView { ready: 5, ..gpu_lane(1, 1) }, |resources| {
        (resources.shared, resources.gpu_memory_bytes) = (true, 10 * GIB);
    });
    let plan = assign(&[shared], &[], &[gpu_worker(1, 9, &[24, 24]), gpu_worker(2, 9, &[24])], 0.0, 9);
    let mut places: Vec<_> = plan.assignments.iter().map(|one| (one.worker.as_u128(), one.gpus[0])).collect();
    places.sort_unstable();
    assert_eq!(places.len(), 5);
    assert_eq!(places.chunk_by(|a, b| a == b).map(<[_]>::len).max(), Some(2));
}

#[test]
fn memory_that_somebody_else_uses_is_promised_to_nobody() {
    let mut offer = gpu_worker(1, 9, &[80]);
    offer.gpus[0].free_bytes = 50 * GIB;
    let shared = with(LaneView { ready: 5, ..gpu_lane(1, 1) }, |resources| {
        (resources.shared, resources.gpu_memory_bytes) = (true, 20 * GIB);
    });
    assert_eq!(assign(from_ref(&shared), &[], from_ref(&offer), 0.0, 9).assignments.len(), 2);
    // 40 GiB of ours, used already: all that is free may be given.
    offer.gpus[0].used = GpuUse::Shared { bytes: 40 * GIB };
    offer.gpus[0].free_bytes = 40 * GIB;
    assert_eq!(assign(from_ref(&shared), &[], from_ref(&offer), 0.0, 9).assignments.len(), 2);
    // 60 GiB of ours, of which nothing is used yet: what was promised is not given again.
    offer.gpus[0].used = GpuUse::Shared { bytes: 60 * GIB };
    offer.gpus[0].free_bytes = 80 * GIB;
    assert_eq!(assign(&[shared], &[], &[offer], 0.0, 9).assignments.len(), 1);
}
