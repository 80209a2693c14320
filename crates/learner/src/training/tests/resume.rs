//! A run that was interrupted and resumed is the run that was not, bit for bit.

use tch::Tensor;

use super::*;
use crate::randomness::{Purpose, with_libtorch};

/// Everything on, so that everything would have to be restored.
fn rich() -> Recipe {
    let stage = |epochs, frozen, rate| Stage { frozen, ..Stage::one_cycle(epochs, Rate::SliceTo(rate)) };
    Recipe {
        stages: vec![stage(1, true, 3e-3), stage(2, false, 1e-3)],
        pretrained: Some(some_weights()),
        mix: Some(Mix::MixUp { alpha: 0.4 }),
        label_smoothing: 0.1,
        weight_average: Some(0.9),
        balance: Balance::Oversample,
        ..recipe(0, 1e-3)
    }
}

fn begin() -> Training {
    training_on(data(), rich(), Some(&pretrained_body()))
}

/// All weights, statistics and moments.
fn state(training: &Training) -> Vec<(String, Tensor)> {
    let tensors = training.engine.network().named().into_iter().chain(training.engine.optimizer().named());
    tensors.chain(training.engine.average().unwrap().named()).collect()
}

fn assert_same(found: &Training, expected: &Training) {
    let expected_tensors = state(expected);
    let found_tensors = state(found);
    assert_eq!(found_tensors.len(), expected_tensors.len());
    let differing: Vec<&String> = found_tensors
        .iter()
        .zip(&expected_tensors)
        .filter(|((_, found), (_, expected))| found != expected)
        .map(|((name, _), _)| name)
        .collect();
    assert!(differing.is_empty(), "{} tensors differ: {differing:#?}", differing.len());
    assert!(found.checkpoint().unwrap() == expected.checkpoint().unwrap(), "the checkpoints differ");
}

#[test]
fn a_run_interrupted_after_any_batch_ends_with_the_very_bytes_of_an_unbroken_one() {
    let mut unbroken = begin();
    let mut checkpoints = Vec::new();
    loop {
        checkpoints.push((unbroken.steps_done(), unbroken.epochs_done(), unbroken.checkpoint().unwrap()));
        if unbroken.advance().unwrap() == Advance::Done {
            break;
        }
    }
    // In the first stage, before its measurement, at its end, in the middle of the second, and after everything.
    for (step, epoch) in [(1, 0), (2, 0), (2, 1), (3, 1), (6, 3)] {
        let (.., checkpoint) = checkpoints.iter().find(|found| (found.0, found.1) == (step, epoch)).unwrap();
        // Another process would not share libtorch's generator.
        with_libtorch(99, Purpose::Dropout, 0, || ());
        let mut resumed = begin();
        assert!(resumed.resume(checkpoint).unwrap().is_empty(), "nothing differs here");
        assert_eq!((resumed.steps_done(), resumed.epochs_done()), (step, epoch));
        run(&mut resumed);
        assert_same(&resumed, &unbroken);
    }
}

#[test]
fn a_run_that_goes_on_under_other_conditions_says_which() {
    let mut first = training(recipe(1, 1e-3)).of_version("this");
    run_batches(&mut first, 1);
    let checkpoint = first.checkpoint().unwrap();
    let other = Training::new(identity(recipe(1, 1e-3)), data(), None, Device::Cpu, Precision::BFloat16).unwrap();
    let mut other = other.of_version("another");
    crate::set_threads(2);
    let differences = other.resume(&checkpoint).unwrap();
    let expected =
        ["version another in place of this", "precision bfloat16 in place of float32", "threads 2 in place of 1"];
    assert_eq!(differences, expected);
    let seen: Vec<u32> = other.conditions().iter().map(|conditions| conditions.threads).collect();
    assert_eq!((seen, first.conditions().len()), (vec![1, 2], 1), "both are told of what comes of it");
}

#[test]
fn the_same_recipe_data_and_seed_give_the_same_network_and_another_seed_another() {
    let weights = |seed| {
        let mut training = training(Recipe { seed, ..recipe(1, 1e-3) });
        run(&mut training);
        training.network().to_safetensors().unwrap()
    };
    assert!(weights(1) == weights(1));
    assert!(weights(1) != weights(2));
}

#[test]
fn another_run_goes_on_from_a_checkpoint_if_nothing_but_its_rates_differs() {
    let mut first = training(recipe(2, 1e-3));
    while first.epochs_done() < 1 {
        first.advance().unwrap();
    }
    let checkpoint = first.checkpoint().unwrap();
    let mut lower = training(Recipe { stop_early: false, ..recipe(2, 1e-4) });
    assert!(matches!(lower.resume(&checkpoint), Err(LearnError::DifferentRun { .. })));
    lower.start_from(&checkpoint).unwrap();
    assert_eq!((lower.epochs_done(), lower.history().len()), (1, 1));
    assert!(lower.network().to_safetensors().unwrap() == first.network().to_safetensors().unwrap());
    let Ok(Advance::Batch(report)) = lower.advance() else { panic!("there is more to learn") };
    assert!(report.epoch == 1 && report.learning_rate < 2e-4, "{report:?}");
    for (other, what) in [
        (Recipe { dropout: 0.1, ..recipe(2, 1e-4) }, "dropout"),
        (recipe(3, 1e-4), "stages"),
        (Recipe { seed: 7, ..recipe(2, 1e-4) }, "seed"),
    ] {
        let error = training(other).start_from(&checkpoint).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}
