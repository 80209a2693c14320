//! Prepared pictures in memory, and the order in which they are learned.
//!
//! Pictures are kept as bytes (`size`·`size`·3 each), a quarter of what the network's numbers would take.

pub(crate) mod loader;
pub(crate) mod sampler;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};
use ursa_domain::recipe::Balance;

use crate::LearnError;

/// The pictures of one side of the split. Pictures, labels, ids and keys correspond by position.
#[derive(Debug)]
pub struct Examples {
    /// u8 `[m, size, size, 3]`: these pictures, and perhaps others.
    pixels: Tensor,
    /// Where in there each of these lies.
    places: Arc<[i64]>,
    labels: Arc<[u32]>,
    ids: Arc<[u128]>,
    /// Of what is drawn for each.
    keys: Arc<[u128]>,
}

/// Pictures to learn from at once.
#[derive(Debug)]
pub(crate) struct Batch {
    /// u8 `[n, size, size, 3]`.
    pub images: Tensor,
    /// i64 `[n]`.
    pub labels: Tensor,
    /// Of what is drawn for each.
    pub keys: Vec<u128>,
}

impl Examples {
    /// Puts `pixels` (pictures of `size`×`size`×3 bytes, one after another) beside their class indices and image ids.
    pub fn new(size: u32, pixels: &[u8], labels: Vec<u32>, ids: Vec<u128>) -> Result<Self, LearnError> {
        let expected = labels.len() * size as usize * size as usize * 3;
        if pixels.len() != expected || ids.len() != labels.len() {
            let reason = format!("{} bytes of pixels for {} labels and {} ids", pixels.len(), labels.len(), ids.len());
            return Err(LearnError::UnusableData(reason));
        }
        let pixels = Tensor::from_slice(pixels).view([labels.len() as i64, i64::from(size), i64::from(size), 3]);
        let places = (0..labels.len() as i64).collect();
        let ids: Arc<[u128]> = ids.into();
        Ok(Self { pixels, places, labels: labels.into(), keys: ids.clone(), ids })
    }

    /// Both sides of a split from one file of `size`×`size`×3 bytes per picture, first those of `train`, then those of `valid`
    /// (labels and ids of each). The file is mapped, not read: it must stay as it is, but may lose its name.
    pub fn map(file: &Path, size: u32, [train, valid]: [(Vec<u32>, Vec<u128>); 2]) -> Result<[Self; 2], LearnError> {
        let unusable = |reason: String| LearnError::UnusableData(format!("{}: {reason}", file.display()));
        let (pixels_wide, first_valid) = (i64::from(size), train.0.len() as i64);
        let count = first_valid + valid.0.len() as i64;
        let bytes = count * pixels_wide * pixels_wide * 3;
        let found = file.metadata().map_err(|error| unusable(error.to_string()))?.len();
        if found != bytes as u64 || train.0.len() != train.1.len() || valid.0.len() != valid.1.len() {
            return Err(unusable(format!("it has {found} bytes, {count} pictures need {bytes}")));
        }
        let name = file.to_str().ok_or_else(|| unusable("its name is no text".into()))?;
        let mapped = Tensor::f_from_file(name, false, bytes, (Kind::Uint8, Device::Cpu));
        let pixels = mapped.map_err(|error| unusable(error.to_string()))?.view([count, pixels_wide, pixels_wide, 3]);
        let part = |places: Range<i64>, (labels, ids): (Vec<u32>, Vec<u128>)| {
            let ids: Arc<[u128]> = ids.into();
            let keys = ids.clone();
            Self { pixels: pixels.shallow_clone(), places: places.collect(), labels: labels.into(), ids, keys }
        };
        Ok([part(0..first_valid, train), part(first_valid..count, valid)])
    }

