//! What the recipe may ask for beside the usual.

use tch::{Kind, Tensor};

use super::*;

fn learns(recipe: Recipe) -> Training {
    let mut training = training(recipe);
    let (_, error) = run(&mut training);
    assert_eq!(error, None);
    let (first, last) = (&training.history()[0], training.history().last().unwrap());
    assert!(last.valid.loss < 0.8 * first.valid.loss, "{:?}: {last:#?}", training.identity().recipe);
    training
}

#[test]
fn every_option_still_learns() {
    let plain = recipe(8, 1e-3);
    learns(Recipe { numerics: Numerics::FastaiV2, ..plain.clone() });
    learns(Recipe { mix: Some(Mix::CutMix { alpha: 1.0 }), label_smoothing: 0.1, ..plain.clone() });
    learns(Recipe { augmentation: Augmentation::none(), balance: Balance::ClassWeights, ..plain });
}

#[test]
fn the_averaged_weights_are_what_is_measured_and_kept() {
    let mut training = training(Recipe { weight_average: Some(0.5), ..recipe(1, 1e-3) });
    run(&mut training);
    let kept = training.network().to_safetensors().unwrap();
    assert!(kept == training.engine.average().unwrap().network().to_safetensors().unwrap());
    assert!(kept != training.engine.network().to_safetensors().unwrap());
}

#[test]
fn the_weights_that_are_kept_forget_by_their_decay_and_faster_at_first() {
    const DECAY: f64 = 0.3;
    let mut training = training(Recipe { weight_average: Some(DECAY), ..recipe(2, 1e-2) });
    let weights = |network: &Network| {
        network.named().into_iter().find(|(name, _)| name == "head.fc2.weight").unwrap().1.detach().copy()
    };
    let mut expected = weights(training.engine.network());
    for step in 1..=4_u32 {
        run_batches(&mut training, step.into());
        let keep = DECAY.min(f64::from(1 + step) / f64::from(10 + step));
        expected = expected * keep + weights(training.engine.network()) * (1.0 - keep);
        let difference = (weights(training.network()) - &expected).abs().max().double_value(&[]);
        assert!(difference < 1e-6, "{step}: {difference}");
    }
}

#[test]
fn a_stage_learns_from_pictures_of_its_size() {
    fn pixel(picture: usize, y: u32, x: u32, channel: u32) -> u8 {
        ((picture as u32 * 79 + y * 37 + x * 101 + channel * 59) % 251) as u8
    }
    // The same pictures at every size: shrunk they have the pixels of the small ones.
    let examples = |side: u32, count: usize, first_id: u128| {
        let small = |place: u32| place * SIZE / side;
        let mut pixels = Vec::new();
        for picture in 0..count {
            for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                pixels.extend((0..3).map(|channel| pixel(picture, small(y), small(x), channel)));
            }
        }
        let labels = (0..count as u32).map(|picture| picture % 2).collect();
        Examples::new(side, &pixels, labels, (0..count as u128).map(|index| first_id + index).collect()).unwrap()
    };
    let losses = |side: u32, stages: Vec<Stage>| {
        let data = Dataset { classes: classes(), train: examples(side, 18, 0), valid: examples(side, 6, 100) };
        let recipe = Recipe { image_size: side, stages, augmentation: Augmentation::none(), ..recipe(0, 1e-3) };
        let mut training = training_on(data, recipe, None);
        let (batches, error) = run(&mut training);
        assert_eq!((batches.len(), error), (4, None));
        (batches.iter().map(|batch| batch.loss).collect::<Vec<_>>(), training.history()[0].valid.loss)
    };
    // So low a rate moves nothing: only what is seen makes a difference.
    let stage = |image_size| Stage { image_size, ..Stage::one_cycle(1, Rate::Flat(1e-12)) };
    let (small, measured_small) = losses(SIZE, vec![stage(None), stage(None)]);
    let (large, _) = losses(2 * SIZE, vec![stage(None), stage(None)]);
    let (growing, measured) = losses(2 * SIZE, vec![stage(Some(SIZE)), stage(None)]);
    let near = |one: f64, other: f64| (one / other - 1.0).abs() < 1e-4;
    for batch in 0..4 {
        let (seen, unseen) = if batch < 2 { (small[batch], large[batch]) } else { (large[batch], small[batch]) };
        assert!(near(growing[batch], seen) && !near(growing[batch], unseen), "{small:?} {large:?} {growing:?}");
    }
    assert!((measured / measured_small - 1.0).abs() < 1e-3, "{measured} {measured_small}");
}

