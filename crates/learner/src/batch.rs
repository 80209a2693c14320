//! From prepared bytes to what the network sees: channels first, scaled and normalised, on the device.

use tch::{Device, Kind, Tensor};
use ursa_vision::Preprocessing;

use crate::augment::{self, Alteration};

/// u8 `[n, s, s, 3]` to f32 `[n, 3, s, s]` in [0, 1], kept channels-last in memory.
pub(crate) fn scale(images: &Tensor, device: Device) -> Tensor {
    images.to_device(device).permute([0, 3, 1, 2]).to_kind(Kind::Float) / 255.0
}

/// Alters `images` as drawn; the input and output of this are f32 in [0, 1].
pub(crate) fn alter(images: &Tensor, ids: &[u128], seed: u64, epoch: u32) -> Tensor {
    let alterations: Vec<Alteration> = ids.iter().map(|&id| Alteration::draw(seed, epoch, id)).collect();
    augment::apply(images, &alterations)
}

/// Subtracts the mean and divides by the standard deviation of each channel.
pub(crate) fn normalise(images: &Tensor, preprocessing: &Preprocessing) -> Tensor {
    let channels = |values: &[f32; 3]| Tensor::from_slice(values).view([1, 3, 1, 1]).to_device(images.device());
    (images - channels(&preprocessing.mean)) / channels(&preprocessing.std)
}
