//! Which of the machine's GPUs a worker offers.

use std::collections::BTreeSet;
use std::str::FromStr;

use ursa_proto::v1;

/// All of them, or those with some indices: `0,2`, or `none`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GpuChoice(Option<BTreeSet<u32>>);

impl GpuChoice {
    /// Whether nothing is offered, whatever there is.
    pub(super) fn is_none(&self) -> bool {
        self.0.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// Those of `gpus` that are offered.
    pub(super) fn of(&self, gpus: &[v1::Gpu]) -> Vec<v1::Gpu> {
        let is_offered = |gpu: &&v1::Gpu| self.0.as_ref().is_none_or(|indices| indices.contains(&gpu.index));
        gpus.iter().filter(is_offered).cloned().collect()
    }

    pub(super) fn complain_of_missing(&self, gpus: &[v1::Gpu]) {
        for index in self.0.iter().flatten().filter(|index| !gpus.iter().any(|gpu| gpu.index == **index)) {
            tracing::warn!(index, "there is no such GPU; it is offered when it comes");
        }
    }
}

impl FromStr for GpuChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Some(BTreeSet::new())));
        }
        let index = |word: &str| word.trim().parse::<u32>();
        let indices = text.split(',').map(index).collect::<Result<_, _>>();
        indices.map(|indices| Self(Some(indices))).map_err(|_| {
            format!("{text:?} chooses no GPUs: give their indices with commas between them, for instance 0,2, or none")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_chosen_are_offered() {
        let gpus: Vec<_> = (0..4).map(|index| v1::Gpu { index, ..v1::Gpu::default() }).collect();
        let chosen = |choice: &GpuChoice| choice.of(&gpus).iter().map(|gpu| gpu.index).collect::<Vec<_>>();
        assert_eq!(chosen(&GpuChoice::default()), [0, 1, 2, 3]);
        assert_eq!(chosen(&"3, 1,9".parse().unwrap()), [1, 3]);
        assert_eq!(chosen(&"none".parse().unwrap()), [0; 0]);
    }

    #[test]
    fn what_chooses_nothing_is_refused() {
        for text in ["", "all", "0,,1", "-1", "GPU-8f2e"] {
            assert!(text.parse::<GpuChoice>().unwrap_err().contains("none"), "{text}");
        }
    }
}
