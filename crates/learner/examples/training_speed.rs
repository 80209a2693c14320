//! Images per second of training on this machine, as one JSON line: `training_speed resnet18 128 bfloat16 augmented 8`.
//!
//! The words: architecture, side in pixels, `float32` or `bfloat16`, `augmented` or `plain`, and batches of 32 to time.

#![expect(clippy::print_stdout, reason = "the line is the program's result")]

use std::time::Instant;

use ursa_learner::{
    Advance, Architecture, Augmentation, Dataset, Device, Examples, LearnError, Precision, Rate, Recipe, RunIdentity,
    Stage, Training, set_threads, usable_cores,
};

const BATCH: u32 = 32;
const WARM_UP: u64 = 2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [architecture, size, precision, augmentation, batches] = &words[..] else {
        return Err("usage: training_speed ARCHITECTURE SIZE float32|bfloat16 augmented|plain BATCHES".into());
    };
    let (size, batches): (u32, u64) = (size.parse()?, batches.parse()?);
    let augment = augmentation == "augmented";
    let recipe = Recipe {
        architecture: architecture.parse::<Architecture>()?,
        image_size: size,
        batch_size: BATCH,
        stages: vec![Stage::one_cycle(1, Rate::Flat(1e-3))],
        augmentation: if augment { Augmentation::default() } else { Augmentation::none() },
        ..Recipe::default()
    };
    let precision = if precision == "bfloat16" { Precision::BFloat16 } else { Precision::Float32 };
    set_threads(usable_cores());
    let count = (WARM_UP + batches) as usize * BATCH as usize;
    let data =
        Dataset { classes: vec!["a".into(), "b".into()], train: pictures(size, count)?, valid: pictures(size, 2)? };
    let identity = RunIdentity { recipe, classes: data.classes.clone(), snapshot: String::new() };
    let mut training = Training::new(identity, data, None, Device::Cpu, precision)?;
    let mut start = Instant::now();
    while let Advance::Batch(report) = training.advance()? {
        if report.step == WARM_UP {
            start = Instant::now();
        }
        if report.step == WARM_UP + batches {
            break;
        }
    }
    let rate = (batches * u64::from(BATCH)) as f64 / start.elapsed().as_secs_f64();
    println!(
        "{{\"architecture\": \"{architecture}\", \"size\": {size}, \"precision\": \"{}\", \"augmented\": {augment}, \
         \"threads\": {}, \"images_per_second\": {rate:.2}}}",
        precision.as_str(),
        usable_cores()
    );
    Ok(())
}

fn pictures(size: u32, count: usize) -> Result<Examples, LearnError> {
    let pixels = (0..count * size as usize * size as usize * 3).map(|index| (index * 7919 % 251) as u8);
    let labels = (0..count as u32).map(|index| index % 2).collect();
    Examples::new(size, &pixels.collect::<Vec<u8>>(), labels, (0..count as u128).collect())
}
