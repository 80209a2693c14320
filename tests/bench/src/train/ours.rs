//! The learner, as the trainer uses it.

use std::time::Instant;

use anyhow::{bail, ensure};
use ursa_learner::{Advance, Augmentation, Dataset, Device, Examples, Rate, Recipe, RunIdentity, Stage, Training};

use crate::case::Case;
use crate::pictures::{CLASSES, Pictures};

/// Batches in memory for steps: when they are all done, the same come again.
const IN_MEMORY: u32 = 16;
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
    /// Batches in an epoch of each.
    steps_in_epoch: u32,
    batches: u32,
}

impl Ours {
    /// Steps are counted in epochs of `steps_in_epoch`.
    pub(crate) fn prepare(
        case: Case,
        pictures: &Pictures,
        device: Device,
        steps_in_epoch: u32,
    ) -> anyhow::Result<Self> {
        let count = pictures.batch_size * IN_MEMORY;
        let (labels, ids) = Pictures::names(count);
        let train = Examples::new(case.size, &pictures.pixels(count), labels, ids)?;
        let again = 0..(pictures.batch_size * steps_in_epoch) as usize;
        let train = train.subset(&again.map(|place| place % count as usize).collect::<Vec<_>>());
        let (labels, ids) = Pictures::names(CLASSES);
        let valid = Examples::new(case.size, &pictures.pixels(CLASSES), labels, ids)?;
        let steps = training(case, device, pictures.batch_size, Augmentation::none(), [train, valid])?;
        let sides = [Pictures::names(pictures.train()), Pictures::names(CLASSES)];
        let sides = Examples::map(pictures.path(), case.size, sides)?;
        let epochs = training(case, device, pictures.batch_size, Augmentation::default(), sides)?;
        Ok(Self { steps, epochs, steps_in_epoch, batches: pictures.batches })
    }

    /// Images per second of about `count` steps: a GPU that was given some ahead does those, too, and they count.
    pub(crate) fn steps(&mut self, count: u32) -> anyhow::Result<f64> {
        let (mut images, mut steps, mut seconds) = (0, 0, 0.0);
        while steps < count {
            if self.steps.batches_done() == u64::from(self.steps_in_epoch) {
                // What is measured at the end of an epoch is no step.
                ensure!(
                    matches!(self.steps.advance()?, Advance::Epoch { .. }),
                    "the epoch did not end with its last batch"
                );
            }
            let begin = Instant::now();
            // To the end of the epoch, or of the turn: the clock stands still in between only when the device does.
            while steps < count && self.steps.batches_done() < u64::from(self.steps_in_epoch) {
                images += learned(self.steps.advance()?)?;
                steps += 1;
            }
            while let Some(report) = self.steps.catch_up()? {
                images += report.images;
                steps += 1;
            }
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
    device: Device,
    batch_size: u32,
    augmentation: Augmentation,
    [train, valid]: [Examples; 2],
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
    Ok(Training::new(identity, data, None, device, case.precision)?)
}
