//! What decides the bits of what is learned, beside snapshot, recipe and seed.

use serde::{Deserialize, Serialize};

/// Where and by what a run was computed: equal ones compute the same bits from the same run, on a CPU always, on a GPU in the
/// deterministic mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// Version of the software.
    pub version: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// `cpu` or `cuda`.
    pub device: String,
    /// What convolutions are computed in, for instance `bfloat16`.
    pub precision: String,
    /// Processor threads that share the work: sums are ordered by them.
    pub threads: u32,
}

impl Conditions {
    /// How these differ from others, in phrases; empty where the bits are the same.
    pub fn differences(&self, others: &Self) -> Vec<String> {
        let threads = |conditions: &Self| conditions.threads.to_string();
        let pairs = [
            ("version", self.version.clone(), others.version.clone()),
            ("libtorch", self.libtorch.clone(), others.libtorch.clone()),
            ("device", self.device.clone(), others.device.clone()),
            ("precision", self.precision.clone(), others.precision.clone()),
            ("threads", threads(self), threads(others)),
        ];
        let differing = pairs.into_iter().filter(|(_, own, other)| own != other);
        differing.map(|(what, own, other)| format!("{what} {own} in place of {other}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let conditions = Conditions {
            version: "0.1.0".into(),
            libtorch: "2.11.0".into(),
            device: "cpu".into(),
            precision: "bfloat16".into(),
            threads: 2,
        };
        assert!(conditions.differences(&conditions).is_empty());
        let others = Conditions { precision: "float32".into(), threads: 4, ..conditions.clone() };
        let expected = ["precision bfloat16 in place of float32", "threads 2 in place of 4"];
        assert_eq!(conditions.differences(&others), expected);
    }
}
