//! One trial of a search: its settings, how far it got, and how good it was there.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::space::Settings;
use crate::proportion::Proportion;
use crate::recipe::Recipe;
use crate::setting::InvalidSetting;

/// One draw from the space, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// From 1, in the order in which they were drawn.
    pub number: u32,
    /// What its hyper-parameters are set to.
    pub settings: Settings,
    /// Rungs that it was sent to, so far.
    pub rungs: usize,
    /// The task of the last of them.
    pub task: Uuid,
    /// What was measured at the end of each rung, in order.
    #[serde(default)]
    pub results: Vec<Measured>,
    /// Why it ended before the end of a rung, if it did: its loss was no number.
    #[serde(default)]
    pub diverged: Option<String>,
    /// Its model, once it was trained to the end.
    #[serde(default)]
    pub model_digest: Option<String>,
}

/// How good a trial was at the end of a rung, on the validation side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Epochs that it was trained for, from the first.
    pub epochs: u32,
    /// Pictures that it takes for another class.
    pub errors: u64,
    /// Pictures.
    pub validated: u64,
    /// Mean cross-entropy in nats: a number.
    pub loss: f64,
}

impl Measured {
    /// Wrong of all.
    pub fn proportion(&self) -> Proportion {
        Proportion { count: self.errors, of: self.validated }
    }

    /// Fewer errors are better; of as many, a lower loss.
    fn compare(&self, other: &Self) -> Ordering {
        let rates = self.proportion().rate().total_cmp(&other.proportion().rate());
        rates.then(self.loss.total_cmp(&other.loss))
    }
}

impl Trial {
    /// A trial that is sent to its first rung.
    pub fn new(number: u32, settings: Settings, task: Uuid) -> Self {
        Self { number, settings, rungs: 1, task, results: Vec::new(), diverged: None, model_digest: None }
    }

    /// The recipe that it follows.
    pub fn recipe(&self, base: &Recipe) -> Result<Recipe, InvalidSetting> {
        self.settings.iter().try_fold(base.clone(), |recipe, (parameter, value)| parameter.set(&recipe, value))
    }

    /// Whether it is at work on a rung, waits for one, or did not get to the end of it.
    pub fn is_open(&self) -> bool {
        self.diverged.is_none() && self.results.len() < self.rungs
    }

    /// What it measured at the end of `rung`, if it got there.
    pub(super) fn at(&self, rung: usize) -> Option<&Measured> {
        self.results.get(rung)
    }

    /// Whether nothing more is to come from `rung`: it got to its end, or diverged in it.
    pub(super) fn has_ended(&self, rung: usize) -> bool {
        self.at(rung).is_some() || (self.diverged.is_some() && self.results.len() == rung)
    }

    /// The one that got farther is better; of those that got as far, the one that did not diverge; then what was measured
    /// there decides, and of equals the order in which they were drawn.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let far = other.results.len().cmp(&self.results.len());
        let diverged = self.diverged.is_some().cmp(&other.diverged.is_some());
        let measured = match (self.results.last(), other.results.last()) {
            (Some(mine), Some(theirs)) => mine.compare(theirs),
            _ => Ordering::Equal,
        };
        far.then(diverged).then(measured).then(self.number.cmp(&other.number))
    }

    /// By what was measured at the end of a rung that both got to.
    pub(super) fn compare_at(&self, rung: usize, other: &Self) -> Ordering {
        match (self.at(rung), other.at(rung)) {
            (Some(mine), Some(theirs)) => mine.compare(theirs).then(self.number.cmp(&other.number)),
            (mine, theirs) => theirs.is_some().cmp(&mine.is_some()),
        }
    }
}
