//! The one place that turns bytes into pixels: decode, check, hash, resize, normalise.
//!
//! Nothing that comes in here is trusted. Sizes are read and capped before anything is allocated, decoders are written in
//! Rust, and a decoder that panics has only found a corrupt picture. No libtorch, no network, no clock.

mod container;
mod decode;
mod exif;
mod jpeg;
mod jpeg_structure;
mod licence;
mod normalise;
mod overlay;
mod preprocess;
mod refusal;

pub use decode::{Decoded, Format, ImageInfo, Limits, Rgb, decode};
pub use licence::licence;
pub use normalise::{Normalised, normalise, perceptual_hash};
pub use overlay::overlay;
pub use preprocess::Preprocessing;
pub use refusal::{Refusal, RefusalReason, UnknownReason};
