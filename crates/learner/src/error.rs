//! What can go wrong while learning, in the kinds a caller acts on.

use ursa_domain::setting::InvalidSetting;

/// A learning error. The message says what happened, to what, and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LearnError {
    /// A recipe, a test of rates or an experiment asks for something that cannot be done.
    #[error("the settings cannot be followed: {0}")]
    InvalidSetting(#[from] InvalidSetting),
    /// The pictures do not make a training set.
    #[error("the data cannot be learned from: {0}")]
    UnusableData(String),
    /// Bytes that are no safetensors file.
    #[error("{what} cannot be read as safetensors: {reason}")]
    Malformed {
        /// Which file.
        what: &'static str,
        /// What the reader said.
        reason: String,
    },
    /// A tensor that the network has and the file has not.
    #[error("{what} has no tensor {name:?}: it belongs to another architecture")]
    MissingTensor {
        /// Which file.
        what: &'static str,
        /// The tensor.
        name: String,
    },
    /// A tensor that the file has and the network has not.
    #[error("{what} has a tensor {name:?} that the network has not: it belongs to another architecture")]
    UnexpectedTensor {
        /// Which file.
        what: &'static str,
        /// The tensor.
        name: String,
    },
    /// A tensor of another shape or number type.
    #[error("{what}: tensor {name:?} is {found}, the network needs {expected}")]
    TensorMismatch {
        /// Which file.
        what: &'static str,
        /// The tensor.
        name: String,
        /// Type and shape that fit, for instance `F32 [64, 3, 7, 7]`.
        expected: String,
        /// Type and shape of the file's tensor.
        found: String,
    },
    /// Names that do not belong to a network's outputs.
    #[error("{names} names were given for the {classes} classes that the network tells apart")]
    ClassNames {
        /// How many were given.
        names: usize,
        /// How many are needed.
        classes: usize,
    },
    /// A checkpoint of another run.
    #[error("the checkpoint belongs to another run: {what} differs; start again without it")]
    DifferentRun {
        /// The part of the identity that differs.
        what: String,
    },
    /// The loss is infinite or not a number.
    #[error(
        "the loss became {loss} in batch {step} (epoch {epoch}): training diverged; \
         lower max_learning_rate (now {max_learning_rate}), by a factor of 10 to begin with"
    )]
    NonFiniteLoss {
        /// What it became.
        loss: f64,
        /// Batches done before.
        step: u64,
        /// From 0.
        epoch: u32,
        /// The highest of the recipe's.
        max_learning_rate: f64,
    },
    /// The losses after an epoch show that the run is lost.
    #[error(
        "the validation loss is {loss:.4} after epoch {epoch} and the training loss {train_loss:.4} (a guess would have \
         {chance:.2}): training diverged and was stopped; lower max_learning_rate (now {max_learning_rate}), by a factor of \
         10 to begin with, or say stop_early: false to have it go on"
    )]
    AbsurdLoss {
        /// On the validation side.
        loss: f64,
        /// The smoothed one of the batches.
        train_loss: f64,
        /// That of a guess.
        chance: f64,
        /// From 1.
        epoch: u32,
        /// The highest of the recipe's.
        max_learning_rate: f64,
    },
    /// Memory holds not even the smallest part of a batch, or not its pictures.
    #[error(
        "memory does not hold {pictures} pictures at once: lower image_size or batch_size, choose a smaller architecture, \
         or take a GPU with more memory ({reason})"
    )]
    OutOfMemory {
        /// What it does not hold.
        pictures: usize,
        /// What libtorch said.
        reason: String,
    },
    /// Another process of a run that several learn together.
    #[error("another process of this run is gone: {reason}")]
    PeerLost {
        /// What its connection says.
        reason: String,
    },
    /// The observer asked for an end.
    #[error("training was cancelled")]
    Cancelled,
}
