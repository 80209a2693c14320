//! From a digest to a model that serves: download, check, load, prove, warm up. One try; whoever calls decides on more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use ursa_learner::{Classifier, Device, LearnError};
use ursa_storage::package::{GoldenExamples, ModelPackage};
use ursa_storage::{Digest, Storage, StorageError};
use ursa_vision::Preprocessing;

use super::engine::{Engine, Size};
use super::terms::Terms;
use super::{Cores, EngineError, Engines, Model, Question, proof};

const DOWNLOAD_TIMEOUT: Duration = Duration::from_mins(2);
const CLASSIFYING: Size = Size { batch: 16, queue: 256 };
/// An explanation takes longer than an answer, and people ask for it: one at a time, and few that wait.
const EXPLAINING: Size = Size { batch: 1, queue: 8 };

/// Why a model is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The package is not there, not reachable or not what was stored.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The store is too slow.
    #[error("the model package did not arrive within {} s", DOWNLOAD_TIMEOUT.as_secs())]
    Timeout,
    /// The coordinator ordered something that is no digest.
    #[error("{0}")]
    BadDigest(String),
    /// The manifest asks for something this node cannot do.
    #[error("{0}; is this node older than the trainer?")]
    Unsupported(String),
    /// The weights do not fit the architecture.
    #[error(transparent)]
    Weights(#[from] LearnError),
    /// The model does not do what it did when it was trained.
    #[error("{0}")]
    NotProved(String),
    /// The model cannot compute.
    #[error("the model does not work: {0}")]
    Broken(String),
}

impl LoadError {
    /// Whether another try may help.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_retryable(),
            Self::Timeout => true,
            Self::BadDigest(_) | Self::Unsupported(_) | Self::Weights(_) | Self::NotProved(_) | Self::Broken(_) => {
                false
            }
        }
    }
}

impl From<EngineError> for LoadError {
    fn from(error: EngineError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// What models are made with.
#[derive(Debug, Clone)]
pub(crate) struct Workshop {
    /// Where packages are.
    pub(crate) storage: Storage,
    /// What models compute with.
    pub(crate) cores: Cores,
    /// Where they note the sizes of their batches.
    pub(crate) batches: Histogram,
}

impl Workshop {
    /// Makes the model of the package `digest`.
    pub(crate) async fn load(&self, digest: &str) -> Result<Model, LoadError> {
        let wanted: Digest = digest.parse().map_err(|error| LoadError::BadDigest(format!("{error}")))?;
        let package = tokio::time::timeout(DOWNLOAD_TIMEOUT, ModelPackage::download(&self.storage, &wanted))
            .await
            .map_err(|_| LoadError::Timeout)??;
        let terms = Terms::of(&package.manifest).map_err(LoadError::Unsupported)?;
        let golden = GoldenExamples::from_safetensors(&package.golden)?;
        let (engines, examples) = self.start(&terms, package, golden.clone()).await?;
        let mut found = Vec::with_capacity(examples.len());
        for batch in examples.chunks(CLASSIFYING.batch) {
            found.extend(engines.classify.ask(batch.to_vec()).await?);
        }
        proof::compare(&golden, &found, &terms.classes, terms.tolerance).map_err(LoadError::NotProved)?;
        warm_up(&engines, &terms.preprocessing).await?;
        Ok(Model {
            digest: digest.to_owned(),
            architecture: terms.architecture.to_string(),
            classes: terms.classes,
            preprocessing: terms.preprocessing,
            engines,
        })
    }

    /// Loads the weights and decodes the golden examples, off the async threads: both take their time.
    async fn start(
        &self,
        terms: &Terms,
        package: ModelPackage,
        golden: GoldenExamples,
    ) -> Result<(Engines, Vec<Vec<u8>>), LoadError> {
        let (shop, terms) = (self.clone(), terms.clone());
        let work = move || {
            let Terms { architecture, classes, preprocessing, .. } = terms;
            let examples = proof::prepare(&golden, &preprocessing).map_err(LoadError::NotProved)?;
            let classifier =
                Classifier::load(architecture, classes.len(), preprocessing, &package.weights, Device::Cpu)?;
            let engines = shop.engines(classifier).map_err(|error| LoadError::Broken(error.to_string()))?;
            Ok((engines, examples))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(LoadError::Broken(error.to_string())))
    }

    /// The engines share one network: they take turns anyway.
    fn engines(&self, classifier: Classifier) -> std::io::Result<Engines> {
        let classifying = Arc::new(Mutex::new(classifier));
        let explaining = classifying.clone();
        let classify =
            move |pictures: &[Vec<u8>]| locked(&classifying).logits(pictures).map_err(|error| error.to_string());
        let explain = move |questions: &[Question]| {
            let one = |question: &Question| locked(&explaining).explain(&question.picture, question.class);
            questions.iter().map(|question| one(question).map_err(|error| error.to_string())).collect()
        };
        let batches = self.batches.clone();
        let note = move |pictures| batches.observe(pictures as f64);
        Ok(Engines {
            classify: Engine::start(self.cores.clone(), CLASSIFYING, classify, note)?,
            explain: Engine::start(self.cores.clone(), EXPLAINING, explain, |_| ())?,
        })
    }
}

/// A computation that panicked leaves the network as it was.
fn locked(classifier: &Mutex<Classifier>) -> MutexGuard<'_, Classifier> {
    classifier.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first computation of each shape is slow: libtorch chooses its kernels then. Better now than on a user.
async fn warm_up(engines: &Engines, preprocessing: &Preprocessing) -> Result<(), EngineError> {
    let size = preprocessing.size as usize;
    for pictures in [1, CLASSIFYING.batch] {
        engines.classify.ask(vec![vec![0; size * size * 3]; pictures]).await?;
    }
    Ok(())
}
