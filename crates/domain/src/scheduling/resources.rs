//! What a task needs of a worker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The most GPUs one task may ask for.
pub const MAX_GPUS: u32 = 64;
const MAX_GPU_MEMORY: u64 = 16 << 40;
const MAX_LABELS: usize = 20;
const MAX_MODELS: usize = 20;
const MAX_WORD: usize = 63;

/// What a task needs of a worker. Stored as JSON; equal needs have equal JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// GPUs. `None` is one for training where the worker has any, and none otherwise; training that says what its GPU must
    /// be like goes only where there are some.
    pub gpus: Option<u32>,
    /// Memory that has to be free on each of them, in bytes; 0 is any.
    pub gpu_memory_bytes: u64,
    /// Parts of names of models, any of which will do, whatever the case; none is any model.
    pub gpu_models: Vec<String>,
    /// The oldest driver that will do, for instance "550.54"; empty is any.
    pub min_driver: String,
    /// Whether the GPUs may be shared with other tasks that say so, as long as the memory they asked for fits.
    pub shared: bool,
    /// Labels the worker must have; an empty value is any.
    pub labels: BTreeMap<String, String>,
    /// Labels the worker must not have; an empty value is any.
    pub avoid_labels: BTreeMap<String, String>,
}

impl Resources {
    /// What is wrong with it, and what to do.
    ///
    /// # Errors
    /// The first member that cannot be.
    pub fn check(&self) -> Result<(), String> {
        if self.gpus.is_some_and(|gpus| gpus > MAX_GPUS) {
            return Err(format!("resources.gpus: at most {MAX_GPUS} can be asked for; use workers for more"));
        }
        if self.gpu_memory_bytes > MAX_GPU_MEMORY {
            return Err(
                "resources.gpu_memory_bytes: no GPU has more than 16 TiB; give what each needs, in bytes".into()
            );
        }
        if self.shared && self.gpu_memory_bytes == 0 {
            return Err("resources.shared: say with gpu_memory_bytes how much of a GPU the task needs".into());
        }
        if self.shared && self.gpus == Some(0) {
            return Err(
                "resources.shared: a task without a GPU has none to share; leave out shared or ask for gpus".into()
            );
        }
        if self.gpu_models.len() > MAX_MODELS || !self.gpu_models.iter().all(|model| is_word(model, " ")) {
            return Err(format!("resources.gpu_models: give at most {MAX_MODELS} parts of names, like \"H100\""));
        }
        if !self.min_driver.is_empty() && (self.min_driver.len() > MAX_WORD || version(&self.min_driver).is_none()) {
            return Err("resources.min_driver: give numbers with dots between them, like \"550.54\"".into());
        }
        check_labels("labels", &self.labels)?;
        check_labels("avoid_labels", &self.avoid_labels)
    }

    /// Whether anything is asked of the GPUs beyond their number.
    pub(super) fn describes_gpu(&self) -> bool {
        self.gpu_memory_bytes > 0 || !self.gpu_models.is_empty() || !self.min_driver.is_empty()
    }

    /// Whether a GPU's model is one of those that will do.
    pub(super) fn is_model_wanted(&self, model: &str) -> bool {
        self.gpu_models.is_empty() || self.gpu_models.iter().any(|part| contains_ignoring_case(model, part))
    }

    /// Whether a driver is new enough.
    pub(super) fn is_driver_new_enough(&self, found: &str) -> bool {
        let Some(wanted) = version(&self.min_driver) else { return true };
        version(found).is_some_and(|found| found >= wanted)
    }
}

