//! Learning with libtorch: networks, the training loop, and the classifier that serving and golden examples share.
//!
//! Numbers follow fastai v1 (see each module). Nothing here does I/O: pictures, weights and checkpoints come and go as
//! bytes, what happens is told to an [`Observer`]. Nothing here knows jobs, stores or services.

mod augment;
mod batch;
mod checkpoint;
mod classifier;
mod dataset;
mod device;
mod error;
mod evaluation;
mod network;
mod optimizer;
mod plan;
mod randomness;
mod schedule;
mod tensor_file;
mod training;

pub use checkpoint::RunIdentity;
pub use classifier::{Classifier, softmax};
pub use dataset::{Dataset, Examples};
pub use device::{Device, Precision, best_device, libtorch_version, set_threads, usable_cores};
pub use error::LearnError;
pub use evaluation::{Evaluation, evaluate};
pub use network::{Architecture, GROUPS, HEAD, HeadKind, HeadSpec, Network, Parameter, Role};
pub use plan::check_recipe;
pub use schedule::OneCycle;
pub use training::{BatchReport, EpochReport, Observer, Training};
