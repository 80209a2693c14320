//! What happens to one picture in one epoch.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use ursa_domain::recipe::{Augmentation, Numerics};

use super::geometry::{IDENTITY, MIRROR, Map, TRANSPOSE, UPSIDE_DOWN, compose, crop, rotation, tilt, warp, zoom};
use crate::randomness::{Purpose, stream};

/// How one picture is altered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Alteration {
    /// Where each place of the new picture comes from.
    pub map: Map,
    /// Added to the logit of every value.
    pub brightness: f64,
    /// Multiplies the logit of every value.
    pub contrast: f64,
}

impl Alteration {
    /// Draws how `image` looks in `epoch`: as `get_transforms()` of fastai v1 or `aug_transforms()` of v2 would.
    pub(crate) fn draw(how: &Augmentation, numerics: Numerics, seed: u64, epoch: u32, image: u128) -> Self {
        let mut rng = stream(seed, Purpose::Augmentation, u64::from(epoch), image);
        let mut map = match numerics {
            Numerics::FastaiV1 => map_of_v1(how, &mut rng),
            Numerics::FastaiV2 => map_of_v2(how, &mut rng),
        };
        let (dark, bright) = ((1.0 - how.max_lighting) / 2.0, f64::midpoint(1.0, how.max_lighting));
        let brightness = if rng.random_bool(how.p_lighting) { logit(rng.random_range(dark..=bright)) } else { 0.0 };
        let most = -(1.0 - how.max_lighting).ln();
        let contrast = if rng.random_bool(how.p_lighting) { rng.random_range(-most..=most).exp() } else { 1.0 };
        if how.min_scale < 1.0 {
            map = compose(&map, &random_crop(how, &mut rng));
        }
        Self { map, brightness, contrast }
    }
}

/// Warp, rotate, zoom in the picture's plane, then flip.
fn map_of_v1(how: &Augmentation, rng: &mut ChaCha8Rng) -> Map {
    let mut map = IDENTITY;
    if rng.random_bool(how.p_affine) {
        map = compose(&map, &rotation(rng.random_range(-how.max_rotate..=how.max_rotate)));
    }
    if rng.random_bool(how.p_affine) {
        map = compose(&map, &zoom(rng.random_range(1.0..=how.max_zoom), rng.random(), rng.random()));
    }
    if rng.random_bool(how.p_affine) {
        let corners = std::array::from_fn(|_| rng.random_range(-how.max_warp..=how.max_warp));
        map = warp(corners).map_or(map, |warp| compose(&map, &warp));
    }
    compose(&map, &symmetry(how, rng))
}

/// v2 warps what was flipped, rotated and zoomed. Its tilts about the two axes have a coin each, and only half of the pictures
/// take part in all the symmetries.
fn map_of_v2(how: &Augmentation, rng: &mut ChaCha8Rng) -> Map {
    let mut share = || if rng.random_bool(how.p_affine) { rng.random_range(-how.max_warp..=how.max_warp) } else { 0.0 };
    let (x, y) = (share(), share());
    let mut map = tilt(x, y).unwrap_or(IDENTITY);
    if !how.flip_vert || rng.random_bool(0.5) {
        map = compose(&map, &symmetry(how, rng));
    }
    if rng.random_bool(how.p_affine) {
        map = compose(&map, &rotation(rng.random_range(-how.max_rotate..=how.max_rotate)));
    }
    if rng.random_bool(how.p_affine) {
        map = compose(&map, &zoom(rng.random_range(1.0..=how.max_zoom), rng.random(), rng.random()));
    }
    map
}

/// As `RandomResizedCrop` draws a crop of a square: the whole of it where none of ten fits.
fn random_crop(how: &Augmentation, rng: &mut ChaCha8Rng) -> Map {
    let most = how.max_ratio.ln();
    for _ in 0..10 {
        let (area, ratio) = (rng.random_range(how.min_scale..=1.0), rng.random_range(-most..=most).exp());
        let sides = [(area * ratio).sqrt(), (area / ratio).sqrt()];
        if sides.iter().all(|side| *side <= 1.0) {
            return crop(sides, rng.random(), rng.random());
        }
    }
    IDENTITY
}

fn symmetry(how: &Augmentation, rng: &mut ChaCha8Rng) -> Map {
    let choices: &[Map] = match (how.do_flip, how.flip_vert) {
        (false, _) => &[],
        (true, false) => &[MIRROR],
        (true, true) => &[MIRROR, UPSIDE_DOWN, TRANSPOSE],
    };
    choices.iter().fold(IDENTITY, |map, choice| if rng.random_bool(0.5) { compose(&map, choice) } else { map })
}

