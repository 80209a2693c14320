//! What a package's manifest promises, checked before anything is loaded by it.

use std::collections::BTreeSet;

use serde::Deserialize as _;
use ursa_learner::{Architecture, HeadKind};
use ursa_storage::package::ModelManifest;
use ursa_vision::Preprocessing;

/// Sides that make sense: below, the network has nothing left to pool; above, one batch fills the memory.
const SIDES: std::ops::RangeInclusive<u32> = 32..=1024;
/// More than this is no proof any more.
const MAX_TOLERANCE: f32 = 0.1;

/// A manifest that this node can serve.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Terms {
    pub(super) architecture: Architecture,
    pub(super) classes: Vec<String>,
    pub(super) preprocessing: Preprocessing,
    /// Largest absolute difference of a golden logit.
    pub(super) tolerance: f32,
}

impl Terms {
    /// Reads the terms; the error says what this node cannot do.
    pub(super) fn of(manifest: &ModelManifest) -> Result<Self, String> {
        let architecture = manifest
            .architecture
            .parse()
            .map_err(|_| format!("this node does not know the architecture {:?}", manifest.architecture))?;
        if HeadKind::ALL.iter().all(|head| head.name() != manifest.head) {
            return Err(format!("this node does not know the head {:?}", manifest.head));
        }
        Ok(Self {
            architecture,
            classes: classes(&manifest.classes)?,
            preprocessing: preprocessing(&manifest.preprocessing)?,
            tolerance: tolerance(manifest.golden.tolerance)?,
        })
    }
}

fn classes(names: &[String]) -> Result<Vec<String>, String> {
    if names.len() < 2 {
        return Err(format!("the model has {} classes, a classifier needs two", names.len()));
    }
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        return Err("two classes of the model have the same name".into());
    }
    Ok(names.to_vec())
}

fn preprocessing(value: &serde_json::Value) -> Result<Preprocessing, String> {
    let preprocessing = Preprocessing::deserialize(value)
        .map_err(|error| format!("this node cannot prepare pictures as the model wants it: {error}"))?;
    if !SIDES.contains(&preprocessing.size) {
        let (least, most) = (SIDES.start(), SIDES.end());
        return Err(format!("the model takes pictures of {} pixels, {least} to {most} work", preprocessing.size));
    }
    let sound = |values: [f32; 3]| values.iter().all(|value| value.is_finite());
    if !sound(preprocessing.mean) || !sound(preprocessing.std) || preprocessing.std.iter().any(|std| *std <= 0.0) {
        return Err("the model's mean or standard deviation is not a usable number".into());
    }
    Ok(preprocessing)
}

fn tolerance(stated: f32) -> Result<f32, String> {
    if stated > 0.0 && stated <= MAX_TOLERANCE {
        return Ok(stated);
    }
    Err(format!("the model states a golden tolerance of {stated}, it must be above 0 and at most {MAX_TOLERANCE}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_and_statistics_that_cannot_work_are_refused() {
        assert!(preprocessing(&json!(Preprocessing::imagenet(224))).is_ok());
        assert!(preprocessing(&json!(Preprocessing::imagenet(16))).unwrap_err().contains("16 pixels"));
        assert!(preprocessing(&json!(Preprocessing::imagenet(1 << 20))).is_err());
        let flat = Preprocessing { std: [0.0; 3], ..Preprocessing::imagenet(64) };
        assert!(preprocessing(&json!(flat)).unwrap_err().contains("standard deviation"));
        assert!(preprocessing(&json!({ "side": 64 })).is_err());
    }

    #[test]
    fn a_tolerance_that_proves_nothing_is_refused() {
        assert_eq!(tolerance(1e-3), Ok(1e-3));
        for stated in [0.0, -1.0, 5.0, f32::NAN, f32::INFINITY] {
            assert!(tolerance(stated).is_err(), "{stated}");
        }
    }

    #[test]
    fn a_classifier_has_two_classes_with_different_names() {
        let names = |names: &[&str]| classes(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(names(&["black", "grizzly"]).is_ok());
        assert!(names(&["black"]).is_err());
        assert!(names(&["black", "black"]).unwrap_err().contains("same name"));
    }
}
