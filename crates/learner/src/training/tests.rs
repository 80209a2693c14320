use std::cell::Cell;

use ursa_domain::spec::{Architecture, PretrainedWeights, TrainRecipe};

use super::*;
use crate::dataset::Examples;

const SIZE: u32 = 32;

/// Pictures of two classes: bright or dark, with noise.
fn examples(count: usize, first_id: u128) -> Examples {
    let labels: Vec<u32> = (0..count as u32).map(|index| index % 2).collect();
    let pixel = |index: usize, label: u32| (60 + label * 100 + (index * 7919 % 61) as u32) as u8;
    let values = (SIZE * SIZE * 3) as usize;
    let pixels: Vec<u8> = labels.iter().flat_map(|&label| (0..values).map(move |index| pixel(index, label))).collect();
    let ids = (0..count as u128).map(|index| first_id + index).collect();
    Examples::new(SIZE, &pixels, labels, ids).unwrap()
}

fn recipe(epochs: u32) -> TrainRecipe {
    TrainRecipe {
        architecture: Architecture::ResNet18,
        epochs,
        batch_size: 8,
        image_size: SIZE,
        max_learning_rate: 1e-3,
        ..TrainRecipe::default()
    }
}

fn identity(recipe: TrainRecipe) -> RunIdentity {
    RunIdentity { recipe, classes: vec!["dark".into(), "bright".into()], snapshot: "s".into() }
}

fn data() -> Dataset {
    Dataset { classes: vec!["dark".into(), "bright".into()], train: examples(18, 0), valid: examples(6, 100) }
}

fn training(recipe: TrainRecipe, pretrained: Option<&[u8]>) -> Training {
    crate::set_threads(1);
    Training::new(identity(recipe), data(), pretrained, Device::Cpu, Precision::Float32).unwrap()
}

#[derive(Default)]
struct Recorder {
    reports: Vec<BatchReport>,
    stop_after: Option<usize>,
    asked: Cell<usize>,
}

impl Observer for Recorder {
    fn batch(&mut self, report: &BatchReport) {
        self.reports.push(*report);
    }

    fn cancelled(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.stop_after.is_some_and(|limit| self.asked.get() > limit)
    }
}

fn run(training: &mut Training, epochs: u32) -> Vec<BatchReport> {
    let mut recorder = Recorder::default();
    for _ in 0..epochs {
        training.run_epoch(&mut recorder).unwrap().unwrap();
    }
    recorder.reports
}

#[test]
fn bright_and_dark_are_learned_and_the_loss_falls() {
    let mut training = training(recipe(6), None);
    let reports = run(&mut training, 6);
    assert_eq!(reports.len(), 12);
    assert_eq!((reports[11].step, reports[11].steps), (12, 12));
    assert!(reports[11].smooth_loss < reports[0].smooth_loss / 1.5, "{reports:#?}");
    let last = training.history().last().unwrap();
    assert!(last.error_rate < 0.01, "{:#?}", training.history());
    assert_eq!(training.run_epoch(&mut Recorder::default()).unwrap(), None);
}

#[test]
fn the_schedule_reaches_the_reports() {
    let mut training = training(recipe(2), None);
    let reports = run(&mut training, 2);
    let cycle = OneCycle::over(4);
    for (index, report) in reports.iter().enumerate() {
        assert!((report.learning_rate - cycle.learning_rate(index as u64, 1e-3)).abs() < 1e-12);
        assert!((report.momentum - cycle.momentum(index as u64)).abs() < 1e-12);
    }
}

#[test]
fn a_resumed_run_ends_with_the_very_bytes_of_an_unbroken_one() {
    let mut unbroken = training(recipe(2), None);
    run(&mut unbroken, 2);

    let mut first = training(recipe(2), None);
    run(&mut first, 1);
    let checkpoint = first.checkpoint().unwrap();
    tch::manual_seed(99); // Another process would not share libtorch's generator.
    let mut second = training(recipe(2), None);
    second.resume(&checkpoint).unwrap();
    assert_eq!(second.epochs_done(), 1);
    run(&mut second, 1);

    assert_same_tensors(&state(&second), &state(&unbroken));
    assert!(second.checkpoint().unwrap() == unbroken.checkpoint().unwrap(), "the checkpoints differ");
}