/// The inverse of the logistic function.
pub(super) fn logit(share: f64) -> f64 {
    (share / (1.0 - share)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: Augmentation = Augmentation {
        do_flip: true,
        flip_vert: false,
        max_rotate: 10.0,
        max_zoom: 1.1,
        max_lighting: 0.2,
        max_warp: 0.2,
        p_affine: 0.75,
        p_lighting: 0.75,
        min_scale: 1.0,
        max_ratio: 1.0,
    };

    fn draw(how: &Augmentation, seed: u64, epoch: u32, image: u128) -> Alteration {
        Alteration::draw(how, Numerics::FastaiV1, seed, epoch, image)
    }

    #[test]
    fn draws_depend_on_seed_epoch_and_image_alone() {
        assert_eq!(HOW, Augmentation::default());
        let draw = |seed, epoch, image| draw(&HOW, seed, epoch, image);
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        for other in [draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)] {
            assert_ne!(draw(1, 2, 3), other);
        }
    }

    #[test]
    fn shares_and_ranges_are_those_of_get_transforms() {
        let draws: Vec<_> = (0..4000).map(|image| draw(&HOW, 1, 0, image)).collect();
        let share = |what: fn(&Alteration) -> bool| draws.iter().filter(|draw| what(draw)).count() as f64 / 4000.0;
        let determinant = |draw: &Alteration| draw.map[0][0] * draw.map[1][1] - draw.map[0][1] * draw.map[1][0];
        let mirrored = draws.iter().filter(|draw| determinant(draw) < 0.0).count() as f64 / 4000.0;
        assert!((mirrored - 0.5).abs() < 0.03, "{mirrored}");
        assert!((share(|draw| draw.brightness.abs() > 0.0) - 0.75).abs() < 0.03);
        assert!((share(|draw| (draw.contrast - 1.0).abs() > 0.0) - 0.75).abs() < 0.03);
        let least = draws.iter().map(|draw| draw.contrast).fold(f64::MAX, f64::min);
        let most = draws.iter().map(|draw| draw.contrast).fold(0.0, f64::max);
        assert!((0.8..0.805).contains(&least) && (1.24..=1.25 + 1e-9).contains(&most), "{least} to {most}");
        let brightest = draws.iter().map(|draw| draw.brightness).fold(0.0, f64::max);
        assert!(brightest <= logit(0.6) + 1e-9 && brightest > logit(0.595));
    }

    #[test]
    fn nothing_asked_for_is_nothing_done() {
        let none = Augmentation::none();
        assert!(none.is_none() && !HOW.is_none());
        let all = (0..20).flat_map(|image| Numerics::ALL.iter().map(move |&numerics| (image, numerics)));
        for (image, numerics) in all {
            let draw = Alteration::draw(&none, numerics, 1, 0, image);
            assert!((draw.brightness, draw.contrast) == (0.0, 1.0), "{draw:?}");
            let distance = draw.map.iter().flatten().zip(IDENTITY.iter().flatten()).map(|(a, b)| (a - b).abs());
            assert!(distance.fold(0.0, f64::max) < 1e-9, "{draw:?}");
        }
    }

    #[test]
    fn the_square_has_eight_symmetries() {
        let how = Augmentation { flip_vert: true, ..Augmentation::none() };
        let how = Augmentation { do_flip: true, ..how };
        let mut seen: Vec<Map> = Vec::new();
        for image in 0..200 {
            let map = draw(&how, 1, 0, image).map.map(|row| row.map(f64::round));
            if !seen.contains(&map) {
                seen.push(map);
            }
        }
        assert_eq!(seen.len(), 8);
        let still = |numerics| {
            let draws =
                (0..4000).map(|image| Alteration::draw(&how, numerics, 1, 0, image).map.map(|row| row.map(f64::round)));
            draws.filter(|map| *map == IDENTITY).count() as f64 / 4000.0
        };
        // An eighth; in v2 a half and an eighth of the other one.
        let (v1, v2) = (still(Numerics::FastaiV1), still(Numerics::FastaiV2));
        assert!((v1 - 0.125).abs() < 0.03 && (v2 - 0.5625).abs() < 0.03, "{v1} {v2}");
    }

    /// The tilt of v2 about one axis leaves the other's edges alone; v1 moves all sides apart.
    #[test]
    fn tilts_of_v2_have_a_coin_for_each_axis() {
        let how = Augmentation { max_warp: 0.2, ..Augmentation::none() };
        let draws: Vec<Map> =
            (0..4000).map(|image| Alteration::draw(&how, Numerics::FastaiV2, 1, 0, image).map).collect();
        // The last row of a tilt holds the two perspectives.
        let share = |axis: usize| draws.iter().filter(|map| map[2][axis].abs() > 1e-12).count() as f64 / 4000.0;
        let both =
            draws.iter().filter(|map| map[2][0].abs() > 1e-12 && map[2][1].abs() > 1e-12).count() as f64 / 4000.0;
        assert!((share(0) - 0.75).abs() < 0.03 && (share(1) - 0.75).abs() < 0.03, "{} {}", share(0), share(1));
        assert!((both - 0.5625).abs() < 0.03, "{both}");
    }

    #[test]
    fn crops_keep_their_share_of_the_area_and_their_ratio() {
        let how = Augmentation { min_scale: 0.35, max_ratio: 4.0 / 3.0, ..Augmentation::none() };
        assert!(!how.is_none());
        let maps: Vec<Map> = (0..4000).map(|image| draw(&how, 1, 0, image).map).collect();
        let areas: Vec<f64> = maps.iter().map(|map| map[0][0] * map[1][1]).collect();
        let (least, most) = (areas.iter().copied().fold(1.0, f64::min), areas.iter().copied().fold(0.0, f64::max));
        assert!((0.35..0.36).contains(&least) && most > 0.95 && most <= 1.0 + 1e-9, "{least} to {most}");
        let widest = maps.iter().map(|map| map[0][0] / map[1][1]).fold(0.0, f64::max);
        assert!((1.3..=4.0 / 3.0 + 1e-9).contains(&widest), "{widest}");
        // Nothing beyond the edges is shown, and both edges are reached.
        let edge = |map: &Map| map[0][2].abs() + map[0][0];
        assert!(maps.iter().all(|map| edge(map) <= 1.0 + 1e-9) && maps.iter().any(|map| edge(map) > 0.99));
    }
}
