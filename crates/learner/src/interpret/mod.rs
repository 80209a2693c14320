//! What a model does to which picture (lesson 2, 35–44). Everything goes by image id, never by position: a training side is
//! shuffled. Pure, apart from what [`crate::Classifier`] computes.

mod calibration;
mod confusion;
mod prediction;

pub use calibration::{Bin, Calibration};
pub use confusion::{Confused, Confusion};
pub use prediction::{Prediction, most_unsure, predictions, top_losses};
