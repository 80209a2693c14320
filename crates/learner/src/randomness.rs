//! Every random draw of a run, derived from its seed and from what the draw is for.
//!
//! No stream depends on what was drawn before it. So a resumed run draws what the unbroken one would have drawn, and the
//! augmentation of a picture does not depend on the batch it is in.

use std::sync::{Mutex, PoisonError};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a draw is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// First values of the parameters.
    Initialisation = 1,
    /// Order of the training pictures.
    Order = 2,
    /// How a picture is altered.
    Augmentation = 3,
    /// Which activations are dropped.
    Dropout = 4,
    /// Which pictures of a batch are mixed.
    Mixing = 5,
    /// How much of a picture stays when it is mixed.
    MixingShare = 6,
    /// Which training pictures are measured on after every epoch.
    Sample = 7,
    /// Order of the training pictures while a learning rate is looked for.
    RateOrder = 8,
    /// The points of the SGD lab.
    Laboratory = 9,
}

/// The stream for `purpose` at a moment (an epoch or a step) and for a thing (the key of a picture, else 0).
pub(crate) fn stream(seed: u64, purpose: Purpose, moment: u64, thing: u128) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(moment << 8 | purpose as u64).to_le_bytes());
    key[16..].copy_from_slice(&thing.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// libtorch has one generator for the whole process.
static LIBTORCH: Mutex<()> = Mutex::new(());

/// Does what draws from libtorch's own generators, dropout and initialisation, after seeding them. Nobody else draws meanwhile:
/// runs on other threads wait.
pub(crate) fn with_libtorch<T>(seed: u64, purpose: Purpose, moment: u64, draws: impl FnOnce() -> T) -> T {
    let _alone = LIBTORCH.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(stream(seed, purpose, moment, 0).next_u64() as i64);
    draws()
}

/// Numbers from a normal distribution that take nothing from libtorch's generators, for tests.
#[cfg(test)]
pub(crate) fn noise(shape: &[i64], seed: u64) -> tch::Tensor {
    use rand::Rng;
    let mut rng = stream(seed, Purpose::Initialisation, 0, 1);
    // Box and Muller 1958.
    let mut normal = || {
        let (radius, angle): (f64, f64) = (rng.random(), rng.random());
        ((-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| normal()).collect();
    tch::Tensor::from_slice(&values).view(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_draw_at_once_draw_what_they_would_alone() {
        let draw = |seed| {
            let kind = (tch::Kind::Float, tch::Device::Cpu);
            with_libtorch(seed, Purpose::Dropout, 0, || (0..50).map(|_| tch::Tensor::rand([100], kind)).collect())
        };
        let alone: Vec<Vec<tch::Tensor>> = (0..4).map(draw).collect();
        let together = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || draw(seed))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<Vec<tch::Tensor>>>()
        });
        assert_eq!(alone, together);
        assert_ne!(alone[0], alone[1]);
    }

    #[test]
    fn streams_are_repeatable_and_apart() {
        let first = |purpose, moment, thing| stream(7, purpose, moment, thing).next_u64();
        assert_eq!(first(Purpose::Order, 3, 9), first(Purpose::Order, 3, 9));
        let draws = [
            first(Purpose::Order, 3, 9),
            first(Purpose::Dropout, 3, 9),
            first(Purpose::Order, 4, 9),
            first(Purpose::Order, 3, 8),
            stream(8, Purpose::Order, 3, 9).next_u64(),
        ];
        for (index, draw) in draws.iter().enumerate() {
            assert!(!draws[..index].contains(draw), "two of {draws:?} are the same");
        }
    }
}