#[test]
fn a_first_stage_may_see_smaller_pictures() {
    let small = Stage { image_size: Some(32), ..Stage::one_cycle(1, Rate::Flat(1e-3)) };
    let stages = vec![small, Stage::one_cycle(1, Rate::Flat(1e-3))];
    let recipe = Recipe { image_size: 64, stages, ..recipe(0, 1e-3) };
    let large = |examples: Examples| {
        let pixels = vec![100_u8; examples.len() * 64 * 64 * 3];
        Examples::new(64, &pixels, examples.labels().to_vec(), examples.ids().to_vec()).unwrap()
    };
    let Dataset { classes, train, valid } = data();
    let mut training = training_on(Dataset { classes, train: large(train), valid: large(valid) }, recipe, None);
    assert_eq!(training.private_copy().2, 32);
    run_batches(&mut training, 2);
    training.advance().unwrap();
    assert_eq!(training.private_copy().2, 64);
    assert_eq!(run(&mut training).1, None);
}

#[test]
fn a_model_can_be_gone_on_from_head_and_all() {
    let mut first = training(recipe(1, 1e-3));
    run(&mut first);
    let model = first.network().to_safetensors().unwrap();
    let on = Recipe { pretrained: Some(some_weights()), keep_head: true, ..recipe(1, 1e-4) };
    assert!(training_on(data(), on.clone(), Some(&model)).network().to_safetensors().unwrap() == model);
    let other = Network::new(Architecture::ResNet18, 5, 1, Device::Cpu).to_safetensors().unwrap();
    let error = Training::new(identity(on), data(), Some(&other), Device::Cpu, Precision::Float32).unwrap_err();
    assert!(matches!(error, LearnError::TensorMismatch { .. }), "{error}");
}

#[test]
fn bfloat16_learns_too_with_weights_that_stay_float() {
    crate::set_threads(1);
    let mut training =
        Training::new(identity(recipe(8, 1e-3)), data(), None, Device::Cpu, Precision::BFloat16).unwrap();
    assert_eq!(run(&mut training).1, None);
    let (first, last) = (&training.history()[0], training.history().last().unwrap());
    assert!(last.train_loss < 0.6 * first.train_loss, "{:#?}", training.history());
    assert!(training.network().named().iter().all(|(_, tensor)| tensor.kind() == Kind::Float));
}

/// A step at such a rate is far below what bfloat16 can tell apart: it would be lost if weights were kept in it.
#[test]
fn steps_too_small_for_bfloat16_are_kept_in_the_float_weights() {
    crate::set_threads(1);
    let stage = Stage { start_divisor: Some(1.0), ..Stage::one_cycle(1, Rate::Flat(5e-8)) };
    let recipe = Recipe { weight_decay: 0.0, stages: vec![stage], ..recipe(0, 1e-3) };
    let mut training = Training::new(identity(recipe), data(), None, Device::Cpu, Precision::BFloat16).unwrap();
    let weights = |training: &Training| -> Vec<(String, Tensor)> {
        let of_convolutions = |(_, tensor): &(String, Tensor)| tensor.dim() == 4;
        let named = training.network().named().into_iter().filter(of_convolutions);
        named.map(|(name, tensor)| (name, tensor.copy())).collect()
    };
    let before = weights(&training);
    assert_eq!(run(&mut training).1, None);
    let share = |tensor: &Tensor| tensor.to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
    for ((name, before), (_, after)) in before.iter().zip(weights(&training)) {
        let moved = share(&before.ne_tensor(&after));
        let rounded = |tensor: &Tensor| tensor.to_kind(Kind::BFloat16);
        let moved_in_bfloat16 = share(&rounded(before).ne_tensor(&rounded(&after)));
        // Where a picture has one place left, most of a kernel sees nothing but padding.
        assert!(moved > 0.01 && moved > 10.0 * moved_in_bfloat16, "{name}: {moved} and {moved_in_bfloat16}");
    }
    assert!(training.engine.optimizer().named().iter().all(|(_, moment)| moment.kind() == Kind::Float));
}
