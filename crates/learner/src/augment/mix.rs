//! Mixing the pictures of a batch: mixup (Zhang et al. 2017) and cutmix (Yun et al. 2019), as fastai does.
//!
//! Unlike the other variations these depend on the batch: its partners are drawn from (seed, step).

use std::ops::Range;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};
use ursa_domain::recipe::Mix;

use crate::device::upload;
use crate::randomness::{Purpose, stream};

/// Labels (i64 `[n]`) and the share (f32 `[n]`) with which each counts.
#[derive(Debug)]
pub(crate) struct Target {
    pub labels: Tensor,
    pub share: Tensor,
}

impl Target {
    /// Of some of the pictures.
    pub(crate) fn part(&self, pictures: &Range<usize>) -> Self {
        let of = |tensor: &Tensor| tensor.narrow(0, pictures.start as i64, pictures.len() as i64);
        Self { labels: of(&self.labels), share: of(&self.share) }
    }
}

/// What is done to one batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mixture {
    /// The other picture of each, as a position in the batch.
    partners: Vec<i64>,
    /// Each picture's own share.
    shares: Vec<f64>,
    /// For `CutMix`: rows and columns of the rectangle, each from and to, as shares of the side.
    rectangle: Option<[f64; 4]>,
}

impl Mixture {
    /// Draws what happens to the pictures with these keys at `step`.
    pub(crate) fn draw(mix: Mix, seed: u64, step: u64, keys: &[u128]) -> Self {
        let mut rng = stream(seed, Purpose::Mixing, step, 0);
        let mut partners: Vec<i64> = (0..keys.len() as i64).collect();
        partners.shuffle(&mut rng);
        match mix {
            Mix::MixUp { alpha } => {
                // Never the stream of the batch, whose thing is 0.
                let share = |key: &u128| beta(alpha, &mut stream(seed, Purpose::MixingShare, step, *key));
                let shares = keys.iter().map(share).map(|share| share.max(1.0 - share)).collect();
                Self { partners, shares, rectangle: None }
            }
            Mix::CutMix { alpha } => {
                let rectangle = rectangle(beta(alpha, &mut rng), &mut rng);
                let [top, bottom, left, right] = rectangle;
                let own = 1.0 - (bottom - top) * (right - left);
                Self { partners, shares: vec![own; keys.len()], rectangle: Some(rectangle) }
            }
        }
    }

    /// Mixes `images` (f32 `[n, 3, s, s]`) and says what they show now.
    pub(crate) fn apply(&self, images: &Tensor, labels: &Tensor) -> (Tensor, Vec<Target>) {
        let device = images.device();
        let partners = upload(&Tensor::from_slice(&self.partners), device);
        let others = images.index_select(0, &partners);
        let (mixed, shares) = match self.rectangle {
            None => {
                let shares = floats(&self.shares, device);
                let share = shares.view([-1, 1, 1, 1]);
                (images * &share + others * (1.0 - &share), shares)
            }
            Some(rectangle) => {
                let side = images.size()[2];
                let [top, bottom, left, right] = rectangle.map(|share| (share * side as f64).round() as i64);
                let mixed = images.copy();
                let cut = |of: &Tensor| of.narrow(2, top, bottom - top).narrow(3, left, right - left);
                cut(&mixed).copy_(&cut(&others));
                let own = 1.0 - ((bottom - top) * (right - left)) as f64 / (side * side) as f64;
                (mixed, floats(&vec![own; self.shares.len()], device))
            }
        };
        let theirs = Target { labels: labels.index_select(0, &partners), share: 1.0 - &shares };
        (mixed, vec![Target { labels: labels.shallow_clone(), share: shares }, theirs])
    }
}

fn floats(values: &[f64], device: Device) -> Tensor {
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    upload(&Tensor::from_slice(&values), device)
}

/// A rectangle with `1 − share` of the area around any place, cut off at the borders.
fn rectangle(share: f64, rng: &mut ChaCha8Rng) -> [f64; 4] {
    let half = (1.0 - share).sqrt() / 2.0;
    let mut span = || {
        let middle: f64 = rng.random();
        ((middle - half).max(0.0), (middle + half).min(1.0))
    };
    let ((top, bottom), (left, right)) = (span(), span());
    [top, bottom, left, right]
}

/// A draw from Beta(alpha, alpha), by rejection (Jöhnk 1964): quick for the small alphas that are sensible here.
fn beta(alpha: f64, rng: &mut ChaCha8Rng) -> f64 {
    loop {
        let (x, y) = (rng.random::<f64>().powf(1.0 / alpha), rng.random::<f64>().powf(1.0 / alpha));
        if x + y > 0.0 && x + y <= 1.0 {
            return x / (x + y);
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    const IDS: [u128; 4] = [11, 12, 13, 14];

    /// Four pictures, each of one grey.
    fn greys() -> (Tensor, Tensor) {
        let greys = Tensor::from_slice(&[0.0_f32, 0.2, 0.4, 0.8]).view([4, 1, 1, 1]);
        (greys.expand([4, 3, 10, 10], false).contiguous(), Tensor::from_slice(&[0_i64, 1, 2, 3]))
    }

    /// What the picture at `index` should be on average, by what its targets say.
    fn expected(targets: &[Target], index: i64) -> f64 {
        let grey = |label: i64| [0.0, 0.2, 0.4, 0.8][label as usize];
        let of = |target: &Target| target.share.double_value(&[index]) * grey(target.labels.int64_value(&[index]));
        targets.iter().map(of).sum()
    }

    #[test]
    fn pictures_are_mixed_as_their_targets_say() {
        for mix in [Mix::MixUp { alpha: 0.4 }, Mix::CutMix { alpha: 1.0 }] {
            for step in 0..20 {
                let (images, labels) = greys();
                let (mixed, targets) = Mixture::draw(mix, 7, step, &IDS).apply(&images, &labels);
                for index in 0..4 {
                    let found = mixed.get(index).mean(Kind::Float).double_value(&[]);
                    let expected = expected(&targets, index);
                    assert!((found - expected).abs() < 1e-5, "{mix:?} step {step}: {found} is not {expected}");
                }
                let sum = &targets[0].share + &targets[1].share;
                assert!((sum.mean(Kind::Float).double_value(&[]) - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_step_is_always_mixed_the_same_and_no_picture_of_mix_up_loses_its_majority() {
        let draw = |step| Mixture::draw(Mix::MixUp { alpha: 0.4 }, 7, step, &IDS);
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert!((0..50).flat_map(|step| draw(step).shares).all(|share| (0.5..=1.0).contains(&share)));
    }

    #[test]
    fn beta_has_its_mean_and_variance() {
        let mut rng = stream(1, Purpose::Mixing, 0, 0);
        for alpha in [0.4, 1.0, 2.0] {
            let draws: Vec<f64> = (0..20_000).map(|_| beta(alpha, &mut rng)).collect();
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 20_000.0;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!(
                (mean - 0.5).abs() < 0.01 && (variance / expected - 1.0).abs() < 0.05,
                "{alpha}: {mean} {variance}"
            );
        }
    }
}