fn contains_ignoring_case(text: &str, part: &str) -> bool {
    let part = part.as_bytes();
    part.is_empty() || text.as_bytes().windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

/// The numbers of a version; zeros at its end say nothing.
fn version(text: &str) -> Option<Vec<u32>> {
    let mut numbers: Vec<u32> = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    Some(numbers)
}

fn check_labels(what: &str, labels: &BTreeMap<String, String>) -> Result<(), String> {
    if labels.len() > MAX_LABELS {
        return Err(format!("resources.{what}: at most {MAX_LABELS} can be given"));
    }
    match labels.iter().find(|(name, value)| !is_word(name, "") || !(value.is_empty() || is_word(value, ""))) {
        Some((name, value)) => Err(format!(
            "resources.{what}: {name:?}={value:?} is no label; use 1 to {MAX_WORD} letters, digits, '-', '_', '.' and '/'"
        )),
        None => Ok(()),
    }
}

fn is_word(word: &str, also: &str) -> bool {
    (1..=MAX_WORD).contains(&word.len())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c) || also.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: impl IntoIterator<Item = String>) -> BTreeMap<String, String> {
        names.into_iter().map(|name| (name, String::new())).collect()
    }

    #[test]
    fn drivers_are_compared_number_by_number() {
        let wanted = |min_driver: &str| Resources { min_driver: min_driver.into(), ..Resources::default() };
        for found in ["550.9", "550.54.15", "1000.1"] {
            assert!(wanted("550.9").is_driver_new_enough(found), "{found}");
        }
        for found in ["550.8.99", "535.183", "", "unknown"] {
            assert!(!wanted("550.9").is_driver_new_enough(found), "{found}");
        }
        assert!(wanted("550.0").is_driver_new_enough("550") && wanted("").is_driver_new_enough("unknown"));
    }

    #[test]
    fn a_model_is_found_by_any_part_whatever_the_case() {
        let wanted = Resources { gpu_models: vec!["h100".into(), "A100".into()], ..Resources::default() };
        assert!(wanted.is_model_wanted("NVIDIA H100 80GB HBM3") && wanted.is_model_wanted("nvidia a100-sxm4"));
        assert!(!wanted.is_model_wanted("NVIDIA A10") && !wanted.is_model_wanted(""));
        assert!(Resources::default().is_model_wanted(""));
    }

    #[test]
    fn what_cannot_be_asked_for_is_named() {
        let default = Resources::default;
        let cases = [
            (Resources { gpus: Some(65), ..default() }, "gpus"),
            (Resources { gpu_memory_bytes: u64::MAX, ..default() }, "gpu_memory_bytes"),
            (Resources { shared: true, ..default() }, "gpu_memory_bytes"),
            (Resources { shared: true, gpu_memory_bytes: 1, gpus: Some(0), ..default() }, "shared"),
            (Resources { gpu_models: vec![String::new()], ..default() }, "gpu_models"),
            (Resources { gpu_models: vec!["H100".into(); 21], ..default() }, "gpu_models"),
            (Resources { min_driver: "new".into(), ..default() }, "min_driver"),
            (Resources { min_driver: "1.".repeat(40) + "1", ..default() }, "min_driver"),
            (Resources { labels: labels(["a b".into()]), ..default() }, "labels"),
            (Resources { labels: labels(["a".repeat(64)]), ..default() }, "labels"),
            (Resources { labels: labels((0..21).map(|n| n.to_string())), ..default() }, "labels"),
            (Resources { avoid_labels: labels([String::new()]), ..default() }, "avoid_labels"),
        ];
        for (resources, named) in cases {
            let reason = resources.check().unwrap_err();
            assert!(reason.contains(named), "{reason}");
        }
        assert_eq!(default().check(), Ok(()));
    }

    #[test]
    fn it_is_stored_the_same_whatever_the_order_and_unknown_members_are_refused() {
        let one: Resources = serde_json::from_str(r#"{"labels": {"b": "1", "a": ""}, "gpus": 2}"#).unwrap();
        let other: Resources = serde_json::from_str(r#"{"gpus": 2, "labels": {"a": "", "b": "1"}}"#).unwrap();
        assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&other).unwrap());
        assert_eq!(serde_json::from_str::<Resources>("{}").unwrap(), Resources::default());
        assert!(serde_json::from_str::<Resources>(r#"{"gpu": 2}"#).is_err());
    }
}
