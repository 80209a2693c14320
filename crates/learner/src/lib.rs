//! Learning with libtorch: networks, recipes, the training loop and its diagnosis, the learning-rate finder, and the
//! classifier that serving, golden examples and interpretation share.
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
mod network;
mod pixels;
mod randomness;
mod recipe;
mod recorder;
mod schedule;
mod sgd_lab;
mod tensor_file;
mod training;

pub use augment::{Augmentation, Mix};
pub use classifier::{Classifier, Heatmap, softmax};
pub use data::{Dataset, Examples};
pub use device::{Device, Precision, best_device, libtorch_version, set_threads, usable_cores};
pub use diagnosis::{Evidence, Finding, Problem, diagnose, is_absurd};
pub use error::LearnError;
pub use evaluation::{Evaluation, evaluate};
pub use find_lr::{Method, RateCurve, RatePoint, RateTest, Stop, Suggestion, find_lr};
pub use network::{Architecture, GROUPS, HEAD, HeadKind, HeadSpec, Network, Parameter, Role};
pub use recipe::{Balance, Numerics, Rate, Recipe, Stage, StagePlan};
pub use recorder::{BatchReport, EpochReport, Measurement, Proportion, Recorder, SmoothLoss};
pub use schedule::{OneCycle, WarmUp};
pub use sgd_lab::{Noise, SgdLab, SgdOutcome, SgdStep};
pub use training::{Advance, RunIdentity, Training};
