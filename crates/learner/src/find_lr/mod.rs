//! The learning-rate finder (Smith 2015) as fastai's `lr_find` (lesson 2 §2.6): a mock training at rates that rise from
//! batch to batch.
//!
//! One thing differs: the lowest loss, four times which ends a test, is looked for among the points that are judged.
//!
//! It works on a private copy of the weights: the run it looks at is as it was, and two tests at once do not meet.

mod curve;
mod suggestion;

use std::ops::ControlFlow;

pub use curve::{RateCurve, Stop};
use ursa_domain::recipe::{GROUPS, RateTest};
use ursa_domain::run::RatePoint;

use crate::LearnError;
use crate::out_of_memory::Shortage;
use crate::randomness::Purpose;
use crate::training::{Moment, Stride, Training};

/// Adam's beta1 in the test: fastai sets none, this is what a new optimizer has.
const MOMENTUM: f64 = 0.9;

/// What a test tells while it goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Heard<'a> {
    /// What a rate gave.
    Point(&'a RatePoint),
    /// Memory does not hold a batch: it is learned from in parts.
    Shortage(Shortage),
}

/// Tests rates on a copy of what `training` is about to train, with what is frozen in its present stage. `observe` hears
/// of every point, and of memory that runs out, and may stop the test. Equal runs give equal curves.
pub fn find_lr(
    training: &Training,
    test: &RateTest,
    mut observe: impl FnMut(Heard<'_>) -> ControlFlow<()>,
) -> Result<RateCurve, LearnError> {
    test.check()?;
    let (mut engine, sampler, image_size) = training.private_copy();
    let sampler = sampler.for_purpose(Purpose::RateOrder);
    let mut curve = RateCurve::begin(*test);
    let batches = (0..).flat_map(|epoch| sampler.batches(epoch).into_iter().map(move |indices| (epoch, indices)));
    for (step, (epoch, indices)) in (0..).zip(batches) {
        let Some(rate) = curve.next_rate() else { break };
        let moment = Moment { epoch, step, image_size };
        let stride = Stride { rates: [rate; GROUPS], momentum: MOMENTUM };
        let loss = engine.step(&training.data().train.batch(&indices), &moment, &stride);
        // Said first, even where nothing else comes of the step.
        if let Some(shortage) = engine.take_shortage()
            && observe(Heard::Shortage(shortage)).is_break()
        {
            return Err(LearnError::Cancelled);
        }
        // Read at once: it decides whether there is another step.
        if let Some(point) = curve.add(loss?.double_value(&[]))
            && observe(Heard::Point(point)).is_break()
        {
            return Err(LearnError::Cancelled);
        }
    }
    Ok(curve)
}
