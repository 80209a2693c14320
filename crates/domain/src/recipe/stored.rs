//! Recipes as they were stored with jobs.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Augmentation, Recipe, Short};

/// Reads a recipe that was stored, also one of the first form, which said its stages in three numbers and its augmentation in
/// a word. For `deserialize_with`.
///
/// # Errors
/// As with a recipe of today.
pub fn stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Recipe, D::Error> {
    let mut members = Map::deserialize(deserializer)?;
    modernise(&mut members).and_then(|()| serde_json::from_value(Value::Object(members))).map_err(D::Error::custom)
}

fn modernise(members: &mut Map<String, Value>) -> Result<(), serde_json::Error> {
    if let Some(augment) = members.remove("augment") {
        let default = if bool::deserialize(augment)? { Augmentation::default() } else { Augmentation::none() };
        members.entry("augmentation").or_insert(serde_json::to_value(default)?);
    }
    let numbers = ["epochs", "frozen_epochs", "max_learning_rate"].map(|key| members.remove(key));
    let [epochs, frozen_epochs, max_learning_rate] = numbers;
    if epochs.is_none() && frozen_epochs.is_none() && max_learning_rate.is_none() {
        return Ok(());
    }
    let default = Short::default();
    let short = Short {
        epochs: epochs.map_or(Ok(default.epochs), serde_json::from_value)?,
        frozen_epochs: frozen_epochs.map_or(Ok(default.frozen_epochs), serde_json::from_value)?,
        max_learning_rate: max_learning_rate.map_or(Ok(default.max_learning_rate), serde_json::from_value)?,
    };
    let from_weights = members.get("pretrained").is_some_and(|weights| !weights.is_null());
    members.insert("stages".to_owned(), serde_json::to_value(short.stages(from_weights))?);
    Ok(())
}
