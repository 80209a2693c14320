//! Overfitting: the error rate gets worse. Nothing else counts: a training loss below the validation loss is what a good
//! fit looks like.

use ursa_domain::recipe::{Augmentation, Recipe, Stage};

use super::Evidence;
use ursa_domain::run::{Finding, Problem};

/// An error rate must stay worse for so many epochs.
const EPOCHS: u32 = 2;

pub(super) fn find(evidence: &Evidence<'_>) -> Option<Finding> {
    // The last of equally good epochs: what comes after it is worse or it would not be the last.
    let best = evidence.epochs.iter().rev().min_by_key(|report| report.valid.errors().count)?;
    let last = evidence.last()?;
    let (fewest, now) = (best.valid.errors(), last.valid.errors());
    // Both were counted on the same pictures: a difference within the spread of such counts is noise.
    let beyond_noise = now.count as f64 - fewest.count as f64 > ((now.count + fewest.count) as f64).sqrt();
    let fits_better = last.train.loss <= best.train.loss;
    if !(beyond_noise && fits_better && last.epoch - best.epoch >= EPOCHS) {
        return None;
    }
    Some(Finding {
        problem: Problem::Overfitting,
        seen: format!(
            "the error rate rose from {fewest} after epoch {} to {now} after epoch {}, while the loss on training pictures \
             fell from {:.3} to {:.3}",
            best.epoch + 1,
            last.epoch + 1,
            best.train.loss,
            last.train.loss
        ),
        why: "the network learns its training pictures by heart, at the cost of new ones".into(),
        advice: format!(
            "the model after epoch {} is the better one; for more, collect more pictures, or let the recipe regularise more",
            best.epoch + 1
        ),
        recipe: Some(stricter(evidence.recipe, best.epoch + 1)),
        go_back_to: Some(best.epoch),
    })
}

/// Regularised as usual where it was not; where it was, stopped at the best epoch.
fn stricter(recipe: &Recipe, epochs: u32) -> Recipe {
    let usual = Recipe::default();
    let augmentation = if recipe.augmentation.is_none() { Augmentation::default() } else { recipe.augmentation };
    let (weight_decay, dropout) = (recipe.weight_decay.max(usual.weight_decay), recipe.dropout.max(usual.dropout));
    let stricter = Recipe { weight_decay, dropout, augmentation, ..recipe.clone() };
    if stricter != *recipe {
        return stricter;
    }
    let mut left = epochs;
    let mut cut = |stage: &Stage| {
        let epochs = stage.epochs.min(left);
        left -= epochs;
        Stage { epochs, ..stage.clone() }
    };
    Recipe { stages: recipe.stages.iter().map(&mut cut).collect(), ..stricter }
}
