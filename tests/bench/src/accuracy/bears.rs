//! What is learned from: bears as the demo's web draws them.

use ursa_demo_web::{Class, Picture};
use ursa_learner::{Dataset, Examples, LearnError};
use ursa_vision::{Preprocessing, Rgb};

/// Seeds the drawings.
const SEED: u64 = 7;

/// Prepared pictures of both sides, the classes taking turns.
pub(crate) struct Bears {
    size: u32,
    train: Vec<u8>,
    valid: Vec<u8>,
}

impl Bears {
    /// So many of each class.
    pub(crate) fn draw(size: u32, train: u32, valid: u32) -> Self {
        let preprocessing = Preprocessing::imagenet(size);
        let drawn = |numbers: std::ops::Range<u32>| {
            let pictures = numbers.flat_map(|number| Class::ALL.map(|class| Picture::draw(class, SEED, number.into())));
            let rgb = |Picture { width, height, pixels }| Rgb { width, height, data: pixels };
            pictures.flat_map(|picture| preprocessing.prepare_pixels(&rgb(picture))).collect()
        };
        Self { size, train: drawn(0..train), valid: drawn(train..train + valid) }
    }

    pub(crate) fn dataset(&self) -> Result<Dataset, LearnError> {
        let examples = |pixels: &[u8]| {
            let count = (pixels.len() / (self.size * self.size * 3) as usize) as u32;
            let labels = (0..count).map(|index| index % Class::ALL.len() as u32).collect();
            Examples::new(self.size, pixels, labels, (0..u128::from(count)).collect())
        };
        let classes = Class::ALL.iter().map(ToString::to_string).collect();
        Ok(Dataset { classes, train: examples(&self.train)?, valid: examples(&self.valid)? })
    }
}
