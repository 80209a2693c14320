//! What is trained.

use std::fmt;

use ursa_learner::{Architecture, Precision};

/// A network, the size of its pictures, and what it computes in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Case {
    pub(crate) architecture: Architecture,
    pub(crate) size: u32,
    pub(crate) precision: Precision,
}

/// Every case, those that differ in their precision alone beside each other.
pub(crate) fn all() -> Vec<Case> {
    let mut all = Vec::new();
    for architecture in [Architecture::ResNet18, Architecture::ResNet34] {
        for size in [128, 224] {
            for precision in [Precision::Float32, Precision::BFloat16] {
                all.push(Case { architecture, size, precision });
            }
        }
    }
    all
}

impl Case {
    /// Whether it is meant by that word.
    pub(crate) fn has(self, word: &str) -> bool {
        [self.architecture.to_string(), self.size.to_string(), self.precision.as_str().to_owned()]
            .iter()
            .any(|known| known == word)
    }

    /// Its name but for what it computes in.
    pub(crate) fn without_precision(self) -> String {
        format!("{}, {} pixels", self.architecture, self.size)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.without_precision(), self.precision.as_str())
    }
}
