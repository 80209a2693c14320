//! A part of a trial of a search: where it ends, and what is told of it then.

use ursa_domain::run::{RunResult, Rung};
use ursa_domain::search::Measured;
use ursa_learner::{BatchReport, LearnError, Training};

/// Whether a run has come to the end of its part.
pub(crate) fn is_over(rung: Option<Rung>, training: &Training) -> bool {
    rung.is_some_and(|rung| training.epochs_done() >= rung.until)
}

/// What a part leaves behind whose run goes on: how good it is there. Nothing where every epoch is done.
pub(crate) fn result(training: &Training) -> Option<RunResult> {
    let last = training.history().last().filter(|_| training.epochs_done() < training.epochs())?;
    let errors = last.valid.errors();
    let epochs = training.epochs_done();
    Some(RunResult::Rung(Measured { epochs, errors: errors.count, validated: errors.of, loss: last.valid.loss }))
}

/// Whether an error only says that the hyper-parameters were bad.
pub(crate) fn is_divergence(error: &LearnError) -> bool {
    matches!(error, LearnError::NonFiniteLoss { .. } | LearnError::AbsurdLoss { .. })
}

/// Batches that are done of those of the part, or of the whole run where that is one; `epochs` are the run's.
pub(crate) fn progress(rung: Option<Rung>, report: &BatchReport, epochs: u32) -> (u64, u64) {
    let Some(Rung { after, until }) = rung else { return (report.step, report.steps) };
    let per_epoch = report.steps / u64::from(epochs.max(1));
    let before = u64::from(after) * per_epoch;
    (report.step.saturating_sub(before), u64::from(until.saturating_sub(after)) * per_epoch)
}
