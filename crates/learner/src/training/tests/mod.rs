//! Runs on small drawn pictures, on one thread.

mod ahead;
mod bad_input;
mod lesson;
mod micro_batch;
mod options;
mod resume;
mod together;

use ursa_domain::recipe::{
    Architecture, Augmentation, Balance, Method, Mix, Numerics, PretrainedWeights, Rate, RateTest, Stage,
};

use super::*;
use crate::data::Examples;

const SIZE: u32 = 32;

/// Pictures of two classes: bright or dark, with noise. Of each picture of `flipped` the label is wrong.
fn pictures(count: usize, first_id: u128, flipped: impl Fn(usize) -> bool) -> Examples {
    let truths: Vec<u32> = (0..count as u32).map(|index| index % 2).collect();
    let values = (SIZE * SIZE * 3) as usize;
    let pixel = |picture: usize, index: usize| {
        let noise = ((picture * 7919 + index * 104_729) % 41) as u32;
        (30 + truths[picture] * 150 + noise) as u8
    };
    let pixels: Vec<u8> = (0..count)
        .flat_map(|picture| (0..values).map(move |index| (picture, index)))
        .map(|(p, i)| pixel(p, i))
        .collect();
    let labels = truths.iter().enumerate().map(|(index, &truth)| truth ^ u32::from(flipped(index))).collect();
    Examples::new(SIZE, &pixels, labels, (0..count as u128).map(|index| first_id + index).collect()).unwrap()
}

fn classes() -> Vec<String> {
    vec!["dark".into(), "bright".into()]
}

fn data() -> Dataset {
    Dataset { classes: classes(), train: pictures(18, 0, |_| false), valid: pictures(6, 100, |_| false) }
}

fn recipe(epochs: u32, rate: f64) -> Recipe {
    Recipe {
        architecture: Architecture::ResNet18,
        stages: vec![Stage::one_cycle(epochs, Rate::Flat(rate))],
        batch_size: 8,
        image_size: SIZE,
        ..Recipe::default()
    }
}

fn identity(recipe: Recipe) -> RunIdentity {
    RunIdentity { recipe, classes: classes(), snapshot: "s".into() }
}

fn training_on(data: Dataset, recipe: Recipe, pretrained: Option<&[u8]>) -> Training {
    crate::set_threads(1);
    Training::new(identity(recipe), data, pretrained, Device::Cpu, Precision::Float32).unwrap()
}

fn training(recipe: Recipe) -> Training {
    training_on(data(), recipe, None)
}

/// The body of a network as torchvision would write it.
fn pretrained_body() -> Vec<u8> {
    let body: Vec<_> = Network::new(Architecture::ResNet18, 2, 3, Device::Cpu)
        .named()
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("body.")?.to_owned(), tensor)))
        .collect();
    crate::tensor_file::write("test", &body, None).unwrap()
}

fn some_weights() -> PretrainedWeights {
    PretrainedWeights { location: "/weights".into(), sha256: "0".repeat(64) }
}

/// Advances to the end or to an error; what was said.
fn run(training: &mut Training) -> (Vec<BatchReport>, Option<LearnError>) {
    let mut batches = Vec::new();
    loop {
        match training.advance() {
            Ok(Advance::Batch(report)) => batches.push(report),
            Ok(Advance::Epoch { images_per_second, .. }) => assert!(images_per_second.is_none_or(|rate| rate > 0.0)),
            Ok(Advance::Done) => return (batches, None),
            Err(error) => return (batches, Some(error)),
        }
    }
}

fn run_batches(training: &mut Training, count: u64) {
    while training.steps_done() < count {
        training.advance().unwrap();
    }
}

#[test]
fn bright_and_dark_are_learned_and_the_loss_falls() {
    let mut training = training(recipe(12, 1e-3));
    let (batches, error) = run(&mut training);
    assert_eq!((batches.len(), error), (24, None));
    assert_eq!((batches[23].step, batches[23].steps, batches[23].images), (24, 24, 8));
    let history = training.history();
    assert_eq!(history.len(), 12);
    let last = &history[11];
    assert!(last.valid.loss < history[0].valid.loss / 1.5, "{history:#?}");
    assert_eq!((last.step, last.valid.errors().of, last.train.errors().of), (24, 6, 6));
    assert_eq!(last.valid.errors().count, 0, "{history:#?}");
    assert!(last.train.loss < last.train_loss, "what is measured is not what is averaged");
    assert_eq!(training.advance(), Ok(Advance::Done));
}

#[test]
fn the_schedule_reaches_the_reports_of_every_group() {
    let recipe = Recipe { stages: vec![Stage::one_cycle(2, Rate::Slice(1e-5, 1e-3))], ..recipe(2, 1e-3) };
    let (batches, _) = run(&mut training(recipe.clone()));
    let cycle = StagePlan::all(&recipe, 2)[0].cycle;
    for (index, report) in (0..).zip(&batches) {
        for (rate, peak) in report.learning_rates.iter().zip(recipe.stages[0].rate.of_groups()) {
            assert!((rate - cycle.learning_rate(index, peak)).abs() < 1e-12);
        }
        assert!((report.momentum - cycle.momentum(index)).abs() < 1e-12);
    }
}

#[test]
fn a_frozen_body_keeps_its_weights_until_its_stage_is_over() {
    let stages = Recipe::lesson_stages(1, 1e-3, 1, 1e-5);
    let recipe = Recipe { pretrained: Some(some_weights()), stages, ..recipe(0, 1e-3) };
    let mut training = training_on(data(), recipe, Some(&pretrained_body()));
    let tensor = |training: &Training, wanted: &str| {
        training.network().named().into_iter().find(|(name, _)| name == wanted).unwrap().1.copy()
    };
    let names = ["body.conv1.weight", "body.bn1.weight", "head.fc1.weight"];
    let before = names.map(|name| tensor(&training, name));
    run_batches(&mut training, 2);
    let frozen = names.map(|name| tensor(&training, name));
    assert!(before[0] == frozen[0] && before[1] != frozen[1] && before[2] != frozen[2]);
    run(&mut training);
    assert_ne!(tensor(&training, names[0]), frozen[0]);
}

#[test]
fn stages_that_freeze_the_same_keep_the_optimizer_and_others_do_not() {
    let steps = |frozen: bool| {
        let first = Stage { frozen, ..Stage::one_cycle(1, Rate::Flat(1e-3)) };
        let stages = vec![first, Stage::one_cycle(1, Rate::Flat(1e-3))];
        let recipe = Recipe { pretrained: Some(some_weights()), stages, ..recipe(0, 1e-3) };
        let mut training = training_on(data(), recipe, Some(&pretrained_body()));
        run(&mut training);
        training.engine.optimizer().steps()
    };
    assert_eq!((steps(false), steps(true)), (4, 2));
}
