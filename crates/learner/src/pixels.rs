//! From prepared bytes to what the network sees: channels first, scaled and normalised, on the device.

use tch::{Device, Kind, Tensor, no_grad};
use ursa_vision::Preprocessing;

/// Pictures computed at once in evaluation; larger requests are cut, which bounds memory.
pub(crate) const CHUNK: i64 = 64;

/// u8 `[n, s, s, 3]` to f32 `[n, 3, s, s]` in [0, 1], kept channels-last in memory.
pub(crate) fn scale(images: &Tensor, device: Device) -> Tensor {
    let mut scaled = images.to_device(device).permute([0, 3, 1, 2]).to_kind(Kind::Float);
    let _ = scaled.g_div_scalar_(255.0);
    scaled
}

/// Makes pictures smaller by averaging areas; `side` is at most their own.
pub(crate) fn shrink(images: &Tensor, side: u32) -> Tensor {
    let side = i64::from(side);
    if images.size()[2] == side { images.shallow_clone() } else { images.adaptive_avg_pool2d([side, side]) }
}

/// Subtracts the mean and divides by the standard deviation of each channel.
pub(crate) fn normalise(images: &Tensor, preprocessing: &Preprocessing) -> Tensor {
    let channels = |values: &[f32; 3]| Tensor::from_slice(values).view([1, 3, 1, 1]).to_device(images.device());
    let mut normalised = images - channels(&preprocessing.mean);
    normalised /= channels(&preprocessing.std);
    normalised
}

/// Runs `forward` over u8 pictures `[n, s, s, 3]` without gradients; it gets f32 `[m, 3, s, s]` in [0, 1] and gives one row
/// of numbers for each picture.
pub(crate) fn rows(images: &Tensor, device: Device, forward: impl Fn(&Tensor) -> Tensor) -> Vec<Vec<f32>> {
    let count = images.size()[0];
    let mut rows = Vec::with_capacity(count as usize);
    no_grad(|| {
        for start in (0..count).step_by(CHUNK as usize) {
            let chunk = images.narrow(0, start, CHUNK.min(count - start));
            let result = forward(&scale(&chunk, device)).to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
            let mut values = vec![0.0_f32; result.numel()];
            result.copy_data(&mut values, result.numel());
            rows.extend(values.chunks_exact(result.size()[1] as usize).map(<[f32]>::to_vec));
        }
    });
    rows
}