#[test]
fn a_frozen_body_keeps_its_weights_until_its_stage_is_over() {
    let body: Vec<(String, Tensor)> = Network::new(Architecture::ResNet18, 2, 3, Device::Cpu)
        .named()
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("body.")?.to_owned(), tensor)))
        .collect();
    let weights = crate::tensor_file::write("test", &body, None).unwrap();
    let pretrained = Some(PretrainedWeights { location: "/weights".into(), sha256: String::new() });
    let recipe = TrainRecipe { pretrained, frozen_epochs: 1, ..recipe(1) };
    let mut training = training(recipe, Some(&weights));
    let tensor = |training: &Training, wanted: &str| {
        training.network().named().into_iter().find(|(name, _)| name == wanted).unwrap().1.copy()
    };
    let names = ["body.conv1.weight", "body.bn1.weight", "head.fc1.weight"];
    let before = names.map(|name| tensor(&training, name));
    run(&mut training, 1);
    let frozen = names.map(|name| tensor(&training, name));
    assert!(before[0] == frozen[0] && before[1] != frozen[1] && before[2] != frozen[2]);
    run(&mut training, 1);
    assert_ne!(tensor(&training, names[0]), frozen[0]);
}

#[test]
fn a_checkpoint_of_another_run_is_refused_saying_what_differs() {
    let checkpoint = training(recipe(2), None).checkpoint().unwrap();
    let refused = |identity: RunIdentity| {
        let mut other = Training::new(identity, data(), None, Device::Cpu, Precision::Float32).unwrap();
        other.resume(&checkpoint).unwrap_err()
    };
    assert_eq!(refused(identity(recipe(3))), LearnError::DifferentRun { what: "the recipe" });
    let other = RunIdentity { snapshot: "t".into(), ..identity(recipe(2)) };
    assert_eq!(refused(other), LearnError::DifferentRun { what: "the snapshot" });
    let mut cut = training(recipe(2), None);
    assert!(cut.resume(&checkpoint[..checkpoint.len() / 2]).is_err());
}

#[test]
fn a_rate_that_explodes_is_an_error_that_says_so() {
    let mut training = training(TrainRecipe { max_learning_rate: 1e30, ..recipe(3) }, None);
    let mut recorder = Recorder::default();
    let error = (0..3).find_map(|_| training.run_epoch(&mut recorder).err()).expect("the loss stayed finite");
    assert!(error.to_string().contains("lower max_learning_rate"), "{error}");
}

#[test]
fn cancellation_takes_effect_between_batches() {
    let mut training = training(recipe(2), None);
    let mut recorder = Recorder { stop_after: Some(1), ..Recorder::default() };
    assert_eq!(training.run_epoch(&mut recorder).unwrap_err(), LearnError::Cancelled);
    assert_eq!(recorder.reports.len(), 1);
}

/// Copies of all weights, statistics and moments.
fn state(training: &Training) -> Vec<(String, Tensor)> {
    let tensors = training.network().named().into_iter().chain(training.optimizer.named());
    tensors.map(|(name, tensor)| (name, tensor.copy())).collect()
}

/// Bit for bit, naming those that differ.
fn assert_same_tensors(found: &[(String, Tensor)], expected: &[(String, Tensor)]) {
    let differing: Vec<String> = found
        .iter()
        .zip(expected)
        .filter(|((_, found), (_, expected))| found != expected)
        .map(|((name, found), (_, expected))| {
            format!("{name} by {:e}", (found - expected).abs().max().double_value(&[]))
        })
        .collect();
    assert!(differing.is_empty(), "{} tensors differ: {differing:#?}", differing.len());
}
