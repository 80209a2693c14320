//! Which side of the train/valid split an image falls on.
//!
//! A hash decides, not a permutation: the side depends on (seed, content) alone, so it is the same on every machine and
//! stays put when images are added, removed or relabelled. Near and exact duplicates share a content id, so they never
//! straddle the sides.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::lifecycle::words;

/// A side of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Learned from.
    Train,
    /// Measured on.
    Valid,
}

words!(Side, "side", { Train => "train", Valid => "valid" });

/// The side of the image whose duplicate group has `content_id`; `valid_percent` in 0..=100.
pub fn side(seed: u64, content_id: &str, valid_percent: u32) -> Side {
    let hash = Sha256::new_with_prefix(seed.to_le_bytes()).chain_update(content_id.as_bytes()).finalize();
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    // 64 bits mapped onto [0, 100) without bias worth naming.
    let percentile = (u128::from(u64::from_be_bytes(head)) * 100) >> 64;
    if percentile < u128::from(valid_percent) { Side::Valid } else { Side::Train }
}

/// A class that one side has no image of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "class {class:?} has {train} images to train on and {valid} to validate on; both sides need at least one: \
     collect more images of it, choose another seed, or change valid_percent"
)]
pub struct LopsidedClass {
    /// The class.
    pub class: String,
    /// Images on the train side.
    pub train: u64,
    /// Images on the valid side.
    pub valid: u64,
}

/// Images of one class on either side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// The class.
    pub class: String,
    /// Images on the train side.
    pub train: u64,
    /// Images on the valid side.
    pub valid: u64,
}

/// Refuses a split that leaves a class without images on one side.
pub fn check(counts: &[ClassCount]) -> Result<(), LopsidedClass> {
    match counts.iter().find(|count| count.train == 0 || count.valid == 0) {
        None => Ok(()),
        Some(count) => Err(LopsidedClass { class: count.class.clone(), train: count.train, valid: count.valid }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_larger_valid_share_only_moves_images_to_valid(seed: u64, content: String, small in 0_u32..=100, more in 0_u32..=100) {
            let large = (small + more).min(100);
            if side(seed, &content, small) == Side::Valid {
                prop_assert_eq!(side(seed, &content, large), Side::Valid);
            }
        }
    }

    #[test]
    fn the_share_is_what_was_asked_for() {
        let valid = (0..10_000).filter(|i| side(42, &i.to_string(), 20) == Side::Valid).count();
        assert!((1_900..=2_100).contains(&valid), "{valid} of 10000");
    }

    #[test]
    fn the_side_is_the_same_on_every_machine() {
        let sides: String =
            (0..16).map(|i| if side(42, &format!("image {i}"), 50) == Side::Valid { 'v' } else { 't' }).collect();
        assert_eq!(sides, PINNED_SIDES);
    }

    /// Written down once; a change here would move images between the sides of everybody's datasets.
    const PINNED_SIDES: &str = "vvvtvvvtttttvtvt";

    #[test]
    fn a_class_missing_from_one_side_is_named_with_its_cure() {
        let counts = [ClassCount { class: "teddy".into(), train: 3, valid: 0 }];
        let message = check(&counts).unwrap_err().to_string();
        assert!(message.contains("\"teddy\"") && message.contains("collect more images"), "{message}");
    }
}
