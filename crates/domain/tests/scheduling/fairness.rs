use proptest::prelude::*;

use super::simulator::World;
use super::*;

/// More tasks than are ever done, of about a length.
fn endless(seconds: f64) -> Vec<(f64, f64)> {
    (0..5000).map(|n| (0.0, seconds + f64::from(n * 7 % 13) * seconds / 40.0)).collect()
}

fn scraping(id: i64, project: &str) -> LaneView {
    lane(id, project, JobKind::Scrape, Resources::default())
}

/// How far a project was from its share of the slots, at most, in tasks.
fn unfairness(mut world: World, slots: f64, until: f64) -> f64 {
    let all: f64 = world.projects.iter().map(|project| project.weight).sum();
    let mut most: f64 = 0.0;
    while world.now < until {
        world = {
            let next = world.now + 1.0;
            world.run(next)
        };
        world.give_out();
        for project in &world.projects {
            let share = slots * project.weight / all;
            most = most.max((world.running(&project.name) as f64 - share).abs());
        }
    }
    most
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn two_projects_have_what_their_weights_say_give_or_take_a_task(
        slots in 4..24_u32,
        weights in prop_oneof![Just((1.0, 3.0)), (0.5..4.0, 0.5..4.0)],
        lengths in (30.0..300.0, 30.0..300.0),
        forgetful in any::<bool>(),
    ) {
        let projects = vec![project("red", weights.0), project("blue", weights.1)];
        let world = World::new(vec![worker(1, slots, vec![]), worker(2, slots, vec![])], projects)
            .with(scraping(1, "red"), endless(lengths.0))
            .with(scraping(2, "blue"), endless(lengths.1));
        let world = if forgetful { world.forgetful() } else { world };
        prop_assert!(unfairness(world, f64::from(2 * slots), 2000.0) <= 1.0);
    }

    #[test]
    fn gpus_are_shared_by_weight_too(
        weights in (0.5..4.0, 0.5..4.0),
        lengths in (60.0..3000.0, 60.0..3000.0),
    ) {
        let projects = vec![project("red", weights.0), project("blue", weights.1)];
        let world = World::new(vec![worker(1, 8, gpus(4, 24)), worker(2, 8, gpus(4, 24))], projects)
            .with(lane(1, "red", JobKind::Train, of_gpus(1, 20)), endless(lengths.0))
            .with(lane(2, "blue", JobKind::Train, of_gpus(1, 20)), endless(lengths.1))
            .with(scraping(3, "red"), endless(100.0));
        let training = |world: &World, id: i64| {
            let all = world.offers().iter().flat_map(|offer| offer.gpus.clone()).filter(|gpu| gpu.used != GpuUse::Free).count();
            (all, world.started_of(id).count())
        };
        let world = world.run(20_000.0);
        prop_assert_eq!(training(&world, 1).0, 8, "no GPU is idle");
        let at_work = |id: i64, seconds: f64| {
            let until = world.now;
            world.started_of(id).filter(|started| started.at + seconds > until).count() as f64
        };
        let (red, blue) = (at_work(1, lengths.0), at_work(2, lengths.1));
        let share = 8.0 * weights.0 / (weights.0 + weights.1);
        prop_assert!(red <= share + 2.0 && blue <= 8.0 - share + 2.0, "{red} and {blue}, not {share}");
    }
}

#[test]
fn a_newcomer_has_its_share_as_soon_as_places_come_free() {
    let world = World::new(vec![worker(1, 8, vec![])], vec![project("old", 1.0), project("new", 1.0)])
        .with(scraping(1, "old"), endless(100.0))
        .with(scraping(2, "new"), (0..50).map(|_| (1000.0, 100.0)));
    let mut world = world.run(1200.0);
    world.give_out();
    assert_eq!((world.running("old"), world.running("new")), (4, 4));
}

#[test]
fn a_project_of_which_nothing_is_known_is_like_any_other() {
    let lanes = [LaneView { ready: 9, ..scraping(1, "unknown") }, LaneView { ready: 9, ..scraping(2, "red") }];
    let plan = ursa_domain::scheduling::assign(&lanes, &[project("red", 1.0)], &[worker(1, 4, vec![])], 0.0, 9);
    let given = |lane: i64| plan.assignments.iter().filter(|given| given.lane == lane).count();
    assert_eq!((given(1), given(2)), (2, 2));
}

#[test]
fn a_weight_that_makes_no_sense_harms_nobody() {
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let lanes = [LaneView { ready: 9, ..scraping(1, "odd") }, LaneView { ready: 9, ..scraping(2, "red") }];
        let projects = [project("odd", weight), project("red", 1.0)];
        let plan = ursa_domain::scheduling::assign(&lanes, &projects, &[worker(1, 4, vec![])], 0.0, 9);
        assert_eq!(plan.assignments.len(), 4, "{weight}");
    }
}
