//! Whoever makes room again and again, in invented time.

use std::time::Duration;

use proptest::prelude::*;

use super::simulator::{LEAVES_WITHIN, World};
use super::waiting::{can_run, stream};
use super::*;
use ursa_domain::scheduling::{PRIORITY_STEP, Promises, Running};

/// Levels of priority between the task that makes room and those that it makes room for.
const LEVELS: i32 = 4;
const LONG_TASK: i64 = 2;

/// One slot, short tasks that are more urgent and never end to come, and a long task, of which nothing is left when it is
/// asked back. All in seconds.
#[derive(Debug, Clone, Copy)]
struct Siege {
    long: f64,
    short: f64,
    /// From one short one to the next.
    every: f64,
    least_at_work: u64,
    same_project: bool,
}

impl Siege {
    /// Whether the long task ends at a time at the latest.
    fn is_over_by(self, end: f64) -> bool {
        let of =
            |id, project, priority| LaneView { priority, ..lane(id, project, JobKind::Scrape, Resources::default()) };
        let other = if self.same_project { "red" } else { "blue" };
        let mut world = World::new(vec![worker(1, 1, vec![])], vec![project("red", 1.0), project("blue", 1.0)])
            .preempting(Duration::from_secs(self.least_at_work))
            .with(of(1, "red", 1 + LEVELS), stream(self.every, self.short, end))
            .with_preemptible(of(LONG_TASK, other, 1), [(0.0, self.long)]);
        while world.now < end && !world.is_over(LONG_TASK) {
            let soon = world.now + 600.0;
            world = world.run(soon.min(end));
        }
        world.is_over(LONG_TASK)
    }

