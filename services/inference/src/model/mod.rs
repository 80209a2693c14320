//! Models in memory: how one is loaded, proved and computed with. Knows nothing of endpoints, HTTP or gRPC.

mod engine;
mod load;
mod proof;
mod terms;

use ursa_learner::softmax;
use ursa_vision::Preprocessing;

pub(crate) use engine::{Cores, EngineError};
pub(crate) use load::{LoadError, Workshop};

use engine::Engine;

/// A model that has proved itself and can be asked by many at once.
#[derive(Debug)]
pub(crate) struct Model {
    digest: String,
    architecture: String,
    classes: Vec<String>,
    preprocessing: Preprocessing,
    engine: Engine,
}

impl Model {
    /// Digest of its package, hex.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// For instance `resnet18`.
    pub(crate) fn architecture(&self) -> &str {
        &self.architecture
    }

    /// In the order of the probabilities.
    pub(crate) fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How its pictures are prepared.
    pub(crate) fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Class probabilities of prepared pictures, in their order.
    pub(crate) async fn probabilities(&self, pictures: Vec<Vec<u8>>) -> Result<Vec<Vec<f32>>, EngineError> {
        Ok(self.engine.logits(pictures).await?.iter().map(|row| softmax(row)).collect())
    }
}
