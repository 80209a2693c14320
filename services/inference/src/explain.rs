//! From a picture to the places in it that speak for a class.

use std::sync::Arc;

use bytes::Bytes;
use ursa_learner::interpret::Explanation;
use ursa_learner::softmax;

use crate::error::ServeError;
use crate::model::Model;
use crate::predict::Predictor;

/// An explained answer.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) endpoint: String,
    pub(crate) model: Arc<Model>,
    /// One per class.
    pub(crate) probabilities: Vec<f32>,
    /// What is explained: an index.
    pub(crate) class: usize,
    /// Whether anything in the picture speaks for it.
    pub(crate) has_evidence: bool,
    /// The picture as the model sees it, bright where the evidence lies: a PNG.
    pub(crate) overlay: Vec<u8>,
}

impl Predictor {
    /// Explains why the model of an endpoint takes a picture for `class`, or for what it takes it for most.
    pub(crate) async fn explain(
        &self,
        name: Option<&str>,
        class: Option<&str>,
        picture: Bytes,
    ) -> Result<Explained, ServeError> {
        let (endpoint, model) = self.model(name, None)?;
        let wanted = class.map(|class| index_of(&model, class)).transpose()?;
        let prepared = self.prepare_one(picture, *model.preprocessing(), "the picture".into()).await?;
        let Explanation { logits, class, heatmap } = model.explain(prepared.clone(), wanted).await?;
        let (has_evidence, size) = (heatmap.has_evidence(), model.preprocessing().size);
        let overlay = tokio::task::spawn_blocking(move || heatmap.laid_over(&prepared, size))
            .await
            .map_err(internal)?
            .map_err(internal)?;
        let (probabilities, class) = (softmax(&logits), class as usize);
        Ok(Explained { endpoint, model, probabilities, class, has_evidence, overlay })
    }
}

fn index_of(model: &Model, class: &str) -> Result<u32, ServeError> {
    let found = model.classes().iter().position(|name| name == class);
    let unknown = || ServeError::UnknownClass { class: class.to_owned(), known: model.classes().join(", ") };
    found.map(|index| index as u32).ok_or_else(unknown)
}

fn internal(error: impl ToString) -> ServeError {
    ServeError::Internal(error.to_string())
}