    /// The same, but what chance does to each picture derives from the seed and its key, not its id. A key that is that of the
    /// content makes a run the same wherever and whenever the pictures were collected.
    pub fn with_keys(self, keys: Vec<u128>) -> Result<Self, LearnError> {
        if keys.len() != self.len() {
            return Err(LearnError::UnusableData(format!("{} keys for {} pictures", keys.len(), self.len())));
        }
        Ok(Self { keys: keys.into(), ..self })
    }

    /// The same pictures for another thread.
    fn share(&self) -> Self {
        Self {
            pixels: self.pixels.shallow_clone(),
            places: self.places.clone(),
            labels: self.labels.clone(),
            ids: self.ids.clone(),
            keys: self.keys.clone(),
        }
    }

    /// Those at `indices`, in that order; their pixels stay where they are.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        Self {
            pixels: self.pixels.shallow_clone(),
            places: indices.iter().map(|&index| self.places[index]).collect(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            ids: indices.iter().map(|&index| self.ids[index]).collect(),
            keys: indices.iter().map(|&index| self.keys[index]).collect(),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Class index of each.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Id of each.
    pub fn ids(&self) -> &[u128] {
        &self.ids
    }

    /// Side of the pictures, in pixels.
    pub fn size(&self) -> u32 {
        self.pixels.size()[1] as u32
    }

    /// How many there are of each of `classes` classes.
    pub fn counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        self.labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    }

    /// The pictures of that range, u8 `[n, size, size, 3]`.
    pub(crate) fn pictures(&self, range: Range<usize>) -> Tensor {
        self.pixels.index_select(0, &Tensor::from_slice(&self.places[range]))
    }

    /// The pictures, labels and keys at `indices`.
    pub(crate) fn batch(&self, indices: &[usize]) -> Batch {
        let places: Vec<i64> = indices.iter().map(|&index| self.places[index]).collect();
        let labels: Vec<i64> = indices.iter().map(|&index| i64::from(self.labels[index])).collect();
        let keys = indices.iter().map(|&index| self.keys[index]).collect();
        let images = self.pixels.index_select(0, &Tensor::from_slice(&places));
        Batch { images, labels: Tensor::from_slice(&labels), keys }
    }
}

/// Both sides of the split and the classes.
#[derive(Debug)]
pub struct Dataset {
    /// In the order of the labels.
    pub classes: Vec<String>,
    /// What is learned from.
    pub train: Examples,
    /// What is measured on.
    pub valid: Examples,
}

impl Dataset {
    /// What each class's pictures count in the loss: the mean over all pictures is 1.
    pub(crate) fn weights(&self, balance: Balance) -> Vec<f32> {
        let counts = self.train.counts(self.classes.len());
        let weight = |&count: &usize| match balance {
            Balance::ClassWeights => self.train.len() as f32 / (counts.len() * count.max(1)) as f32,
            Balance::None | Balance::Oversample => 1.0,
        };
        counts.iter().map(weight).collect()
    }

