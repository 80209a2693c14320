use std::time::Duration;

use proptest::prelude::*;

use super::simulator::{Started, World};
use super::*;
use ursa_domain::scheduling::{PRIORITY_STEP, Promises, RESERVE_AFTER, Running, TURN_AFTER, could_ever_place};

/// One task every `every` seconds, of `seconds` each.
pub(super) fn stream(every: f64, seconds: f64, until: f64) -> Vec<(f64, f64)> {
    (0..(until / every) as u32).map(|n| (f64::from(n) * every, seconds)).collect()
}

/// More tasks than are ever done, ready from the beginning.
fn backlog(seconds: f64) -> Vec<(f64, f64)> {
    vec![(0.0, seconds); 5000]
}

fn training(id: i64, project: &str, resources: Resources) -> LaneView {
    lane(id, project, JobKind::Train, resources)
}

fn waited(world: &World, id: i64) -> f64 {
    let Started { ready_at, at, .. } = world.started_of(id).next().expect("it begins at all");
    at - ready_at
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn many_gpus_at_once_do_not_wait_for_ever_in_a_stream_of_single_ones(
        seconds in 30.0..400.0,
        every in 5.0..20.0,
        same_project in any::<bool>(),
        forgetful in any::<bool>(),
    ) {
        let large = if same_project { "red" } else { "blue" };
        // What is older in its own project goes first, what is younger does not.
        let older = f64::max(1000.0 / every * seconds / 8.0 - 1000.0, 0.0) + seconds;
        let bound = RESERVE_AFTER.as_secs_f64() + 2.0 * seconds + if same_project { older } else { 0.0 };
        let end = 1000.0 + bound;
        let world = World::new(vec![worker(1, 8, gpus(8, 80))], vec![project("red", 1.0), project("blue", 1.0)])
            .with(training(1, "red", of_gpus(1, 0)), stream(every, seconds, end))
            .with(training(2, large, of_gpus(8, 80)), [(1000.0, 10.0)]);
        // Whoever forgets lets what is older go first even if it is another project's.
        let world = if forgetful && same_project { world.forgetful() } else { world };
        waited(&world.run(end), 2);
    }

    #[test]
    fn one_large_gpu_does_not_wait_for_ever_among_those_who_share_it(
        seconds in 30.0..400.0,
        every in 5.0..20.0,
    ) {
        let world = World::new(vec![worker(1, 8, gpus(1, 80))], vec![project("red", 1.0), project("blue", 1.0)])
            .with(training(1, "red", shared(15)), stream(every, seconds, 4000.0))
            .with(training(2, "blue", of_gpus(1, 70)), [(1000.0, 10.0)])
            .with(training(3, "blue", shared(70)), [(2500.0, 10.0)])
            .run(4000.0);
        let bound = RESERVE_AFTER.as_secs_f64() + 2.0 * seconds;
        prop_assert!(waited(&world, 2) <= bound && waited(&world, 3) <= bound);
    }

    #[test]
    fn a_gang_does_not_wait_for_ever_in_a_stream_of_single_tasks(
        seconds in 30.0..400.0,
        every in 2.0..10.0,
    ) {
        let gang = LaneView { gang: 3, ..lane(2, "blue", JobKind::Probe, Resources::default()) };
        let workers = (1..=4).map(|number| worker(number, 2, vec![])).collect();
        let world = World::new(workers, vec![project("red", 1.0), project("blue", 1.0)])
            .with(lane(1, "red", JobKind::Scrape, Resources::default()), stream(every, seconds, 4000.0))
            .with(gang, vec![(1000.0, 10.0); 3])
            .run(4000.0);
        prop_assert!(waited(&world, 2) <= RESERVE_AFTER.as_secs_f64() + 2.0 * seconds);
    }

    #[test]
    fn the_lowest_priority_waits_no_longer_than_the_highest_is_worth(
        seconds in 30.0..600.0,
        forgetful in any::<bool>(),
    ) {
        let of = |id, priority| LaneView { priority, ..lane(id, "red", JobKind::Scrape, Resources::default()) };
        let end = 10_000.0;
        let world = World::new(vec![worker(1, 2, vec![])], vec![project("red", 1.0)])
            .with(of(1, 9), stream(seconds / 2.0, seconds, end))
            .with(of(2, 0), [(100.0, 10.0)]);
        let world = if forgetful { world.forgetful() } else { world };
        let world = world.run(end);
        prop_assert!(waited(&world, 2) <= 9.0 * PRIORITY_STEP.as_secs_f64() + seconds);
    }

    #[test]
    fn everything_that_can_run_does_in_the_time_that_all_work_takes(
        workers in strategies::offers(5),
        lanes in strategies::lanes(8),
        projects in strategies::projects(),
        tasks in proptest::collection::vec((0.0..600.0, 1.0..300.0), 60),
        limit in 3..20_usize,
        forgetful in any::<bool>(),
    ) {
        let mut world = World::new(workers.into_iter().map(strategies::emptied).collect(), projects);
        world.limit = limit;
        for (number, lane) in lanes.into_iter().enumerate() {
            let mut own: Vec<(f64, f64)> = tasks.iter().copied().skip(number).step_by(8).take(lane.ready as usize).collect();
            own.sort_by(|a, b| a.0.total_cmp(&b.0));
            world = world.with(lane, own);
        }
        let world = if forgetful { world.forgetful() } else { world };
        let world = world.run_dry();
        for lane in world.views() {
            prop_assert!(!can_run(&world, &lane), "{lane:?} waits for nothing");
        }
        let work: f64 = tasks.iter().map(|(_, seconds)| seconds).sum();
        prop_assert!(world.now <= 600.0 + work);
    }
}

