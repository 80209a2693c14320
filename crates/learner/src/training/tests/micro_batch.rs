//! Batches in parts: what is learned is the whole batch, and memory that runs out ends no run.

use std::ops::ControlFlow;

use tch::{Kind, Tensor};

use super::*;
use crate::augment::Target;
use crate::find_lr::{Heard, find_lr};
use crate::network::{Parameter, channels_last};
use crate::randomness::noise;

/// Nothing dropped or altered: whoever computes in parts computes the same.
fn plain(micro_batch: Option<u32>) -> Recipe {
    Recipe { dropout: 0.0, augmentation: Augmentation::none(), micro_batch, ..recipe(2, 1e-3) }
}

/// A run on a machine that holds `room` pictures at once.
fn with_room(recipe: Recipe, room: usize) -> Training {
    let mut training = training(recipe);
    training.engine.room = Some(room);
    training
}

/// The second half shows what the first does, so that normalisation sees the same in parts as in the whole. Labels differ.
#[test]
fn gradients_of_parts_add_up_to_those_of_the_whole_batch() {
    let recipe = Recipe { label_smoothing: 0.1, ..plain(None) };
    let moment = Moment { epoch: 0, step: 0, image_size: SIZE };
    let half = channels_last(&noise(&[4, 3, 96, 96], 3));
    let images = Tensor::cat(&[&half, &half], 0);
    let labels = Tensor::from_slice(&[0_i64, 0, 0, 1, 1, 1, 0, 1]);
    let share = Tensor::from_slice(&[1.0_f32, 0.5, 1.0, 0.2, 1.0, 0.9, 1.0, 1.0]);
    let targets = [Target { labels, share }];
    let mut training = training(recipe);
    let whole = training.engine.gradients(&images, &targets, &moment).unwrap();
    training.engine.set_micro_batch(Some(4));
    let parts = training.engine.gradients(&images, &targets, &moment).unwrap();
    let [whole_loss, parts_loss] = [&whole, &parts].map(|gradients| gradients.loss.double_value(&[]));
    assert!((whole_loss - parts_loss).abs() < 1e-4, "{parts_loss} is not {whole_loss}");
    let parameters = training.engine.network().parameters();
    assert_eq!((whole.gradients.len(), parts.gradients.len()), (parameters.len(), parameters.len()));
    for (index, Parameter { name, .. }) in parameters.iter().enumerate() {
        let (whole, parts) = (&whole.gradients[index], &parts.gradients[index]);
        let size = |tensor: &Tensor| tensor.to_kind(Kind::Double).norm().double_value(&[]);
        let (scale, difference) = (size(whole), size(&(whole - parts)));
        // Far from the loss a rounding that moves a value across zero shows; a part that counted too much would show
        // everywhere.
        let tolerance = if name.starts_with("head.fc2") { 1e-4 } else { 2e-2 };
        assert!(difference <= tolerance * scale.max(0.1), "{name}: {difference} of {scale}");
    }
}

#[test]
fn a_run_whose_memory_runs_out_goes_on_in_parts_and_ends_as_if_it_had_been_told() {
    let mut short = with_room(plain(None), 3);
    assert_eq!(short.micro_batch(), None);
    let (batches, error) = run(&mut short);
    assert_eq!((batches.len(), error, short.micro_batch()), (4, None, Some(2)));
    let shortage = short.take_shortage().unwrap();
    assert_eq!((shortage, short.take_shortage()), (Shortage { whole: 8, parts: 2 }, None));
    let said = shortage.to_string();
    assert!(said.contains("does not hold 8 pictures at once") && said.contains("parts of 2"), "{said}");
    let mut told = training(plain(Some(2)));
    assert_eq!(told.micro_batch(), Some(2));
    let (expected, _) = run(&mut told);
    assert_eq!(told.take_shortage(), None, "what was asked for is no shortage");
    let losses = |batches: &[BatchReport]| batches.iter().map(|report| report.loss).collect::<Vec<_>>();
    assert_eq!(losses(&batches), losses(&expected));
    assert!(short.network().to_safetensors().unwrap() == told.network().to_safetensors().unwrap());
}

#[test]
fn a_test_of_rates_says_when_memory_runs_out_and_goes_on_in_parts() {
    let test = RateTest { steps: 5, start: 1e-6, ..RateTest::default() };
    let find = |training: &Training| {
        let (mut shortages, mut points) = (Vec::new(), 0);
        let curve = find_lr(training, &test, |heard| {
            match heard {
                Heard::Point(_) => points += 1,
                Heard::Shortage(shortage) => shortages.push((points, shortage)),
            }
            ControlFlow::Continue(())
        });
        (curve.unwrap(), shortages)
    };
    let (curve, shortages) = find(&with_room(plain(None), 3));
    assert_eq!(shortages, [(0, Shortage { whole: 8, parts: 2 })], "once, before the first rate gave anything");
    assert_eq!((curve, Vec::new()), find(&training(plain(Some(2)))));
}

#[test]
fn a_test_of_rates_that_memory_does_not_hold_says_what_it_tried() {
    let mut heard = Vec::new();
    let error = find_lr(&with_room(plain(None), 1), &RateTest::default(), |one| {
        heard.push(format!("{one:?}"));
        ControlFlow::Continue(())
    })
    .unwrap_err();
    assert!(matches!(error, LearnError::OutOfMemory { pictures: 2, .. }), "{error}");
    assert_eq!(heard, [format!("{:?}", Heard::Shortage(Shortage { whole: 8, parts: 2 }))]);
}

#[test]
fn memory_that_holds_too_few_to_learn_from_is_an_error_that_says_so() {
    let (_, error) = run(&mut with_room(plain(None), 1));
    let Some(LearnError::OutOfMemory { pictures: 2, reason }) = &error else { panic!("{error:?}") };
    assert!(reason.contains("allocate"), "{reason}");
    assert!(error.unwrap().to_string().contains("lower image_size"));
}

#[test]
fn parts_still_learn_with_everything_on() {
    let recipe = Recipe { mix: Some(Mix::MixUp { alpha: 0.4 }), micro_batch: Some(4), ..recipe(8, 1e-3) };
    let mut training = training(recipe);
    assert_eq!(run(&mut training).1, None);
    let (first, last) = (&training.history()[0], training.history().last().unwrap());
    assert!(last.valid.loss < 0.8 * first.valid.loss, "{:#?}", training.history());
}

/// The machine that it is resumed on has more memory: the parts stay what they were.
#[test]
fn a_run_in_parts_that_was_interrupted_ends_with_the_very_bytes_of_an_unbroken_one() {
    let recipe = Recipe { micro_batch: None, ..recipe(2, 1e-3) };
    let mut unbroken = with_room(recipe.clone(), 4);
    run_batches(&mut unbroken, 1);
    let checkpoint = unbroken.checkpoint().unwrap();
    run(&mut unbroken);
    let mut resumed = training(recipe.clone());
    resumed.resume(&checkpoint).unwrap();
    assert_eq!(resumed.micro_batch(), Some(4));
    run(&mut resumed);
    assert!(resumed.checkpoint().unwrap() == unbroken.checkpoint().unwrap(), "the checkpoints differ");
    let mut whole = training(recipe);
    run(&mut whole);
    assert!(whole.network().to_safetensors().unwrap() != unbroken.network().to_safetensors().unwrap());
}
