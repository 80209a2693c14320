//! Too few epochs: the run ended while it was getting better.

use ursa_domain::recipe::{Recipe, Stage};

use super::Evidence;
use ursa_domain::run::{Finding, Problem};

/// The validation loss of an epoch, in shares of the one before, above which nothing moves any more.
const STILL_FALLING: f64 = 0.95;
/// What the lesson begins with.
const USUAL_EPOCHS: u32 = 4;

pub(super) fn find(evidence: &Evidence<'_>) -> Option<Finding> {
    let finished = evidence.epochs.len() as u32 >= evidence.recipe.epochs();
    let last = evidence.last().filter(|last| finished && last.valid.errors().count > 0)?;
    let seen = match evidence.epochs.len().checked_sub(2).map(|index| &evidence.epochs[index]) {
        None => format!("one epoch was trained; {} are still wrong", last.valid.errors()),
        Some(before) => {
            let falling = last.valid.loss < STILL_FALLING * before.valid.loss
                && last.train.loss < STILL_FALLING * before.train.loss
                && last.error_rate() <= before.error_rate();
            falling.then(|| {
                format!(
                    "in the last epoch the validation loss still fell from {:.3} to {:.3}, the loss on training pictures \
                     from {:.3} to {:.3}",
                    before.valid.loss, last.valid.loss, before.train.loss, last.train.loss
                )
            })?
        }
    };
    Some(Finding {
        problem: Problem::TooFewEpochs,
        seen,
        why: "a network that is still getting better has not shown what it can do".into(),
        advice: "train longer; if that is too slow, at a higher rate".into(),
        recipe: Some(longer(evidence.recipe)),
        go_back_to: None,
    })
}

/// With twice the epochs in the last stage that has any, the lesson's four at least.
fn longer(recipe: &Recipe) -> Recipe {
    let mut longer = recipe.clone();
    if let Some(Stage { epochs, .. }) = longer.stages.iter_mut().rfind(|stage| stage.epochs > 0) {
        *epochs = (*epochs * 2).max(USUAL_EPOCHS);
    }
    longer
}
