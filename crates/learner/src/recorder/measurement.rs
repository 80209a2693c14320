//! How good a network is on a set of pictures.

use serde::{Deserialize, Serialize};

use super::Proportion;
use crate::evaluation::Evaluation;

/// Loss and errors in evaluation: nothing dropped, altered or averaged over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Wrong of each class, in the order of the classes.
    pub class_errors: Vec<Proportion>,
}

impl Measurement {
    /// Wrong of all.
    pub fn errors(&self) -> Proportion {
        self.class_errors.iter().copied().sum()
    }
}

impl From<&Evaluation> for Measurement {
    fn from(evaluation: &Evaluation) -> Self {
        let errors = |(class, row): (usize, &Vec<u64>)| {
            let of = row.iter().sum();
            Proportion { count: of - row[class], of }
        };
        Self { loss: evaluation.loss, class_errors: evaluation.confusion.iter().enumerate().map(errors).collect() }
    }
}
