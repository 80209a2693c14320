//! The learning rate is too low: losses fall from epoch to epoch, and hardly.

use super::Evidence;
use ursa_domain::run::{Finding, Problem};

/// A network that has learned its pictures loses far less than this share of a guess on them.
const NOT_LEARNED: f64 = 0.5;
/// Falling by less than this share per epoch is slow.
const SLOW: f64 = 0.25;
/// Beyond this many guesses it is no slow learner but a run that got lost.
const LOST: f64 = 1.5;

pub(super) fn find(evidence: &Evidence<'_>) -> Option<Finding> {
    let (first, last) = (evidence.epochs.first()?, evidence.last()?);
    let epochs = last.epoch.checked_sub(first.epoch).filter(|epochs| *epochs > 0)?;
    let fall = 1.0 - (last.train.loss / first.train.loss).powf(1.0 / f64::from(epochs));
    let learned = last.train.loss < NOT_LEARNED * evidence.chance();
    // Errors that grow are no slow learning, whatever the loss does.
    let worse = last.valid.errors().count > first.valid.errors().count;
    if learned || worse || last.train.loss > LOST * evidence.chance() || fall > SLOW {
        return None;
    }
    Some(Finding {
        problem: Problem::RateTooLow,
        seen: format!(
            "after {} epochs the loss on training pictures is still {:.2} (a guess: {:.2}); it fell by {} per epoch at a \
             rate of {:.1e}",
            epochs + 1,
            last.train.loss,
            evidence.chance(),
            super::percent(fall.max(0.0)),
            evidence.recipe.peak_rate()
        ),
        why: "the network has not yet learned the pictures it was shown; at this pace it would take far too long".into(),
        advice: "raise the learning rate tenfold, and tenfold again if that is still slow; the learning-rate finder shows how \
                 high it may be. If no rate helps, the labels or the pictures tell the classes apart badly"
            .into(),
        recipe: Some(evidence.recipe.with_rates_scaled(10.0)),
        go_back_to: None,
    })
}