    /// Refuses data that no classifier can be learned from or measured on, saying what is lacking.
    pub fn check(&self) -> Result<(), LearnError> {
        let refuse = |reason: String| Err(LearnError::UnusableData(reason));
        if self.classes.len() < 2 {
            return refuse(format!("there must be two classes or more, there are {:?}", self.classes));
        }
        for (side, examples) in [("training", &self.train), ("validation", &self.valid)] {
            if examples.labels.iter().any(|&label| label as usize >= self.classes.len()) {
                return refuse(format!("a label on the {side} side names none of the {} classes", self.classes.len()));
            }
            let absent = |index: &usize| !examples.labels.contains(&(*index as u32));
            if let Some(index) = (0..self.classes.len()).find(absent) {
                let class = &self.classes[index];
                return refuse(format!("class {class:?} has no picture on the {side} side; collect more of it"));
            }
        }
        let (train, valid) = (self.train.size(), self.valid.size());
        if train != valid {
            return refuse(format!("training pictures have {train} pixels a side, validation pictures {valid}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(labels: &[u32]) -> Examples {
        let pixels = vec![0; labels.len() * 4 * 3];
        Examples::new(2, &pixels, labels.to_vec(), vec![0; labels.len()]).unwrap()
    }

    #[test]
    fn one_class_or_a_class_missing_on_a_side_is_refused_by_name() {
        let refused = |classes: &[&str], train: &[u32], valid: &[u32]| {
            let classes = classes.iter().map(ToString::to_string).collect();
            Dataset { classes, train: examples(train), valid: examples(valid) }.check().unwrap_err().to_string()
        };
        assert!(refused(&["teddy"], &[0, 0], &[0]).contains("two classes"));
        assert!(refused(&["teddy", "black"], &[0, 1], &[0]).contains("\"black\" has no picture on the validation"));
        assert!(refused(&["teddy", "black"], &[1, 1], &[0, 1]).contains("\"teddy\" has no picture on the training"));
        assert!(refused(&["teddy", "black"], &[0, 1, 2], &[0, 1]).contains("names none"));
    }

    #[test]
    fn rare_classes_weigh_more_and_pictures_one_on_average() {
        let classes = vec!["teddy".into(), "black".into()];
        let data = Dataset { classes, train: examples(&[0, 0, 0, 1]), valid: examples(&[0, 1]) };
        assert_eq!(data.weights(Balance::None), [1.0, 1.0]);
        let weights = data.weights(Balance::ClassWeights);
        assert!((weights[0] - 2.0 / 3.0).abs() < 1e-6 && (weights[1] - 2.0).abs() < 1e-6, "{weights:?}");
    }

    #[test]
    fn a_mapped_file_is_what_it_would_be_in_memory() {
        let file = std::env::temp_dir().join(format!("ursa-learner-map-{}", std::process::id()));
        let pixels: Vec<u8> = (0..36).collect();
        std::fs::write(&file, &pixels).unwrap();
        let sides = || [(vec![0, 1], vec![10, 11]), (vec![1], vec![12])];
        let [train, valid] = Examples::map(&file, 2, sides()).unwrap();
        let short = Examples::map(&file, 3, sides()).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(short.contains("36 bytes"), "{short}");
        assert!(Examples::map(&file, 2, sides()).is_err());
        let in_memory = Examples::new(2, &pixels, vec![0; 3], vec![0; 3]).unwrap();
        assert_eq!(train.pictures(0..2), in_memory.pictures(0..2));
        assert_eq!(valid.pictures(0..1), in_memory.pictures(2..3));
        assert_eq!((valid.labels(), valid.ids()), (&[1][..], &[12][..]));
    }

    #[test]
    fn a_part_of_the_pictures_is_what_it_would_be_alone() {
        let pixels: Vec<u8> = (0..48).collect();
        let all = Examples::new(2, &pixels, vec![0, 1, 2, 3], vec![10, 11, 12, 13]).unwrap();
        let all = all.with_keys(vec![20, 21, 22, 23]).unwrap();
        let part = all.subset(&[3, 1]);
        let alone = [&pixels[36..], &pixels[12..24]].concat();
        let alone = Examples::new(2, &alone, vec![3, 1], vec![13, 11]).unwrap();
        assert_eq!((part.len(), part.labels(), part.ids()), (2, alone.labels(), alone.ids()));
        assert_eq!(part.pictures(0..2), alone.pictures(0..2));
        assert_eq!(part.batch(&[1, 0]).images, alone.batch(&[1, 0]).images);
        assert_eq!((part.batch(&[1, 0]).keys, alone.batch(&[1, 0]).keys), (vec![21, 23], vec![11, 13]));
        assert_eq!(part.subset(&[1]).pictures(0..1), all.pictures(1..2), "of a part, too");
    }

    #[test]
    fn pixels_that_do_not_fit_the_labels_are_refused() {
        assert!(Examples::new(2, &[0; 13], vec![0], vec![0]).is_err());
        assert!(examples(&[0, 1]).with_keys(vec![7]).is_err());
    }
}
