//! Alters a batch on the device that trains: one sampling for the geometry, one pass for the light.

use tch::{Device, Kind, Tensor};

use super::Alteration;
use crate::device::upload;

const BILINEAR: i64 = 0;
const REFLECTION: i64 = 2;
/// Keeps the logit of black and white finite.
const EDGE: f64 = 1e-7;
const BRIGHTNESS: i64 = 9;
const CONTRAST: i64 = 10;

/// Alters `images` (f32 `[n, 3, s, s]` in [0, 1]), the n-th as the n-th alteration says.
pub(crate) fn apply(images: &Tensor, alterations: &[Alteration]) -> Tensor {
    let numbers = numbers(alterations, images.device());
    let mut light = images.grid_sampler(&sampling_grid(&numbers, images.size()[2]), BILINEAR, REFLECTION, true);
    let _ = light.logit_(EDGE);
    light += number(&numbers, BRIGHTNESS).unsqueeze(-1);
    light *= number(&numbers, CONTRAST).unsqueeze(-1);
    light.sigmoid_()
}

/// The numbers of all alterations, brought to the device in one piece: f32 `[n, 11]`, nine of the map, row by row, then the
/// light's.
fn numbers(alterations: &[Alteration], device: Device) -> Tensor {
    let of = |one: &Alteration| one.map.into_iter().flatten().chain([one.brightness, one.contrast]);
    let values: Vec<f32> = alterations.iter().flat_map(of).map(|number| number as f32).collect();
    upload(&Tensor::from_slice(&values).view([alterations.len() as i64, -1]), device)
}

/// One number of each alteration, `[n, 1, 1]`.
fn number(numbers: &Tensor, place: i64) -> Tensor {
    numbers.select(1, place).view([-1, 1, 1])
}

/// Where to sample, f32 `[n, s, s, 2]`: the maps applied to every place of an s×s picture.
///
/// Written out by element instead of as a matrix product, whose sums may be ordered by the size of the batch.
fn sampling_grid(numbers: &Tensor, size: i64) -> Tensor {
    let entry = |row: i64, column: i64| number(numbers, 3 * row + column);
    let axis = Tensor::linspace(-1.0, 1.0, size, (Kind::Float, numbers.device()));
    let (x, y) = (axis.view([1, 1, size]), axis.view([1, size, 1]));
    let mapped = |row| entry(row, 0) * &x + (entry(row, 1) * &y + entry(row, 2));
    let depth = mapped(2);
    Tensor::stack(&[mapped(0) / &depth, mapped(1) / depth], -1)
}

#[cfg(test)]
mod tests {
    use ursa_domain::recipe::{Augmentation, Numerics};

    use super::super::alteration::logit;
    use super::super::geometry::{IDENTITY, MIRROR, rotation};
    use super::*;

    const NONE: Alteration = Alteration { map: IDENTITY, brightness: 0.0, contrast: 1.0 };

    fn pictures(count: i64, size: i64) -> Tensor {
        let steps = Tensor::arange(count * 3 * size * size, (Kind::Float, Device::Cpu));
        ((steps * 0.37).sin() * 0.4 + 0.5).view([count, 3, size, size])
    }

    fn draw(seed: u64, epoch: u32, image: u128) -> Alteration {
        Alteration::draw(&Augmentation::default(), Numerics::default(), seed, epoch, image)
    }

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn no_alteration_leaves_the_pictures_as_they_are() {
        let pictures = pictures(2, 33);
        assert!(difference(&apply(&pictures, &[NONE, NONE]), &pictures) < 1e-4);
    }

    #[test]
    fn a_mirrored_picture_is_the_picture_mirrored() {
        let pictures = pictures(1, 32);
        let mirrored = apply(&pictures, &[Alteration { map: MIRROR, ..NONE }]);
        assert!(difference(&mirrored, &pictures.flip([3])) < 1e-4);
    }

    #[test]
    fn a_quarter_turn_moves_columns_to_rows() {
        let pictures = pictures(1, 32);
        let turned = apply(&pictures, &[Alteration { map: rotation(90.0), ..NONE }]);
        assert!(difference(&turned, &pictures.rot90(1, [2, 3])) < 1e-3);
    }

    #[test]
    fn brightness_moves_middle_grey_to_where_it_says() {
        let grey = Tensor::full([1, 3, 8, 8], 0.5, (Kind::Float, Device::Cpu));
        let lit = apply(&grey, &[Alteration { brightness: logit(0.6), ..NONE }]);
        assert!((lit.mean(Kind::Float).double_value(&[]) - 0.6).abs() < 1e-5);
    }

    #[test]
    fn a_picture_is_altered_the_same_in_any_batch() {
        let pictures = pictures(3, 16);
        let alterations: Vec<_> = (0..3).map(|image| draw(5, 0, image)).collect();
        let together = apply(&pictures, &alterations);
        let alone = apply(&pictures.narrow(0, 1, 1), &alterations[1..2]);
        assert!(difference(&together.narrow(0, 1, 1), &alone) < 1e-6);
    }

    #[test]
    fn every_altered_value_is_a_share_of_light() {
        let alterations: Vec<_> = (0..64).map(|image| draw(9, 1, image)).collect();
        let altered = apply(&pictures(64, 16), &alterations);
        assert!(altered.min().double_value(&[]) >= 0.0 && altered.max().double_value(&[]) <= 1.0);
        assert!(bool::try_from(altered.isfinite().all()).unwrap());
    }
}
