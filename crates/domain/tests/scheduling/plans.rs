use proptest::prelude::*;

use super::*;
use ursa_domain::scheduling::{Hold, Promises, assign, hold};

fn workers_of(plan: &ursa_domain::scheduling::Plan) -> Vec<u128> {
    plan.assignments.iter().map(|given| given.worker.as_u128()).collect()
}

fn plan(lanes: &[LaneView], offers: &[Offer]) -> ursa_domain::scheduling::Plan {
    assign(lanes, &[], offers, 0.0, 100)
}

#[test]
fn work_without_a_gpu_is_spread_and_leaves_workers_with_gpus_a_slot_for_each() {
    let offers = [worker(1, 5, gpus(2, 24)), worker(2, 3, vec![]), worker(3, 2, vec![])];
    let scrape = LaneView { ready: 20, ..lane(1, "red", JobKind::Scrape, Resources::default()) };
    assert_eq!(workers_of(&plan(&[scrape], &offers)), [2, 1, 2, 3, 1, 2, 3, 1, 1, 1]);
}

#[test]
fn work_with_a_gpu_leaves_large_gpus_and_whole_workers_alone() {
    let offers = [worker(1, 9, gpus(4, 24)), worker(2, 9, gpus(2, 24)), worker(3, 9, gpus(1, 80))];
    let train = LaneView { ready: 20, ..lane(1, "red", JobKind::Train, of_gpus(1, 20)) };
    assert_eq!(workers_of(&plan(&[train], &offers)), [2, 2, 1, 1, 1, 1, 3]);
}

#[test]
fn training_that_can_do_without_a_gpu_takes_one_if_there_is_any() {
    let offers = [worker(1, 9, vec![]), worker(2, 2, gpus(1, 24))];
    let train = LaneView { ready: 20, ..lane(1, "red", JobKind::Train, Resources::default()) };
    assert_eq!(workers_of(&plan(&[train], &offers)), [2, 1]);
}

#[test]
fn training_that_can_do_without_a_gpu_does_so_once_its_project_may_have_no_more() {
    let offers = [worker(1, 9, vec![]), worker(2, 2, gpus(2, 24))];
    let train = LaneView { ready: 20, ..lane(1, "red", JobKind::Train, Resources::default()) };
    let red = ProjectView { max_gpus: Some(1), ..project("red", 1.0) };
    assert_eq!(workers_of(&assign(&[train], &[red], &offers, 0.0, 100)), [2, 1]);
}

#[test]
fn a_level_of_priority_is_worth_ten_minutes() {
    let offers = [worker(1, 1, vec![])];
    let waiting = |id, priority, head_ready_at| LaneView {
        priority,
        head_ready_at,
        ..lane(id, "red", JobKind::Scrape, Resources::default())
    };
    let first = |lanes: &[LaneView]| plan(lanes, &offers).assignments[0].lane;
    assert_eq!(first(&[waiting(1, 0, 0.0), waiting(2, 1, 599.0)]), 2);
    assert_eq!(first(&[waiting(1, 0, 0.0), waiting(2, 1, 601.0)]), 1);
}

#[test]
fn what_fits_nowhere_is_told_and_holds_nothing_up() {
    let offers = [worker(1, 4, gpus(1, 24))];
    let lanes = [
        LaneView { head_ready_at: -9.0, ..lane(1, "red", JobKind::Train, of_gpus(1, 40)) },
        lane(2, "red", JobKind::Scrape, Resources::default()),
        LaneView { gang: 2, ready: 2, ..lane(3, "red", JobKind::Probe, Resources::default()) },
        LaneView { paused: true, ..lane(4, "red", JobKind::Probe, Resources::default()) },
    ];
    let plan = plan(&lanes, &offers);
    assert_eq!(plan.assignments.iter().map(|given| given.lane).collect::<Vec<_>>(), [2]);
    assert_eq!(plan.blocked, [1, 3]);
    assert!(plan.reserved.is_empty(), "neither could ever be placed");
}

