//! From a model package in the object store to the class that answers for it.

use ursa_learner::{Architecture, Classifier, best_device};
use ursa_storage::package::ModelPackage;
use ursa_storage::{Digest, Storage};
use ursa_vision::Preprocessing;

use crate::failure::Failure;

/// A model that is there already.
#[derive(Debug)]
pub(crate) struct Packaged {
    /// In the order of its outputs.
    pub classes: Vec<String>,
    pub classifier: Classifier,
}

/// The model with this digest, in hex, on the best device there is.
pub(crate) async fn load(storage: &Storage, digest: &str) -> Result<Packaged, Failure> {
    let digest: Digest = digest.parse().map_err(|error| Failure::fatal(format!("the model: {error}")))?;
    let ModelPackage { manifest, weights, .. } = ModelPackage::download(storage, &digest).await?;
    let unsupported = |error: &dyn std::fmt::Display| {
        Failure::fatal(format!("model.json of the model: {error}; is this trainer older than the one that made it?"))
    };
    let architecture: Architecture = manifest.architecture.parse().map_err(|error| unsupported(&error))?;
    let preprocessing: Preprocessing =
        serde_json::from_value(manifest.preprocessing).map_err(|error| unsupported(&error))?;
    let classes = manifest.classes;
    let classifier = Classifier::load(architecture, classes.len(), preprocessing, &weights, best_device())?;
    Ok(Packaged { classes, classifier })
}
