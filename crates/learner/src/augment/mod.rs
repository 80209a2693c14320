//! Random variations of training pictures: fastai's `get_transforms()` with its defaults, a whole batch at once.
//!
//! Flip p 0.5, warp ±0.2 p 0.75, rotate ±10° p 0.75, zoom 1–1.1 p 0.75, brightness and contrast 0.2 p 0.75 each. Every
//! geometric change is one sampling of the picture (bilinear, reflected borders); light changes in logit space. A
//! picture's draws depend on (seed, epoch, image id) alone.

mod geometry;

use rand::Rng;
use tch::{Device, Kind, Tensor};

use crate::randomness::{Purpose, stream};
use geometry::{IDENTITY, MIRROR, Map, compose, rotation, warp, zoom};

const BILINEAR: i64 = 0;
const REFLECTION: i64 = 2;
/// Probability of each change but the flip.
const USUAL: f64 = 0.75;
/// Keeps the logit of black and white finite.
const EDGE: f64 = 1e-7;

/// How one picture is altered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Alteration {
    /// Where each place of the new picture comes from.
    map: Map,
    /// Added to the logit of every value.
    brightness: f64,
    /// Multiplies the logit of every value.
    contrast: f64,
}

impl Alteration {
    /// Draws how `image` looks in `epoch`.
    pub(crate) fn draw(seed: u64, epoch: u32, image: u128) -> Self {
        let mut rng = stream(seed, Purpose::Augmentation, u64::from(epoch), image);
        let mut map = IDENTITY;
        if rng.random_bool(USUAL) {
            map = compose(&map, &rotation(rng.random_range(-10.0..=10.0)));
        }
        if rng.random_bool(USUAL) {
            map = compose(&map, &zoom(rng.random_range(1.0..=1.1), rng.random(), rng.random()));
        }
        if rng.random_bool(USUAL) {
            let corners = std::array::from_fn(|_| rng.random_range(-0.2..=0.2));
            map = warp(corners).map_or(map, |warp| compose(&map, &warp));
        }
        if rng.random_bool(0.5) {
            map = compose(&map, &MIRROR);
        }
        let brightness = if rng.random_bool(USUAL) { logit(rng.random_range(0.4..=0.6)) } else { 0.0 };
        let contrast = if rng.random_bool(USUAL) { rng.random_range(0.8_f64.ln()..=1.25_f64.ln()).exp() } else { 1.0 };
        Self { map, brightness, contrast }
    }
}

fn logit(share: f64) -> f64 {
    (share / (1.0 - share)).ln()
}

/// Alters `images` (f32 `[n, 3, s, s]` in [0, 1]), the n-th as the n-th alteration says.
pub(crate) fn apply(images: &Tensor, alterations: &[Alteration]) -> Tensor {
    let grid = sampling_grid(alterations, images.size()[2], images.device());
    let moved = images.grid_sampler(&grid, BILINEAR, REFLECTION, true);
    let per_image = |value: fn(&Alteration) -> f64| {
        let values: Vec<f32> = alterations.iter().map(|alteration| value(alteration) as f32).collect();
        Tensor::from_slice(&values).view([-1, 1, 1, 1]).to_device(images.device())
    };
    let mut light = moved.clamp(EDGE, 1.0 - EDGE).logit_(None::<f64>);
    light += per_image(|alteration| alteration.brightness);
    light *= per_image(|alteration| alteration.contrast);
    light.sigmoid_()
}

/// Where to sample, f32 `[n, s, s, 2]`: the maps applied to every place of an s×s picture.
fn sampling_grid(alterations: &[Alteration], size: i64, device: Device) -> Tensor {
    let maps: Vec<f32> = alterations.iter().flat_map(|a| a.map.into_iter().flatten()).map(|v| v as f32).collect();
    let maps = Tensor::from_slice(&maps).view([-1, 3, 3]).to_device(device);
    let axis = Tensor::linspace(-1.0, 1.0, size, (Kind::Float, device));
    let x = axis.view([1, size]).expand([size, size], false);
    let y = axis.view([size, 1]).expand([size, size], false);
    let places = Tensor::stack(&[&x, &y, &x.ones_like()], -1).view([1, size * size, 3]);
    let mapped = places.matmul(&maps.transpose(1, 2));
    let grid = mapped.narrow(2, 0, 2) / mapped.narrow(2, 2, 1);
    grid.view([-1, size, size, 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Alteration = Alteration { map: IDENTITY, brightness: 0.0, contrast: 1.0 };

    fn pictures(count: i64, size: i64) -> Tensor {
        let steps = Tensor::arange(count * 3 * size * size, (Kind::Float, Device::Cpu));
        ((steps * 0.37).sin() * 0.4 + 0.5).view([count, 3, size, size])
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
    fn draws_depend_on_seed_epoch_and_image_alone() {
        assert_eq!(Alteration::draw(1, 2, 3), Alteration::draw(1, 2, 3));
        for other in [Alteration::draw(2, 2, 3), Alteration::draw(1, 3, 3), Alteration::draw(1, 2, 4)] {
            assert_ne!(Alteration::draw(1, 2, 3), other);
        }
    }

    #[test]
    fn a_picture_is_altered_the_same_in_any_batch() {
        let pictures = pictures(3, 16);
        let alterations: Vec<_> = (0..3).map(|image| Alteration::draw(5, 0, image)).collect();
        let together = apply(&pictures, &alterations);
        let alone = apply(&pictures.narrow(0, 1, 1), &alterations[1..2]);
        assert!(difference(&together.narrow(0, 1, 1), &alone) < 1e-6);
    }

    #[test]
    fn every_altered_value_is_a_share_of_light() {
        let alterations: Vec<_> = (0..64).map(|image| Alteration::draw(9, 1, image)).collect();
        let altered = apply(&pictures(64, 16), &alterations);
        assert!(altered.min().double_value(&[]) >= 0.0 && altered.max().double_value(&[]) <= 1.0);
        assert!(bool::try_from(altered.isfinite().all()).unwrap());
    }
}
