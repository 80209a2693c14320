//! From prepared bytes to what the network sees: channels first, scaled and normalised, on the device.

use std::ops::Range;

use tch::{Device, Kind, Tensor, no_grad};
use ursa_vision::Preprocessing;

use crate::data::Examples;
use crate::device::{send, upload};
use crate::out_of_memory::caught;

/// Pictures computed at once in evaluation; larger requests are cut, which bounds memory.
const CHUNK: usize = 64;

/// u8 `[n, s, s, 3]` to f32 `[n, 3, s, s]` in [0, 1], kept channels-last in memory.
pub(crate) fn scale(images: &Tensor, device: Device) -> Tensor {
    let mut scaled = send(images, device).permute([0, 3, 1, 2]).to_kind(Kind::Float);
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
    let channels = |values: &[f32; 3]| upload(&Tensor::from_slice(values).view([1, 3, 1, 1]), images.device());
    let mut normalised = images - channels(&preprocessing.mean);
    normalised /= channels(&preprocessing.std);
    normalised
}

/// Runs `forward` over u8 pictures `[n, s, s, 3]` without gradients; it gets f32 `[m, 3, s, s]` in [0, 1] and gives one row
/// of numbers for each picture. Fewer pictures go at once where memory does not hold more.
pub(crate) fn rows(images: &Tensor, device: Device, forward: impl Fn(&Tensor) -> Tensor) -> Vec<Vec<f32>> {
    let some = |range: Range<usize>| images.narrow(0, range.start as i64, range.len() as i64);
    in_chunks(images.size()[0] as usize, |range| chunk_rows(&some(range), device, &forward))
}

/// The same over examples.
pub(crate) fn rows_of(examples: &Examples, device: Device, forward: impl Fn(&Tensor) -> Tensor) -> Vec<Vec<f32>> {
    in_chunks(examples.len(), |range| chunk_rows(&examples.pictures(range), device, &forward))
}

fn in_chunks(count: usize, rows_in: impl Fn(Range<usize>) -> Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let mut rows = Vec::with_capacity(count);
    let mut chunk = CHUNK;
    while rows.len() < count {
        let range = rows.len()..count.min(rows.len() + chunk);
        if chunk == 1 {
            rows.extend(rows_in(range));
        } else if let Ok(found) = caught(|| rows_in(range)) {
            rows.extend(found);
        } else {
            chunk /= 2;
        }
    }
    rows
}

fn chunk_rows(images: &Tensor, device: Device, forward: &impl Fn(&Tensor) -> Tensor) -> Vec<Vec<f32>> {
    let result = no_grad(|| forward(&scale(images, device)));
    let result = result.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut values = vec![0.0_f32; result.numel()];
    result.copy_data(&mut values, result.numel());
    values.chunks_exact(result.size()[1] as usize).map(<[f32]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_picture_has_the_means_of_areas() {
        let picture = |side: i64| Tensor::arange(side * side, (Kind::Float, Device::Cpu)).view([1, 1, side, side]);
        let means = |values: [f32; 4]| Tensor::from_slice(&values).view([1, 1, 2, 2]);
        assert_eq!(shrink(&picture(4), 2), means([2.5, 4.5, 10.5, 12.5]));
        assert_eq!(shrink(&picture(3), 2), means([2.0, 3.0, 5.0, 6.0]), "areas that overlap");
        assert_eq!(shrink(&picture(3), 3), picture(3));
    }

    #[test]
    fn pictures_that_memory_does_not_hold_together_come_one_after_another() {
        let images = Tensor::arange(100, (Kind::Uint8, Device::Cpu)).view([100, 1, 1, 1]).expand([100, 1, 1, 3], false);
        let sums = |images: &Tensor| images.sum_dim_intlist([2_i64, 3].as_slice(), false, Kind::Float) * 255.0;
        let plain = rows(&images, Device::Cpu, sums);
        assert_eq!((plain.len(), plain[99][0].round()), (100, 99.0));
        let tight = rows(&images, Device::Cpu, |images| {
            let bytes = if images.size()[0] > 5 { 1 << 50 } else { 1 };
            sums(images) + Tensor::zeros([bytes], (Kind::Float, Device::Cpu)).narrow(0, 0, 1)
        });
        assert_eq!(tight, plain);
    }
}
