//! What a task needs of a worker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const MAX_GPUS: u32 = 64;
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
    /// Memory that has to be free on each of them, in bytes.
    pub gpu_memory_bytes: u64,
    /// Parts of names of models, any of which will do, whatever the case; none is any model.
    pub gpu_models: Vec<String>,
    /// The oldest driver that will do, for instance "550.54"; empty is any.
    pub min_driver: String,
    /// Whether the GPUs may be shared with other tasks that say so.
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
            return Err(format!("resources.gpus: at most {MAX_GPUS} can be asked for"));
        }
        if self.shared && self.gpu_memory_bytes == 0 {
            return Err("resources.shared: say with gpu_memory_bytes how much of a GPU the task needs".into());
        }
        if self.gpu_models.len() > MAX_MODELS || self.gpu_models.iter().any(|model| !is_word(model, " ")) {
            return Err(format!("resources.gpu_models: give at most {MAX_MODELS} parts of names, like \"H100\""));
        }
        if driver(&self.min_driver).is_none() && !self.min_driver.is_empty() {
            return Err(format!("resources.min_driver: {:?} is no version, like \"550.54\"", self.min_driver));
        }
        check_labels("labels", &self.labels)?;
        check_labels("avoid_labels", &self.avoid_labels)
    }

    /// Whether anything is asked of the GPUs beyond their number.
    pub(super) fn describes_gpu(&self) -> bool {
        self.gpu_memory_bytes > 0 || !self.gpu_models.is_empty() || !self.min_driver.is_empty()
    }

    /// Whether a GPU of this name will do.
    pub(super) fn is_model_wanted(&self, model: &str) -> bool {
        self.gpu_models.is_empty() || self.gpu_models.iter().any(|wanted| contains(model, wanted))
    }

    /// Whether a driver is new enough.
    pub(super) fn is_driver_new_enough(&self, found: &str) -> bool {
        if self.min_driver.is_empty() {
            return true;
        }
        let Some(wanted) = driver(&self.min_driver) else { return true };
        driver(found).is_some_and(|found| found >= wanted)
    }
}

/// Whether `word` is a part of `text`, whatever the case.
fn contains(text: &str, word: &str) -> bool {
    word.is_empty() || text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// The numbers of a version.
fn driver(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

fn check_labels(what: &str, labels: &BTreeMap<String, String>) -> Result<(), String> {
    if labels.len() > MAX_LABELS {
        return Err(format!("resources.{what}: at most {MAX_LABELS} can be given"));
    }
    match labels.iter().find(|(name, value)| !is_word(name, "") || !(value.is_empty() || is_word(value, ""))) {
        Some((name, value)) => Err(format!(
            "resources.{what}: {name}={value} is no label: use letters, digits, '-', '_', '.' and '/', at most {MAX_WORD}"
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

    #[test]
    fn drivers_are_compared_number_by_number() {
        let wanted = Resources { min_driver: "550.9".into(), ..Resources::default() };
        assert!(wanted.is_driver_new_enough("550.54.15") && wanted.is_driver_new_enough("1000.1"));
        assert!(!wanted.is_driver_new_enough("535.183") && !wanted.is_driver_new_enough(""));
    }

    #[test]
    fn what_cannot_be_asked_for_is_named() {
        let label = |name: &str| BTreeMap::from([(name.to_owned(), String::new())]);
        let cases = [
            (Resources { gpus: Some(65), ..Resources::default() }, "gpus"),
            (Resources { shared: true, ..Resources::default() }, "gpu_memory_bytes"),
            (Resources { min_driver: "new".into(), ..Resources::default() }, "min_driver"),
            (Resources { labels: label("a b"), ..Resources::default() }, "labels"),
            (Resources { avoid_labels: label(""), ..Resources::default() }, "avoid_labels"),
        ];
        for (resources, named) in cases {
            let reason = resources.check().unwrap_err();
            assert!(reason.contains(named), "{reason}");
        }
        assert_eq!(Resources::default().check(), Ok(()));
    }
}
