//! Random variations of training pictures, as a recipe's [`ursa_domain::recipe::Augmentation`] wants them: fastai's
//! `get_transforms()` (lesson 2 §2.4), a whole batch at once.
//!
//! Every geometric change of a picture is composed into one sampling (bilinear, reflected borders); light changes in logit
//! space. A picture's draws depend on (seed, epoch, image id) alone: not on its batch, nor on who prepares it.

mod alteration;
mod apply;
mod geometry;
mod mix;

pub(crate) use alteration::Alteration;
pub(crate) use apply::apply;
pub(crate) use mix::{Mixture, Target};
