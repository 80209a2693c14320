//! Learning with libtorch: networks, the training loop that follows a recipe, its diagnosis, the learning-rate finder, and
//! the classifier that serving, golden examples and interpretation share.
//!
//! Numbers follow fastai v1 or v2 as the recipe says (see each module). Nothing here does I/O: pictures, weights and
//! checkpoints come and go as bytes, what happens is told to the caller. Nothing here knows stores or services.

mod augment;
mod classifier;
mod data;
mod device;
mod diagnosis;
mod error;
mod evaluation;
mod find_lr;
pub mod interpret;
mod memory;
mod network;
mod numerics;
pub mod onnx;
mod out_of_memory;
mod pixels;
mod plan;
mod randomness;
mod recorder;
mod schedule;
mod sgd_lab;
mod tensor_file;
mod training;

pub use classifier::{Answers, Classifier, softmax};
pub use data::{Dataset, Examples};
pub use device::{Device, Precision, best_device, device_of, libtorch_version, set_threads, usable_cores};
pub use diagnosis::{Evidence, diagnose, is_lost};
pub use error::LearnError;
pub use evaluation::{Evaluation, evaluate};
pub use find_lr::{Heard, RateCurve, Stop, find_lr};
pub use memory::{keep_memory, memory_in_use};
pub use network::{HEAD, HeadKind, HeadSpec, Network, Parameter, Role};
pub use out_of_memory::{Shortage, is_recovered_from};
pub use plan::StagePlan;
pub use recorder::{BatchReport, EpochReport, Measurement, Proportion, SmoothLoss};
pub use schedule::{OneCycle, WarmUp};
pub use sgd_lab::run_sgd_lab;
pub use training::{Advance, AllReduce, RunIdentity, Training};
pub use ursa_domain::recipe::{
    Architecture, Augmentation, Balance, GROUPS, Method, Mix, Numerics, Rate, RateTest, Recipe, Stage,
};
pub use ursa_domain::sgd_lab::{Noise, SgdLab};