#[test]
fn what_a_long_waiting_task_needs_of_a_worker_is_kept_and_the_rest_given() {
    let now = 1000.0;
    let mut offers = [worker(1, 8, gpus(2, 24)), worker(2, 8, gpus(2, 24)), worker(3, 8, gpus(1, 24))];
    offers[0].gpus[0].used = GpuUse::Exclusive;
    offers[1].gpus[0].used = GpuUse::Exclusive;
    offers[1].gpus[1].used = GpuUse::Exclusive;
    let large = lane(1, "red", JobKind::Train, of_gpus(2, 24));
    let small = LaneView { head_ready_at: 999.0, ready: 9, ..lane(2, "blue", JobKind::Train, of_gpus(1, 24)) };
    let scrape = LaneView { ready: 9, ..lane(3, "blue", JobKind::Scrape, Resources::default()) };
    let lanes = [large.clone(), small.clone(), scrape];
    let plan = assign(&lanes, &[], &offers, now, 100);
    assert_eq!(plan.reserved, [Uuid::from_u128(1)], "it needs one more GPU there, and two on the other");
    let to = |lane: i64| -> Vec<u128> {
        plan.assignments.iter().filter(|given| given.lane == lane).map(|given| given.worker.as_u128()).collect()
    };
    assert_eq!(to(2), [3]);
    assert!(to(3).contains(&1), "slots are not what is missing");
    let early = LaneView { head_ready_at: now - 59.0, ..large };
    let plan = assign(&[early, small], &[], &offers, now, 100);
    assert!(plan.reserved.is_empty());
    assert_eq!(workers_of(&plan), [1, 3], "nothing is kept for what has not waited long");
}

#[test]
fn a_gang_keeps_slots_until_it_has_enough() {
    let offers = [worker(1, 1, vec![]), worker(2, 0, vec![]), worker(3, 0, vec![])];
    let gang = LaneView { gang: 2, ready: 2, ..lane(1, "red", JobKind::Probe, Resources::default()) };
    let small = LaneView { head_ready_at: 1000.0, ..lane(2, "blue", JobKind::Scrape, Resources::default()) };
    let plan = assign(&[gang, small], &[], &offers, 1000.0, 100);
    assert_eq!((plan.assignments.len(), plan.blocked), (0, vec![1, 2]));
    assert_eq!(plan.reserved, [Uuid::from_u128(1), Uuid::from_u128(2)]);
}

#[test]
fn nobody_takes_the_places_of_a_gang_that_the_limit_puts_off() {
    let offers = [worker(1, 1, vec![]), worker(2, 1, vec![]), worker(3, 1, vec![])];
    let gang = LaneView { gang: 2, ready: 2, ..lane(2, "red", JobKind::Probe, Resources::default()) };
    let first = LaneView { head_ready_at: -2.0, ..lane(1, "red", JobKind::Probe, Resources::default()) };
    let later = LaneView { head_ready_at: 9.0, ready: 9, ..lane(3, "red", JobKind::Probe, Resources::default()) };
    let lanes_of = |limit| -> Vec<i64> {
        let plan = assign(&[first.clone(), gang.clone(), later.clone()], &[], &offers, 0.0, limit);
        plan.assignments.iter().map(|given| given.lane).collect()
    };
    assert_eq!(lanes_of(2), [1]);
    assert_eq!(lanes_of(3), [1, 2, 2]);
    assert_eq!(lanes_of(1), [1], "what no round could hold does not hold others up");
}

#[test]
fn a_gang_that_is_larger_than_all_the_room_there_is_is_blocked_at_once() {
    let offers = [worker(1, 1, vec![]), worker(2, 1, vec![]), worker(3, 0, vec![])];
    let gang = LaneView { gang: 3, ready: 3, ..lane(1, "red", JobKind::Probe, Resources::default()) };
    let plan = assign(std::slice::from_ref(&gang), &[], &offers, 0.0, 2);
    assert_eq!((plan.assignments.len(), plan.blocked), (0, vec![1]), "others may be asked to make room");
    let red = project("red", 1.0);
    for held_up in [ProjectView { paused: true, ..red.clone() }, ProjectView { max_running: Some(2), ..red }] {
        let plan = assign(std::slice::from_ref(&gang), std::slice::from_ref(&held_up), &offers, 0.0, 2);
        assert!(plan.blocked.is_empty(), "nobody makes room for what may not begin: {held_up:?}");
    }
}

