//! The learning rate is too high: nothing that was learned survives. It cannot be mended by going on.

use super::{Evidence, chance};
use crate::LearnError;
use crate::recorder::{EpochReport, best};
use ursa_domain::run::{Finding, Problem};

/// A validation loss of so many guesses is beyond any overfitting.
const ABSURD: f64 = 10.0;
/// A smoothed training loss of so many guesses is that of weights which were thrown away. Runs of a few batches that came to
/// something had up to 3, those at hopeless rates more than 4; the lesson's, at 0.5, had 11.
const LOST: f64 = 4.0;
/// A smoothed loss this many times the lowest has run away.
const RUN_AWAY: f64 = 4.0;

/// Whether an epoch's losses show that the run is lost and need not be gone on with. An absurd validation loss alone does not:
/// with few batches behind it, batch normalisation measures with statistics of weights that are long gone, and comes right by
/// itself (validation losses of 300 before one of 0.6 are common). The training loss knows nothing of that.
pub fn is_lost(report: &EpochReport, classes: usize) -> bool {
    is_absurd(report, classes) && report.train_loss > LOST * chance(classes)
}

/// Valid loss is normally below 1.
fn is_absurd(report: &EpochReport, classes: usize) -> bool {
    report.valid.loss > ABSURD * chance(classes)
}

pub(super) fn find(evidence: &Evidence<'_>) -> Option<Finding> {
    let seen = non_finite(evidence).or_else(|| absurd(evidence)).or_else(|| run_away(evidence))?;
    let classes = evidence.classes.len();
    // Also of those after an absurd one: that may have come right by itself.
    let sound: Vec<EpochReport> =
        evidence.epochs.iter().filter(|report| !is_absurd(report, classes)).cloned().collect();
    let good = best(&sound);
    let from = match good {
        Some(good) => format!("start again from the checkpoint after epoch {} (batch {})", good.epoch + 1, good.step),
        None => "create the network again".to_owned(),
    };
    Some(Finding {
        problem: Problem::RateTooHigh,
        seen,
        why: "every step jumps over what it aims at and lands farther away; the weights cannot be mended by going on"
            .into(),
        advice: format!("{from}, with a tenth of the learning rate; the learning-rate finder shows how high it may be"),
        recipe: Some(evidence.recipe.with_rates_scaled(0.1)),
        go_back_to: good.map(|good| good.epoch),
    })
}

fn non_finite(evidence: &Evidence<'_>) -> Option<String> {
    match evidence.failure? {
        LearnError::NonFiniteLoss { loss, step, .. } => Some(format!(
            "the loss became {loss} after {step} batches at a rate of {:.1e}",
            evidence.recipe.peak_rate()
        )),
        _ => None,
    }
}

fn absurd(evidence: &Evidence<'_>) -> Option<String> {
    let last = evidence.last().filter(|last| is_absurd(last, evidence.classes.len()))?;
    let (loss, chance) = (last.valid.loss, evidence.chance());
    Some(format!("the validation loss is {loss:.4} after epoch {}; a guess would have {chance:.2}", last.epoch + 1))
}

fn run_away(evidence: &Evidence<'_>) -> Option<String> {
    let (lowest, now) = (evidence.smooth_loss.lowest()?, evidence.smooth_loss.value());
    let away = now > RUN_AWAY * lowest && now > 2.0 * evidence.chance();
    away.then(|| format!("the smoothed loss rose from {lowest:.3} to {now:.3}"))
}