/// Whether a lane's next tasks could run on a fleet that does nothing else.
pub(super) fn can_run(world: &World, lane: &LaneView) -> bool {
    let project = world.projects.iter().find(|project| project.name == lane.project).unwrap();
    let gpus = lane.request.resources.gpus.unwrap_or(0) * lane.gang;
    let is_flexible = lane.kind == JobKind::Train && lane.request.resources.gpus.is_none();
    let fits = |max: Option<u32>, wanted: u32| wanted == 0 || max.is_none_or(|max| wanted <= max);
    let has_quota = fits(project.max_running, lane.gang) && fits(project.max_gpus, gpus);
    let only_without = is_flexible && !fits(project.max_gpus, lane.gang);
    let able = world
        .offers()
        .into_iter()
        .filter(|offer| (offer.gpus.is_empty() || !only_without) && could_ever_place(offer, &lane.request).is_ok());
    !lane.paused && !project.paused && has_quota && able.count() >= lane.gang as usize
}

#[test]
fn single_gpus_and_all_at_once_take_turns() {
    for weight in [1.0, 3.0] {
        let projects = vec![project("red", 1.0), project("blue", weight)];
        let world = World::new(vec![worker(1, 8, gpus(8, 80))], projects)
            .with(training(1, "red", of_gpus(1, 0)), backlog(100.0))
            .with(training(2, "blue", of_gpus(8, 0)), backlog(100.0))
            .run(10_000.0);
        let (single, all) = (world.started_of(1).count(), world.started_of(2).count());
        assert!(single >= 8 * 30 && all >= 30, "{single} and {all}");
    }
}

#[test]
fn what_is_kept_goes_first_even_if_others_have_a_smaller_share() {
    let elsewhere = |resources| Resources { labels: labels(&[("zone", "b")]), ..resources };
    let workers = vec![
        Offer { labels: labels(&[("zone", "b")]), ..worker(1, 8, gpus(8, 80)) },
        Offer { labels: labels(&[("zone", "a")]), ..worker(2, 4, gpus(4, 80)) },
    ];
    let at_a = |resources| Resources { labels: labels(&[("zone", "a")]), ..resources };
    let world = World::new(workers, vec![project("red", 1.0), project("blue", 1.0)])
        .with(training(1, "blue", elsewhere(of_gpus(1, 0))), backlog(100.0))
        .with(training(2, "blue", at_a(of_gpus(4, 0))), [(500.0, 10.0)])
        .with(training(3, "red", at_a(of_gpus(1, 0))), stream(10.0, 100.0, 3000.0))
        .run(3000.0);
    assert!(waited(&world, 2) <= 60.0 + 200.0, "{}", waited(&world, 2));
}

/// Two pools: a project has most of one to itself, and wants one place of the other, which somebody else fills.
fn overtaken(forgetful: bool) -> World {
    let kinds = |kinds: &[JobKind], offer: Offer| Offer { kinds: kinds.to_vec(), ..offer };
    let workers =
        vec![kinds(&[JobKind::Scrape], worker(1, 50, vec![])), kinds(&[JobKind::Verify], worker(2, 4, vec![]))];
    let world = World::new(workers, vec![project("red", 1.0), project("blue", 1.0)])
        .with(lane(1, "blue", JobKind::Scrape, Resources::default()), backlog(1000.0))
        .with(lane(2, "blue", JobKind::Verify, Resources::default()), vec![(0.0, 60.0); 9])
        .with(lane(3, "red", JobKind::Verify, Resources::default()), backlog(290.0));
    let world = if forgetful { world.forgetful() } else { world };
    world.run(30_000.0)
}

#[test]
fn a_lane_whose_project_has_much_elsewhere_has_a_turn_in_the_end() {
    let gaps: Vec<f64> = overtaken(false).started_of(2).map(|started| started.at).collect();
    assert!(gaps.len() >= 4, "{gaps:?}");
    assert!(gaps.windows(2).all(|pair| pair[1] - pair[0] <= TURN_AFTER.as_secs_f64() + 600.0), "{gaps:?}");
    assert_eq!(overtaken(true).started_of(2).filter(|started| started.at > 0.0).count(), 0, "what it is for");
}

