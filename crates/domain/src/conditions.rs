//! What decides the bits of what is learned, beside snapshot, recipe and seed.

use serde::{Deserialize, Serialize};

/// Where and by what a run was computed: on one machine equal ones compute the same bits from the same run, on a CPU always, on a
/// GPU in the deterministic mode. So do machines with the same processor. Of others they say what is known to differ: libraries
/// may cut sums by the size of a cache, too, which nobody tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// Version of the software, and of the code in it that decides, such as `0.1.0+1f2e3d4c5b6a7988`.
    pub version: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// `cpu` or `cuda`.
    pub device: String,
    /// What it has the libraries choose from: of a CPU architecture, maker and vector instructions, of a GPU its compute
    /// capability; `unknown` in what is older than this.
    #[serde(default = "unknown")]
    pub processor: String,
    /// What convolutions are computed in, for instance `bfloat16`.
    pub precision: String,
    /// Processor threads that share the work: sums are ordered by them.
    pub threads: u32,
}

impl Conditions {
    /// How these differ from others, in phrases; empty where they do not.
    pub fn differences(&self, others: &Self) -> Vec<String> {
        let threads = |conditions: &Self| conditions.threads.to_string();
        let pairs = [
            ("version", self.version.clone(), others.version.clone()),
            ("libtorch", self.libtorch.clone(), others.libtorch.clone()),
            ("device", self.device.clone(), others.device.clone()),
            ("processor", self.processor.clone(), others.processor.clone()),
            ("precision", self.precision.clone(), others.precision.clone()),
            ("threads", threads(self), threads(others)),
        ];
        let differing = pairs.into_iter().filter(|(_, own, other)| own != other);
        differing.map(|(what, own, other)| format!("{what} {own} in place of {other}")).collect()
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions() -> Conditions {
        Conditions {
            version: "0.1.0".into(),
            libtorch: "2.11.0".into(),
            device: "cpu".into(),
            processor: "x86_64 avx2".into(),
            precision: "bfloat16".into(),
            threads: 2,
        }
    }

    #[test]
    fn what_differs_is_named() {
        let conditions = conditions();
        assert!(conditions.differences(&conditions).is_empty());
        let others = Conditions { precision: "float32".into(), threads: 4, ..conditions.clone() };
        let expected = ["precision bfloat16 in place of float32", "threads 2 in place of 4"];
        assert_eq!(conditions.differences(&others), expected);
    }

    #[test]
    fn older_ones_that_do_not_say_the_processor_are_told_from_all_that_do() {
        let mut written = serde_json::to_value(conditions()).unwrap();
        written.as_object_mut().unwrap().remove("processor");
        let older: Conditions = serde_json::from_value(written).unwrap();
        assert_eq!(conditions().differences(&older), ["processor x86_64 avx2 in place of unknown"]);
    }
}