#[test]
fn one_project_s_tasks_do_not_keep_it_from_a_gpu() {
    let offers = [worker(1, 1, gpus(1, 24))];
    let lanes = [
        lane(1, "scrapes", JobKind::Train, of_gpus(1, 0)),
        LaneView { head_ready_at: -500.0, ..lane(2, "trains", JobKind::Train, of_gpus(1, 0)) },
    ];
    let projects = [
        ProjectView { running: 100, ..project("scrapes", 1.0) },
        ProjectView { running: 1, gpus: 1, ..project("trains", 1.0) },
    ];
    assert_eq!(assign(&lanes, &projects, &offers, 0.0, 1).assignments[0].lane, 1);
}

#[test]
fn pauses_and_quotas_hold_and_say_so() {
    let lane = LaneView { gang: 2, ready: 2, ..lane(1, "red", JobKind::Train, of_gpus(2, 0)) };
    let red = project("red", 1.0);
    let cases = [
        (ProjectView { paused: true, ..red.clone() }, Hold::ProjectPaused, "the project is paused"),
        (
            ProjectView { running: 3, max_running: Some(4), ..red.clone() },
            Hold::RunningQuota(4),
            "the project's quota of 4 running tasks is used up",
        ),
        (
            ProjectView { gpus: 1, max_gpus: Some(1), ..red.clone() },
            Hold::GpuQuota(1),
            "the project's quota of 1 GPU is used up",
        ),
    ];
    for (project, held, text) in cases {
        assert_eq!(hold(&lane, &project), Some(held));
        assert_eq!(held.to_string(), text);
    }
    assert_eq!(hold(&LaneView { paused: true, ..lane.clone() }, &red), Some(Hold::QueuePaused));
    assert_eq!(Hold::QueuePaused.to_string(), "the queue is paused");
    assert_eq!(hold(&lane, &ProjectView { running: 2, gpus: 4, max_running: Some(4), max_gpus: Some(8), ..red }), None);
    let scrape = super::lane(1, "red", JobKind::Scrape, Resources::default());
    let full = ProjectView { gpus: 2, max_gpus: Some(1), ..project("red", 1.0) };
    assert_eq!(hold(&scrape, &full), None, "GPUs do not hold up what needs none");
}

proptest! {
    #[test]
    fn a_plan_does_nothing_that_it_must_not(
        lanes in strategies::lanes(12),
        projects in strategies::projects(),
        offers in strategies::offers(8),
        limit in 0..20_usize,
    ) {
        let mut promises = Promises::default();
        for round in 0..3 {
            let plan = promises.assign(&lanes, &projects, &offers, f64::from(round) * 6000.0, limit);
            simulator::check(&plan, &lanes, &projects, &offers, limit);
        }
    }

    #[test]
    fn a_plan_is_the_same_whatever_the_order_of_what_it_is_made_from(
        lanes in strategies::lanes(12),
        projects in strategies::projects(),
        offers in strategies::offers(8),
        limit in 0..20_usize,
    ) {
        let plan = assign(&lanes, &projects, &offers, 0.0, limit);
        let reversed = |n: usize| (0..n).rev();
        let other_lanes: Vec<LaneView> = reversed(lanes.len()).map(|index| lanes[index].clone()).collect();
        let other_projects: Vec<ProjectView> = reversed(projects.len()).map(|index| projects[index].clone()).collect();
        let other_offers: Vec<Offer> = reversed(offers.len()).map(|index| offers[index].clone()).collect();
        prop_assert_eq!(assign(&other_lanes, &other_projects, &other_offers, 0.0, limit), plan);
    }

    #[test]
    fn nothing_that_fits_is_left_when_nothing_is_kept(
        lanes in strategies::lanes(12),
        offers in strategies::offers(8),
    ) {
        let lanes: Vec<LaneView> = lanes.into_iter().map(|lane| LaneView { gang: 1, ..lane }).collect();
        let plan = assign(&lanes, &[], &offers, -9000.0, 1000);
        let open = lanes.iter().filter(|lane| !lane.paused && lane.ready > 0);
        for lane in open {
            let given = plan.assignments.iter().filter(|given| given.lane == lane.id).count();
            prop_assert!(given as u32 == lane.ready || plan.blocked.contains(&lane.id));
        }
    }
}
