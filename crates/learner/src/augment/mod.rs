//! Random variations of training pictures, as a recipe's [`ursa_domain::recipe::Augmentation`] wants them: fastai's
//! `get_transforms()` (lesson 2 §2.4), a whole batch at once.
//!
//! Every geometric change of a picture is composed into one sampling (bilinear, reflected borders); light changes in logit
//! space. One thing differs from fastai: resizing is no part of that sampling. Pictures come as they are kept, decoded once for
//! all epochs, cropped to the centre and resized, and so they are resampled twice. v1 samples once, from the whole picture; v2
//! twice, but the second time from a larger one. What lies outside the centre cannot come into view here, and what is magnified
//! is magnified from the pixels that are kept.
//!
//! A picture's draws depend on (seed, epoch, image id) alone: not on its batch, nor on who prepares it.

mod alteration;
mod apply;
mod geometry;
mod mix;

pub(crate) use alteration::Alteration;
pub(crate) use apply::apply;
pub(crate) use mix::{Mixture, Target};
