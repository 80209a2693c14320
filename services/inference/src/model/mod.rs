//! Models in memory: how one is loaded, proved and computed with. Knows nothing of endpoints, HTTP or gRPC.

mod engine;
mod load;
mod proof;
mod terms;

use ursa_learner::interpret::Explanation;
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
    engines: Engines,
}

/// What one network does, each with a queue of its own: many who want an explanation must not hold up those who only want
/// an answer.
#[derive(Debug)]
struct Engines {
    /// From prepared pictures to rows of logits.
    classify: Engine<Vec<u8>, Vec<f32>>,
    explain: Engine<Question, Explanation>,
}

/// What is asked of an explanation.
#[derive(Debug)]
struct Question {
    /// Prepared.
    picture: Vec<u8>,
    /// An index; what the model says most where there is none.
    class: Option<u32>,
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
        Ok(self.engines.classify.ask(pictures).await?.iter().map(|row| softmax(row)).collect())
    }

    /// What the model says of a prepared picture, and where in it the evidence for a class (an index) lies; of what it says
    /// most where none is named.
    pub(crate) async fn explain(&self, picture: Vec<u8>, class: Option<u32>) -> Result<Explanation, EngineError> {
        let answers = self.engines.explain.ask(vec![Question { picture, class }]).await?;
        answers.into_iter().next().ok_or_else(|| EngineError::Failed("there is no explanation".into()))
    }
}
