//! Parts of trials: they end where they shall, and together they are the unbroken run.

use ursa_domain::ErrorClass;
use ursa_domain::recipe::Rate;
use ursa_domain::run::{RunOrder, RunResult, Rung, TrainerEvent};
use uuid::Uuid;

use crate::process::Trainer;
use crate::snapshot::World;
use crate::{checkpoints, failed, finished, result, values, weights_digest};

fn part(order: &RunOrder, task: u128, after: u32, until: u32) -> RunOrder {
    RunOrder { task_id: Uuid::from_u128(task), rung: Some(Rung { after, until }), ..order.clone() }
}

fn last_progress(events: &[TrainerEvent]) -> Option<(u64, u64)> {
    events.iter().rev().find_map(|event| match event {
        TrainerEvent::Progress { done, total, .. } => Some((*done, *total)),
        _ => None,
    })
}

#[test]
fn a_trial_in_parts_ends_with_the_weights_of_an_unbroken_run() {
    let world = World::new();
    let order = world.order(3);
    let (unbroken, _) = Trainer::start(&order).finish();

    let (first, code) = Trainer::start(&part(&order, 10, 0, 1)).finish();
    let RunResult::Rung(measured) = result(&first) else { panic!("{:?}", result(&first)) };
    assert_eq!((code, measured.epochs, measured.validated), (0, 1, 9));
    assert!((measured.proportion().rate() - values(&unbroken, "error_rate")[0]).abs() < 1e-12);
    assert_eq!(measured.loss.to_bits(), values(&unbroken, "valid_loss")[0].to_bits());
    assert_eq!(last_progress(&first), Some((3, 3)));
    let rates = |events: &[TrainerEvent]| values(events, "learning_rate");
    assert_eq!(rates(&first), rates(&unbroken)[..3], "its rates are those of the whole run");

    let checkpoint = checkpoints(&first).pop().unwrap().clone();
    assert_eq!((checkpoint.epoch, checkpoint.step), (1, 3), "the end of the part can be gone on from");
    let second = RunOrder { resume: Some(checkpoint), ..part(&order, 11, 1, 3) };
    let (second, _) = Trainer::start(&second).finish();
    assert_eq!(values(&second, "train_loss").len(), 6, "nothing is trained twice");
    assert_eq!(last_progress(&second), Some((6, 6)));
    assert_eq!(finished(&second).error_rates, finished(&unbroken).error_rates);
    assert_eq!(weights_digest(&world, finished(&second)), weights_digest(&world, finished(&unbroken)));
}

#[test]
fn a_part_that_was_done_but_not_told_is_told_by_the_next_attempt() {
    let world = World::new();
    let order = part(&world.order(3), 10, 0, 1);
    let (first, _) = Trainer::start(&order).finish();
    let checkpoint = checkpoints(&first).pop().unwrap().clone();
    let again = RunOrder { attempt: 2, resume: Some(checkpoint), ..order };
    let (again, _) = Trainer::start(&again).finish();
    assert_eq!(result(&again), result(&first));
    assert!(values(&again, "train_loss").is_empty());
}

#[test]
fn a_trial_that_diverges_is_a_result_and_a_run_that_does_is_a_failure() {
    let world = World::new();
    let mut order = world.order(2);
    order.recipe.stages[0].rate = Rate::Flat(1e30);
    let (events, code) = Trainer::start(&part(&order, 10, 0, 1)).finish();
    let RunResult::Diverged(why) = result(&events) else { panic!("{:?}", result(&events)) };
    assert!(code == 0 && why.contains("training diverged"), "{why}");
    assert_eq!(failed(&Trainer::start(&order).finish().0).0, ErrorClass::Fatal);
}
