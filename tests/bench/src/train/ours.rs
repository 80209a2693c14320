//! The learner, as the trainer uses it.

use std::time::Instant;

use anyhow::{bail, ensure};
use ursa_learner::{Advance, Augmentation, Dataset, Device, Examples, Rate, Recipe, RunIdentity, Stage, Training};

use crate::case::Case;
use crate::pictures::{CLASSES, Pictures};

/// Batches in memory for steps; when they are all done, the same come again.
const STEPS: u32 = 16;
/// More than any run needs.
const EPOCHS: u32 = 1000;
/// So low that noise can be learned from for any time.
const RATE: f64 = 1e-4;

/// Two runs of the same case.
pub(crate) struct Ours {
    /// Without alterations, pictures in memory.
    steps: Training,
    /// With all alterations, pictures in a mapped file.
    epochs: Training,
    batches: u32,
}

impl Ours {
    pub(crate) fn prepare(case: Case, pictures: &Pictures) -> anyhow::Result<Self> {
        let count = pictures.batch_size * STEPS;
        let (labels, ids) = Pictures::names(count);
        let train = Examples::new(case.size, &pictures.pixels(count), labels, ids)?;
        let (labels, ids) = Pictures::names(CLASSES);
        let valid = Examples::new(case.size, &pictures.pixels(CLASSES), labels, ids)?;
        let steps = training(case, pictures.batch_size, Augmentation::none(), train, valid)?;
        let sides = [Pictures::names(pictures.train()), Pictures::names(CLASSES)];
        let [train, valid] = Examples::map(pictures.path(), case.size, sides)?;
        let epochs = training(case, pictures.batch_size, Augmentation::default(), train, valid)?;
        Ok(Self { steps, epochs, batches: pictures.batches })
    }

    /// Images per second of `count` steps.
    pub(crate) fn steps(&mut self, count: u32) -> anyhow::Result<f64> {
        let (mut images, mut seconds) = (0, 0.0);
        for _ in 0..count {
            if self.steps.batches_done() == u64::from(STEPS) {
                // What is measured at the end of an epoch is no step.
                self.steps.advance()?;
            }
            let begin = Instant::now();
            images += learned(self.steps.advance()?)?;
            seconds += begin.elapsed().as_secs_f64();
        }
        Ok(images as f64 / seconds)
    }

    /// Images per second of an epoch, from the moment it may begin to load to the end of its last batch.
    pub(crate) fn epoch(&mut self) -> anyhow::Result<f64> {
        let begin = Instant::now();
        let mut images = 0;
        for _ in 0..self.batches {
            images += learned(self.epochs.advance()?)?;
        }
        let rate = images as f64 / begin.elapsed().as_secs_f64();
        ensure!(matches!(self.epochs.advance()?, Advance::Epoch { .. }), "the epoch did not end with its last batch");
        Ok(rate)
    }
}

fn learned(advance: Advance) -> anyhow::Result<u64> {
    match advance {
        Advance::Batch(report) => Ok(report.images),
        other => bail!("a batch was expected: {other:?}"),
    }
}

fn training(
    case: Case,
    batch_size: u32,
    augmentation: Augmentation,
    train: Examples,
    valid: Examples,
) -> anyhow::Result<Training> {
    let recipe = Recipe {
        architecture: case.architecture,
        image_size: case.size,
        batch_size,
        stages: vec![Stage::one_cycle(EPOCHS, Rate::Flat(RATE))],
        augmentation,
        ..Recipe::default()
    };
    let classes: Vec<String> = (0..CLASSES).map(|class| class.to_string()).collect();
    let identity = RunIdentity { recipe, classes: classes.clone(), snapshot: String::new() };
    let data = Dataset { classes, train, valid };
    Ok(Training::new(identity, data, None, Device::Cpu, case.precision)?)
}
