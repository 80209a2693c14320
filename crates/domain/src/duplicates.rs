//! Which images show the same picture.
//!
//! Exact duplicates share the hash of their pixels. Near duplicates (another size, another compression) are found by
//! their 64-bit difference hash: a Hamming distance up to [`NEAR_DISTANCE`]. Groups are the connected components.

use std::collections::HashMap;

/// Largest Hamming distance between the difference hashes of near duplicates.
pub const NEAR_DISTANCE: u32 = 3;

/// What is known of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// SHA-256 of the decoded pixels, hex.
    pub pixel_sha256: String,
    /// Difference hash.
    pub perceptual_hash: u64,
}

/// The content id of each image's duplicate group, in the order given: the smallest pixel hash of the group, so that it
/// does not depend on the order of the images.
///
/// Buckets of 16 bits find the candidates: two hashes at distance 3 or less agree in at least one of four buckets.
pub fn content_ids(images: &[Fingerprint]) -> Vec<String> {
    let mut groups = DisjointSets::new(images.len());
    let mut by_pixels: HashMap<&str, usize> = HashMap::new();
    let mut buckets: HashMap<(u32, u16), Vec<usize>> = HashMap::new();
    for (index, image) in images.iter().enumerate() {
        if let Some(&twin) = by_pixels.get(image.pixel_sha256.as_str()) {
            groups.join(index, twin);
            continue;
        }
        by_pixels.insert(&image.pixel_sha256, index);
        for band in 0..4 {
            let bucket = buckets.entry((band, (image.perceptual_hash >> (16 * band)) as u16)).or_default();
            for &other in bucket.iter() {
                if is_near(image, &images[other]) {
                    groups.join(index, other);
                }
            }
            bucket.push(index);
        }
    }
    groups.smallest(images)
}

fn is_near(one: &Fingerprint, other: &Fingerprint) -> bool {
    (one.perceptual_hash ^ other.perceptual_hash).count_ones() <= NEAR_DISTANCE
}

struct DisjointSets(Vec<usize>);

impl DisjointSets {
    fn new(len: usize) -> Self {
        Self((0..len).collect())
    }

    fn root(&mut self, mut index: usize) -> usize {
        while self.0[index] != index {
            self.0[index] = self.0[self.0[index]];
            index = self.0[index];
        }
        index
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other)] = one.min(other);
    }

    fn smallest(mut self, images: &[Fingerprint]) -> Vec<String> {
        let mut smallest: HashMap<usize, &str> = HashMap::new();
        for (index, image) in images.iter().enumerate() {
            let entry = smallest.entry(self.root(index)).or_insert(&image.pixel_sha256);
            *entry = (*entry).min(&image.pixel_sha256);
        }
        (0..images.len()).map(|index| smallest[&self.root(index)].to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(pixels: &str, perceptual_hash: u64) -> Fingerprint {
        Fingerprint { pixel_sha256: pixels.into(), perceptual_hash }
    }

    #[test]
    fn exact_and_near_duplicates_share_a_content_id() {
        let ids = content_ids(&[image("b", 0), image("a", 0b111), image("b", 0), image("c", u64::MAX)]);
        assert_eq!(ids, ["a", "a", "a", "c"]);
    }

    proptest! {
        #[test]
        fn groups_do_not_depend_on_order(hashes in prop::collection::vec(0_u64..64, 1..30)) {
            let images: Vec<_> = hashes.iter().enumerate().map(|(i, h)| image(&format!("{i:03}"), *h)).collect();
            let forward = content_ids(&images);
            let reversed: Vec<_> = images.iter().rev().cloned().collect();
            let mut backward = content_ids(&reversed);
            backward.reverse();
            prop_assert_eq!(forward, backward);
        }

        #[test]
        fn any_two_hashes_within_the_distance_are_grouped(hash: u64, flips in prop::collection::vec(0_u32..64, 0..=3)) {
            let near = flips.iter().fold(hash, |h, bit| h ^ (1 << bit));
            let ids = content_ids(&[image("a", hash), image("b", near)]);
            prop_assert_eq!(&ids[0], &ids[1]);
        }
    }
}
