//! "Things that can go wrong" (lesson 2, 54–58): what a run shows, why it matters, and the recipe to try next. Pure.
//!
//! A rule speaks of un-smoothed losses measured in evaluation, and of errors as counts with their intervals: few batches and
//! few pictures must not look like a finding. Training loss below validation loss is normal and no rule looks for it.

mod memory;
mod overfitting;
mod rate_too_high;
mod rate_too_low;
#[cfg(test)]
mod tests;
mod too_few_epochs;
mod too_little_data;
mod unbalanced;

use ursa_domain::recipe::Recipe;
use ursa_domain::run::Finding;

pub use rate_too_high::is_lost;

use crate::LearnError;
use crate::recorder::{EpochReport, SmoothLoss};

/// What is known of a run.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// How it trains.
    pub recipe: &'a Recipe,
    /// The classes in order.
    pub classes: &'a [String],
    /// Training pictures of each class.
    pub train_counts: &'a [usize],
    /// Every epoch so far.
    pub epochs: &'a [EpochReport],
    /// The smoothed loss of the present stage.
    pub smooth_loss: SmoothLoss,
    /// Pictures computed at once, where those were fewer than a batch.
    pub micro_batch: Option<u32>,
    /// What ended the run, where it did not end well.
    pub failure: Option<&'a LearnError>,
}

/// Everything that is wrong with a run, the most urgent first; empty where nothing is.
pub fn diagnose(evidence: &Evidence<'_>) -> Vec<Finding> {
    what_was_learned(evidence).into_iter().chain(memory::find(evidence)).collect()
}

fn what_was_learned(evidence: &Evidence<'_>) -> Vec<Finding> {
    // A rate that is wrong explains what else would be found.
    let rate = rate_too_high::find(evidence).or_else(|| rate_too_low::find(evidence));
    if let Some(finding) = rate {
        return vec![finding];
    }
    let unfinished = too_few_epochs::find(evidence);
    let data = if unfinished.is_none() { too_little_data::find(evidence) } else { None };
    [overfitting::find(evidence), unfinished, data, unbalanced::find(evidence)].into_iter().flatten().collect()
}

impl Evidence<'_> {
    fn chance(&self) -> f64 {
        chance(self.classes.len())
    }

    fn last(&self) -> Option<&EpochReport> {
        self.epochs.last()
    }
}

/// The loss of a guess among `classes`: each as likely as any other.
fn chance(classes: usize) -> f64 {
    (classes.max(2) as f64).ln()
}

/// As people read a share.
fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
