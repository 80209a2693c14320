//! A device that is given batches ahead: the same run, told of later.

use super::*;

/// Everything that waits to be read.
fn rest(training: &mut Training) -> Vec<BatchReport> {
    std::iter::from_fn(|| training.catch_up().unwrap()).collect()
}

fn ahead(recipe: Recipe, batches: usize) -> Training {
    let mut training = training(recipe);
    training.in_flight = InFlight::ahead(batches, Duration::MAX);
    training
}

#[test]
fn a_run_with_batches_ahead_says_the_same_and_ends_with_the_same_bytes() {
    let recipe = Recipe { weight_average: Some(0.9), ..recipe(2, 1e-3) };
    let mut plain = training(recipe.clone());
    let expected = run(&mut plain);
    for batches in [1, 2, 5] {
        let mut training = ahead(recipe.clone(), batches);
        assert_eq!(run(&mut training), expected);
        assert!(training.checkpoint().unwrap() == plain.checkpoint().unwrap(), "{batches} ahead");
    }
}

#[test]
fn a_checkpoint_between_two_batches_holds_what_was_caught_up_with() {
    let mut plain = training(recipe(2, 1e-3));
    let (expected, _) = run(&mut plain);
    let mut first = ahead(recipe(2, 1e-3), 1);
    let Ok(Advance::Batch(report)) = first.advance() else { panic!("there is a batch") };
    let mut told = vec![report];
    assert_eq!(first.steps_done(), 1);
    told.extend(rest(&mut first));
    assert_eq!((first.steps_done(), first.catch_up()), (2, Ok(None)));
    let mut second = ahead(recipe(2, 1e-3), 1);
    second.resume(&first.checkpoint().unwrap()).unwrap();
    told.extend(run(&mut second).0);
    assert_eq!(told, expected);
    assert!(second.checkpoint().unwrap() == plain.checkpoint().unwrap(), "the checkpoints differ");
}

#[test]
fn a_batch_that_cannot_be_given_is_an_error_after_what_those_before_it_gave() {
    let mut training = ahead(Recipe { batch_size: 4, ..recipe(1, 1e-3) }, 1);
    training.advance().unwrap();
    training.engine.room = Some(1);
    let Ok(Advance::Batch(report)) = training.advance() else { panic!("a batch was given before") };
    assert_eq!((report.step, training.in_flight.len()), (2, 0));
    assert!(matches!(training.advance(), Err(LearnError::OutOfMemory { .. })));
}

#[test]
#[should_panic(expected = "catch up first")]
fn weights_that_are_ahead_of_their_losses_are_not_saved() {
    let mut training = ahead(recipe(2, 1e-3), 1);
    training.advance().unwrap();
    drop(training.checkpoint());
}

#[test]
fn a_loss_that_is_no_number_is_an_error_of_its_own_step() {
    let mut plain = training(recipe(3, 1e30));
    let mut training = ahead(recipe(3, 1e30), 1);
    let (expected, found) = (run(&mut plain), run(&mut training));
    assert!(matches!(expected.1, Some(LearnError::NonFiniteLoss { .. })), "{expected:?}");
    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
}
