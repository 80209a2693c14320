//! Over time: nobody waits for ever, and projects get their shares.

use proptest::prelude::*;
use ursa_domain::JobKind;
use ursa_domain::scheduling::{GpuUse, LaneView, Offer, PRIORITY_STEP, ProjectView, RESERVE_AFTER, could_ever_place};

use crate::simulation::Simulation;
use crate::world::{GIB, gpu_lane, gpu_worker, lane, project, with, worker, worlds};

/// Goes on while `streams` never run dry, each task taking the next of `durations`; returns when `task` began.
fn begins(
    mut simulation: Simulation,
    task: usize,
    streams: &[usize],
    durations: &[f64],
    at_most: f64,
) -> Result<f64, TestCaseError> {
    let mut next = durations.iter().cycle();
    loop {
        for stream in streams {
            if simulation.waiting(*stream).count() < 2 {
                simulation.submit(*stream, *next.next().unwrap_or(&1.0));
            }
        }
        simulation.give_out().map_err(TestCaseError::fail)?;
        if let Some(begun) = &simulation.tasks[task].begun {
            return Ok(begun.at);
        }
        if simulation.now > at_most {
            let reason = format!("still waits after {} s: {:?}", simulation.now, simulation.lanes);
            return Err(TestCaseError::fail(reason));
        }
        prop_assert!(simulation.step().map_err(TestCaseError::fail)?);
    }
}

/// Fills every place with tasks of the streams, which end one after the other in the course of `time`.
fn fill(simulation: &mut Simulation, streams: &[usize], time: f64) -> Result<(), TestCaseError> {
    let count = 40;
    for place in 1..=count {
        for stream in streams {
            simulation.submit(*stream, time * f64::from(place) / f64::from(count));
        }
    }
    simulation.give_out().map_err(TestCaseError::fail)?;
    simulation.tasks.retain(|task| task.begun.is_some());
    Ok(())
}

fn durations() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(1.0..300.0, 1..12)
}

