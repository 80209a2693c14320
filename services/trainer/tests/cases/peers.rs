//! Runs that several processes learn together, on a CPU.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use safetensors::SafeTensors;
use ursa_domain::ErrorClass;
use ursa_domain::recipe::Augmentation;
use ursa_domain::run::{RunOrder, TrainedModel, TrainerEvent};

use super::process::Trainer;
use super::snapshot::World;
use super::{failed, finished, package, values};

/// What is learned, without the running statistics: each process has those of its own shares.
fn learned(world: &World, model: &TrainedModel) -> Vec<(String, Vec<f32>)> {
    let weights = package(world, model).weights;
    let tensors = SafeTensors::deserialize(&weights).unwrap();
    let floats = |data: &[u8]| data.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let named = tensors.tensors().into_iter().filter(|(name, _)| !name.contains("running"));
    let mut named: Vec<(String, Vec<f32>)> = named.map(|(name, tensor)| (name, floats(tensor.data()))).collect();
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    named
}

#[test]
fn two_processes_learn_what_one_learns_from_the_same_parts() {
    let world = World::new();
    // What is dropped is drawn by each process for itself.
    let mut order = world.order(2);
    order.recipe.dropout = 0.0;
    order.threads = 1;
    let mut alone = order.clone();
    alone.recipe.micro_batch = Some(4);
    let (events, _) = Trainer::start(&alone).finish();
    let expected = learned(&world, finished(&events));
    let together = RunOrder { processes: 2, threads: 2, attempt: 2, ..order.clone() };
    let (events, code) = Trainer::start(&together).finish();
    assert_eq!((code, values(&events, "train_loss").len()), (0, 6));
    let said =
        |event: &TrainerEvent| matches!(event, TrainerEvent::Log { message, .. } if message.contains("2 processes"));
    assert!(events.iter().any(said));
    let found = learned(&world, finished(&events));
    assert_eq!(found.len(), expected.len());
    for ((name, found), (same, expected)) in found.iter().zip(&expected) {
        assert_eq!(name, same);
        let scale = expected.iter().fold(1e-3, |most: f32, value| most.max(value.abs()));
        let difference = found.iter().zip(expected).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-3 * scale, "{name}: {difference} of {scale}");
    }
    // Of the whole batch at once something else is learned: the two really took parts.
    let (events, _) = Trainer::start(&RunOrder { attempt: 3, ..order }).finish();
    assert_ne!(learned(&world, finished(&events)), found);
}

#[test]
fn a_run_of_two_processes_stopped_and_resumed_ends_with_the_weights_of_an_unbroken_one() {
    let world = World::new();
    let mut order = world.order(3);
    (order.processes, order.recipe.augmentation) = (2, Augmentation::default());
    let (events, _) = Trainer::start(&order).finish();
    let unbroken = package(&world, finished(&events)).weights;
    let mut trainer = Trainer::start(&order);
    let event = trainer.wait_for("a checkpoint", |event| matches!(event, TrainerEvent::Checkpoint(_)));
    trainer.kill();
    let TrainerEvent::Checkpoint(checkpoint) = event else { unreachable!() };
    let second = RunOrder { attempt: 2, resume: Some(checkpoint), ..order };
    let (events, _) = Trainer::start(&second).finish();
    assert!(package(&world, finished(&events)).weights == unbroken, "the weights differ");
}

#[test]
fn a_process_that_dies_ends_the_run_and_a_run_that_dies_ends_its_processes() {
    let world = World::new();
    let order = RunOrder { processes: 2, ..world.order(500) };
    let is_batch = |event: &TrainerEvent| matches!(event, TrainerEvent::Metric { .. });
    let mut trainer = Trainer::start(&order);
    trainer.wait_for("a batch", is_batch);
    kill(trainer.children()[0], Signal::SIGKILL).unwrap();
    let (events, code) = trainer.finish();
    let (class, message) = failed(&events);
    assert_eq!((class, code), (ErrorClass::Retryable, 1), "{message}");
    assert!(message.contains("another process of this run is gone: process 1"), "{message}");

    let mut trainer = Trainer::start(&order);
    trainer.wait_for("a batch", is_batch);
    let child = trainer.children()[0];
    trainer.kill();
    let deadline = Instant::now() + Duration::from_secs(30);
    while is_alive(child) {
        assert!(Instant::now() < deadline, "process {child} goes on without its run");
        std::thread::yield_now();
    }
}

/// Whether it computes; who has ended and was not asked after by anybody does not.
fn is_alive(process: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with('Z'))
}

#[test]
fn batches_that_are_too_small_to_share_are_refused() {
    let world = World::new();
    let mut order = RunOrder { processes: 3, ..world.order(1) };
    order.recipe.batch_size = 5;
    let (events, _) = Trainer::start(&order).finish();
    assert_eq!(failed(&events).0, ErrorClass::Fatal);
    assert!(failed(&events).1.contains("3 processes"), "{}", failed(&events).1);
}