    /// Before each attempt it waits until it is as urgent as what comes then, and until what it held up before is done. Then it
    /// is at work in peace, and until the next one comes and has it go.
    fn bound(self, least_at_work: f64) -> f64 {
        let attempts = (self.long / least_at_work).ceil() as u32 + 1;
        let aged = f64::from(LEVELS) * PRIORITY_STEP.as_secs_f64();
        // A look is taken once a minute.
        let slack = 3.0 * self.short + 120.0;
        let (mut at_work, mut waiting) = (0.0, 0.0);
        for before in 0..attempts {
            waiting += aged + at_work + slack;
            let peace = f64::from(before) * least_at_work;
            at_work += f64::min(self.long, peace + self.every + 60.0 + LEAVES_WITHIN);
        }
        waiting + at_work
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_long_task_ends_however_many_short_ones_it_has_to_make_room_for(
        long in 300.0..2000.0,
        short in 20.0..120.0,
        load in 0.5..1.0,
        least_at_work in 300..900_u64,
        same_project in any::<bool>(),
    ) {
        let siege = Siege { long, short, every: short / load, least_at_work, same_project };
        prop_assert!(siege.is_over_by(siege.bound(least_at_work as f64)));
    }

    #[test]
    fn what_was_asked_back_goes_to_whom_it_was_asked_for(
        workers in 1..4_u128,
        slots in 1..4_u32,
        patient in proptest::collection::vec((0..5_i32, any::<bool>(), 50.0..500.0), 1..3),
        urgent in proptest::collection::vec((5..10_i32, any::<bool>(), 10.0..200.0, 20.0..120.0), 1..4),
        least_at_work in 0..600_u64,
    ) {
        let of = |id: usize, priority, is_red| LaneView {
            priority,
            ..lane(id as i64, if is_red { "red" } else { "blue" }, JobKind::Scrape, Resources::default())
        };
        let workers = (1..=workers).map(|number| worker(number, slots, vec![])).collect();
        let mut world = World::new(workers, vec![project("red", 1.0), project("blue", 1.0)])
            .preempting(Duration::from_secs(least_at_work));
        for (number, (priority, is_red, seconds)) in patient.into_iter().enumerate() {
            world = world.with_preemptible(of(number, priority, is_red), vec![(0.0, seconds); 500]);
        }
        for (number, (priority, is_red, seconds, every)) in urgent.into_iter().enumerate() {
            // Later than what has all the room by then.
            let later = stream(every, seconds, 2900.0).into_iter().map(|(ready_at, seconds)| (100.0 + ready_at, seconds));
            world = world.with(of(10 + number, priority, is_red), later);
        }
        let world = world.run(3000.0);
        prop_assert!(!world.asked.is_empty());
        for asked in world.asked.iter().filter(|asked| asked.at + LEAVES_WITHIN < world.now) {
            let first = world.started[asked.started..].iter().find(|started| started.lane == asked.lane);
            prop_assert!(first.is_some_and(|first| first.at <= asked.at + LEAVES_WITHIN), "{asked:?}: {first:?}");
        }
    }

    #[test]
    fn everything_that_can_run_does_where_some_make_room(
        workers in strategies::offers(5),
        lanes in strategies::lanes(8),
        projects in strategies::projects(),
        tasks in proptest::collection::vec((0.0..600.0, 1.0..300.0), 60),
        makes_room in proptest::collection::vec(any::<bool>(), 8),
    ) {
        // Longer than any task takes: none is asked back twice.
        let mut world = World::new(workers.into_iter().map(strategies::emptied).collect(), projects)
            .preempting(Duration::from_mins(5));
        for (number, lane) in lanes.into_iter().enumerate() {
            let mut own: Vec<(f64, f64)> = tasks.iter().copied().skip(number).step_by(8).take(lane.ready as usize).collect();
            own.sort_by(|a, b| a.0.total_cmp(&b.0));
            let is_single = lane.gang == 1;
            world = if is_single && makes_room[number] { world.with_preemptible(lane, own) } else { world.with(lane, own) };
        }
        let world = world.run_dry();
        for lane in world.views() {
            prop_assert!(!can_run(&world, &lane), "{lane:?} waits for nothing");
        }
        let work: f64 = tasks.iter().map(|(_, seconds)| seconds).sum();
        prop_assert!(world.now <= 600.0 + 2.0 * work);
    }
}

#[test]
fn who_waits_long_and_is_less_urgent_keeps_nobody_from_asking_others_back() {
    let of = |id, project, priority| LaneView { priority, ..lane(id, project, JobKind::Scrape, Resources::default()) };
    let world = World::new(vec![worker(1, 1, vec![])], vec![project("red", 1.0), project("blue", 1.0)])
        .preempting(Duration::ZERO)
        .with_preemptible(of(1, "red", 4), [(0.0, 3600.0), (0.0, 3600.0)])
        .with(of(2, "blue", 5), [(600.0, 60.0)])
        .run(660.0);
    assert_eq!(world.started_of(2).map(|started| started.at).collect::<Vec<_>>(), [600.0 + LEAVES_WITHIN]);
}

#[test]
fn what_is_kept_for_whom_is_less_urgent_is_asked_back_only_where_nothing_else_will_do() {
    let offers = [worker(1, 1, vec![]), worker(2, 0, vec![]), worker(3, 0, vec![])];
    let of = |id, priority, gang| LaneView {
        priority,
        gang,
        ready: gang,
        ..lane(id, "red", JobKind::Scrape, Resources::default())
    };
    let (gang, urgent) = (of(1, 4, 2), of(2, 5, 1));
    let running = [2, 3].map(|worker| Running {
        attempt: (Uuid::from_u128(10 + worker), 1),
        worker: Uuid::from_u128(worker),
        gpus: Vec::new(),
        shared_bytes: 0,
        kind: JobKind::Scrape,
        priority: 1,
        preemptible: true,
        at_work: Duration::from_secs(9),
    });
    let mut promises = Promises::default();
    let plan = promises.assign(std::slice::from_ref(&gang), &[project("red", 1.0)], &offers, 100.0, 9);
    assert_eq!(plan.reserved, [1, 2].map(Uuid::from_u128), "a slot is free on one of them");
    let asked = promises.preempt(&urgent, &offers, &running, Duration::ZERO, 101.0);
    assert_eq!(asked, Some(vec![(Uuid::from_u128(13), 1)]));
}

#[test]
fn without_peace_a_long_task_never_ends() {
    for same_project in [true, false] {
        let siege = Siege { long: 2000.0, short: 20.0, every: 20.0, least_at_work: 600, same_project };
        let end = siege.bound(600.0);
        assert!(siege.is_over_by(end));
        assert!(!Siege { least_at_work: 0, ..siege }.is_over_by(end), "what it is for");
    }
}