fn longest(durations: &[f64]) -> f64 {
    durations.iter().copied().fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_least_urgent_runs_once_it_has_waited_for_its_priority(
        slots in 1_u32..4,
        priority in 1..10,
        durations in durations(),
    ) {
        let low = LaneView { priority: 0, ..lane(0, JobKind::Probe) };
        let high = LaneView { priority, ..lane(1, JobKind::Probe) };
        let mut simulation = Simulation::new(vec![worker(1, slots)], vec![project("p")], vec![low, high]);
        let task = simulation.submit(0, 1.0);
        let bound = f64::from(priority) * PRIORITY_STEP.as_secs_f64() + 3.0 * longest(&durations);
        begins(simulation, task, &[1], &durations, bound)?;
    }

    #[test]
    fn a_task_for_a_whole_worker_runs_beside_a_stream_of_small_ones(
        workers in 1_u128..4,
        gpus in 2_usize..9,
        slots in 0_u32..3,
        other_project in any::<bool>(),
        quota in any::<bool>(),
        durations in durations(),
    ) {
        let workers: Vec<Offer> = (0..workers).map(|id| gpu_worker(id, gpus as u32 + slots, &vec![24; gpus])).collect();
        let max_gpus = (quota && !other_project).then_some(gpus as u32);
        let projects = vec![ProjectView { max_gpus, ..project("p") }, project("q")];
        let stream = |lane: LaneView| LaneView { project: if other_project { "q" } else { "p" }.into(), ..lane };
        let lanes = vec![gpu_lane(0, gpus as u32), stream(gpu_lane(1, 1)), stream(lane(2, JobKind::Probe))];
        let mut simulation = Simulation::new(workers, projects, lanes);
        fill(&mut simulation, &[1, 2], longest(&durations))?;
        let task = simulation.submit(0, 1.0);
        let bound = RESERVE_AFTER.as_secs_f64() + 4.0 * longest(&durations);
        begins(simulation, task, &[1, 2], &durations, bound)?;
    }

    #[test]
    fn a_gang_runs_beside_a_stream_of_small_ones(
        workers in 2_u128..5,
        slots in 1_u32..4,
        durations in durations(),
    ) {
        let offers = (0..workers).map(|id| worker(id, slots)).collect();
        let gang = LaneView { gang: workers as u32, ..lane(0, JobKind::Verify) };
        let mut simulation = Simulation::new(offers, vec![project("p")], vec![gang, lane(1, JobKind::Verify)]);
        fill(&mut simulation, &[1], longest(&durations))?;
        let task = simulation.submit(0, 1.0);
        for _ in 1..workers {
            simulation.submit(0, 1.0);
        }
        begins(simulation, task, &[1], &durations, RESERVE_AFTER.as_secs_f64() + 4.0 * longest(&durations))?;
    }

    #[test]
    fn a_whole_gpu_comes_free_beside_a_stream_of_those_that_share(durations in durations(), slots in 3_u32..9) {
        let sharing = with(gpu_lane(1, 1), |resources| {
            (resources.shared, resources.gpu_memory_bytes) = (true, 8 * GIB);
        });
        let offers = vec![gpu_worker(1, slots, &[24])];
        let mut simulation = Simulation::new(offers, vec![project("p")], vec![gpu_lane(0, 1), sharing]);
        fill(&mut simulation, &[1], longest(&durations))?;
        let task = simulation.submit(0, 1.0);
        begins(simulation, task, &[1], &durations, RESERVE_AFTER.as_secs_f64() + 4.0 * longest(&durations))?;
    }

    #[test]
    fn a_project_with_a_little_at_work_gets_a_whole_worker_beside_a_project_with_less(durations in durations()) {
        // One GPU of p's is busy for ever; q never has more than one at work.
        let mut busy = gpu_worker(1, 4, &[24]);
        busy.labels = [("busy".into(), String::new())].into();
        let long = with(gpu_lane(2, 1), |resources| resources.labels = busy.labels.clone());
        let light = with(gpu_lane(1, 1), |resources| resources.avoid_labels = busy.labels.clone());
        let light = LaneView { project: "q".into(), ..light };
        let projects = vec![project("p"), ProjectView { max_running: Some(1), ..project("q") }];
        let offers = vec![busy, gpu_worker(2, 4, &[24; 4])];
        let mut simulation = Simulation::new(offers, projects, vec![gpu_lane(0, 4), light, long]);
        simulation.submit(2, 1e9);
        simulation.submit(1, durations[0]);
        simulation.give_out().map_err(TestCaseError::fail)?;
        let task = simulation.submit(0, 1.0);
        begins(simulation, task, &[1], &durations, RESERVE_AFTER.as_secs_f64() + 4.0 * longest(&durations))?;
    }

    #[test]
    fn two_projects_share_by_their_weights_to_within_one_task(
        slots in 4_u32..40,
        weights in prop::sample::select(vec![(1.0, 3.0), (1.0, 1.0), (2.0, 5.0), (0.1, 0.7)]),
        on_gpus in any::<bool>(),
        durations in durations(),
    ) {
        let projects = vec![ProjectView { weight: weights.0, ..project("p") }, ProjectView { weight: weights.1, ..project("q") }];
        let gpus = if on_gpus { vec![24; slots as usize] } else { Vec::new() };
        let of = |id, name: &str| {
            let lane = if on_gpus { gpu_lane(id, 1) } else { lane(id, JobKind::Probe) };
            LaneView { project: name.into(), ..lane }
        };
        let mut simulation = Simulation::new(vec![gpu_worker(1, slots, &gpus)], projects, vec![of(0, "p"), of(1, "q")]);
        let mut next = durations.iter().cycle();
        for _ in 0..200 {
            for lane in 0..2 {
                for _ in simulation.waiting(lane).count()..50 {
                    simulation.submit(lane, *next.next().unwrap_or(&1.0));
                }
            }
            simulation.give_out().map_err(TestCaseError::fail)?;
            let (p, q) = (simulation.at_work("p").0, simulation.at_work("q").0);
            prop_assert_eq!(p + q, slots);
            let fair = f64::from(slots) * weights.0 / (weights.0 + weights.1);
            prop_assert!((f64::from(p) - fair).abs() <= 1.0, "{} and {} at work, {} would be fair", p, q, fair);
            simulation.step().map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn large_tasks_do_not_take_a_project_beyond_its_share(durations in durations()) {
        let offers = (0..4).map(|id| gpu_worker(id, 8, &[24; 8])).collect();
        let small = LaneView { project: "q".into(), ..gpu_lane(1, 1) };
        let mut simulation = Simulation::new(offers, vec![project("p"), project("q")], vec![gpu_lane(0, 8), small]);
        let mut next = durations.iter().cycle();
        for _ in 0..400 {
            for lane in 0..2 {
                for _ in simulation.waiting(lane).count()..40 {
                    simulation.submit(lane, *next.next().unwrap_or(&1.0));
                }
            }
            simulation.step().map_err(TestCaseError::fail)?;
            prop_assert!(simulation.at_work("p").1 <= 24, "half of 32 GPUs, and one task more");
        }
        prop_assert!(simulation.tasks.iter().filter(|task| task.has_ended).count() > 40);
    }
}

/// Whether a lane could run if it were alone; `None` where that is left to the scheduler.
fn is_feasible(lane: &LaneView, workers: &[Offer], projects: &[ProjectView]) -> Option<bool> {
    let fitting = workers.iter().filter(|worker| could_ever_place(worker, &lane.request).is_ok());
    let gang = lane.gang.max(1);
    let project = projects.iter().find(|project| project.name == lane.project);
    let gpus = lane.request.resources.gpus;
    if gpus.is_none() && lane.kind == JobKind::Train && project.is_some_and(|project| project.max_gpus.is_some()) {
        return None;
    }
    let is_held = project.is_some_and(|project| project.hold(gang, gpus.unwrap_or(0) * gang).is_some());
    Some(!lane.paused && !is_held && fitting.count() >= gang as usize)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn whatever_can_run_does(world in worlds(), durations in durations(), gap in 0.0..100.0) {
        let mut world = world;
        for project in &mut world.projects {
            (project.running, project.gpus) = (0, 0);
        }
        for offer in &mut world.offers {
            (offer.slots, offer.cpu_training) = (offer.slots.max(1), true);
            for gpu in &mut offer.gpus {
                gpu.used = GpuUse::Free;
            }
        }
        let mut simulation = Simulation::new(world.offers.clone(), world.projects.clone(), world.lanes.clone());
        let mut next = durations.iter().cycle();
        for (index, lane) in world.lanes.iter().enumerate() {
            for _ in 0..lane.ready * lane.gang.max(1) {
                simulation.submit(index, *next.next().unwrap_or(&1.0));
            }
            simulation.now += gap;
        }
        let mut steps = 0;
        while simulation.step().map_err(TestCaseError::fail)? {
            steps += 1;
            prop_assert!(steps <= 2 * simulation.tasks.len(), "it does not end");
        }
        for (index, lane) in world.lanes.iter().enumerate().filter(|(_, lane)| lane.ready > 0) {
            if let Some(feasible) = is_feasible(lane, &world.offers, &world.projects) {
                prop_assert_eq!(simulation.waiting(index).count() == 0, feasible, "{:?}", lane);
            }
        }
    }
}