#[test]
fn tasks_of_hours_have_their_turns_by_weight_too() {
    let projects = vec![project("red", 1.0), project("blue", 3.0)];
    let lengths = |n: u32| 36_000.0 + f64::from(n * 7 % 13) * 900.0;
    let long = || (0..500).map(move |n| (0.0, lengths(n)));
    let mut world = World::new(vec![worker(1, 8, vec![])], projects)
        .with(lane(1, "red", JobKind::Scrape, Resources::default()), long())
        .with(lane(2, "blue", JobKind::Scrape, Resources::default()), long());
    for day in 1..20 {
        world = world.run(f64::from(day) * 86_400.0);
        world.give_out();
        let red = world.running("red");
        assert!((1..=3).contains(&red), "{red} of 8 on day {day}");
    }
}

#[test]
fn several_tasks_at_once_fit_their_project_s_quota_in_the_end() {
    let red = ProjectView { max_running: Some(4), max_gpus: Some(4), ..project("red", 1.0) };
    let gang = LaneView { gang: 4, ..lane(2, "red", JobKind::Probe, Resources::default()) };
    let workers = (1..=8).map(|number| worker(number, 2, gpus(4, 80))).collect();
    let world = World::new(workers, vec![red])
        .with(training(1, "red", of_gpus(1, 0)), stream(30.0, 100.0, 3000.0))
        .with(gang, vec![(500.0, 10.0); 4])
        .with(training(3, "red", of_gpus(4, 0)), [(1500.0, 10.0)])
        .run(3000.0);
    let bound = RESERVE_AFTER.as_secs_f64() + 200.0;
    assert!(waited(&world, 2) <= bound && waited(&world, 3) <= bound);
}

#[test]
fn what_others_were_asked_back_for_is_kept_for_whom_it_was_asked() {
    let mut promises = Promises::default();
    let full = |used| {
        let mut offer = worker(1, 1, gpus(1, 24));
        offer.gpus[0].used = used;
        [offer]
    };
    let urgent = LaneView { priority: 9, ..training(1, "blue", of_gpus(1, 0)) };
    let other = LaneView { head_ready_at: -9000.0, ..training(2, "red", of_gpus(1, 0)) };
    let projects = [ProjectView { running: 5, gpus: 5, ..project("blue", 1.0) }, project("red", 1.0)];
    let victim = Running {
        attempt: (Uuid::from_u128(7), 1),
        worker: Uuid::from_u128(1),
        gpus: vec![0],
        shared_bytes: 0,
        kind: JobKind::Train,
        priority: 4,
        preemptible: true,
        at_work: Duration::ZERO,
    };
    let running = [victim];
    let offers = full(GpuUse::Exclusive);
    let mut ask = || promises.preempt(&urgent, &offers, &running, Duration::ZERO, 0.0);
    assert_eq!(ask(), Some(vec![(Uuid::from_u128(7), 1)]));
    assert_eq!(ask(), None, "one task needs no more");
    let lanes = [urgent, other];
    let given = |promises: &mut Promises, offers: &[Offer], now: f64| {
        let plan = promises.assign(&lanes, &projects, offers, now, 9);
        plan.assignments.first().map(|given| given.lane)
    };
    assert_eq!(given(&mut promises, &offers, 1.0), None);
    assert_eq!(given(&mut promises, &[], 2.0), None, "the worker rests for a moment");
    let mut later = promises.clone();
    assert_eq!(given(&mut promises, &full(GpuUse::Free), 3.0), Some(1));
    assert_eq!(given(&mut promises, &full(GpuUse::Free), 4.0), Some(2), "a promise is kept once");
    assert_eq!(given(&mut later, &[], 100.0), None);
    assert_eq!(given(&mut later, &full(GpuUse::Free), 101.0), Some(2), "who has been away for long is not waited for");
}

#[test]
fn who_was_promised_a_place_in_the_end_may_still_ask_for_it_at_once() {
    let mut promises = Promises::default();
    let offers = [worker(1, 0, vec![])];
    let projects = [project("blue", 1.0)];
    let urgent = LaneView { priority: 9, ..lane(1, "blue", JobKind::Scrape, Resources::default()) };
    let attempt = |at_work| Running {
        attempt: (Uuid::from_u128(7), 2),
        worker: Uuid::from_u128(1),
        gpus: vec![],
        shared_bytes: 0,
        kind: JobKind::Scrape,
        priority: 4,
        preemptible: true,
        at_work,
    };
    let peace = Duration::from_mins(10);
    let now = RESERVE_AFTER.as_secs_f64() + 1.0;
    let plan = promises.assign(std::slice::from_ref(&urgent), &projects, &offers, now, 9);
    assert_eq!(plan.reserved, [Uuid::from_u128(1)]);
    let mut ask = |at_work| promises.preempt(&urgent, &offers, &[attempt(at_work)], peace, now);
    assert_eq!(ask(Duration::ZERO), None, "it has been there before, and has its peace");
    assert_eq!(ask(peace), Some(vec![(Uuid::from_u128(7), 2)]));
    assert_eq!(ask(peace), None, "one task needs no more");
}
