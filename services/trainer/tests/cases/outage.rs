//! Runs whose checkpoints the store does not take for a while.

use ursa_domain::ErrorClass;
use ursa_domain::run::{RunOrder, Rung, TrainerEvent, TrainerInput};

use crate::process::Trainer;
use crate::snapshot::World;
use crate::{checkpoints, failed, finished, values};

const LOST: &str = "the run goes on without it";
const AGAIN: &str = "checkpoints can be stored again";

fn says(event: &TrainerEvent, wanted: &str) -> bool {
    matches!(event, TrainerEvent::Log { message, .. } if message.contains(wanted))
}

fn times(events: &[TrainerEvent], wanted: &str) -> usize {
    events.iter().filter(|event| says(event, wanted)).count()
}

#[test]
fn a_run_none_of_whose_checkpoints_can_be_stored_makes_its_model_and_warns_once() {
    let world = World::new();
    world.refuse_checkpoints();
    let order = RunOrder { checkpoint_seconds: 0, ..world.order(2) };
    let (events, code) = Trainer::start(&order).finish();
    assert_eq!((code, finished(&events).error_rates.len(), values(&events, "train_loss").len()), (0, 2, 6));
    assert_eq!((times(&events, LOST), times(&events, AGAIN), checkpoints(&events).len()), (1, 0, 0), "{events:?}");
    let warned = |event: &TrainerEvent| matches!(event, TrainerEvent::Log { level, .. } if level == "warn");
    assert!(events.iter().any(|event| warned(event) && says(event, LOST)), "{events:?}");
}

#[test]
fn checkpoints_are_stored_again_after_an_outage_and_can_be_gone_on_from() {
    let world = World::new();
    let order = RunOrder { checkpoint_seconds: 0, ..world.order(500) };
    let file = world.refuse_checkpoints();
    let mut trainer = Trainer::start(&order);
    trainer.wait_for("a warning", |event| says(event, LOST));
    std::fs::remove_file(file).unwrap();
    trainer.wait_for("a checkpoint", |event| matches!(event, TrainerEvent::Checkpoint(_)));
    trainer.wait_for("the end of the outage", |event| says(event, AGAIN));
    trainer.write(&TrainerInput::Cancel);
    let (events, _) = trainer.finish();
    assert_eq!(failed(&events).0, ErrorClass::Cancelled);
    assert_eq!((times(&events, LOST), times(&events, AGAIN)), (1, 1));
    let last = checkpoints(&events).pop().unwrap().clone();
    let done = values(&events, "train_loss").len() as u64;
    assert_eq!(last.step, done, "the last batch is in the last checkpoint");

    let mut second = Trainer::start(&RunOrder { attempt: 2, resume: Some(last), ..order });
    let is_loss = |event: &TrainerEvent| matches!(event, TrainerEvent::Metric { name, .. } if name == "train_loss");
    let TrainerEvent::Metric { step, .. } = second.wait_for("a batch", is_loss) else { unreachable!() };
    assert_eq!(step, done + 1, "no batch is done again");
}

#[test]
fn a_part_of_a_trial_that_cannot_store_where_it_ends_fails() {
    let world = World::new();
    world.refuse_checkpoints();
    let order = RunOrder { rung: Some(Rung { after: 0, until: 1 }), ..world.order(3) };
    let (events, code) = Trainer::start(&order).finish();
    assert_eq!((failed(&events).0, code), (ErrorClass::Infrastructure, 1), "{}", failed(&events).1);
}
