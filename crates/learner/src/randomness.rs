//! Every random draw of a run, derived from its seed and from what the draw is for.
//!
//! No stream depends on what was drawn before it. So a resumed run draws what the unbroken one would have drawn, and the
//! augmentation of a picture does not depend on the batch it is in.

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

/// The stream for `purpose` at a moment (an epoch or a step) and for a thing (an image id, else 0).
pub(crate) fn stream(seed: u64, purpose: Purpose, moment: u64, thing: u128) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(moment << 8 | purpose as u64).to_le_bytes());
    key[16..].copy_from_slice(&thing.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// Seeds libtorch's own generators, which dropout and initialisation use.
pub(crate) fn seed_libtorch(seed: u64, purpose: Purpose, moment: u64) {
    tch::manual_seed(stream(seed, purpose, moment, 0).next_u64() as i64);
}

#[cfg(test)]
mod tests {
    use super::*;

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
