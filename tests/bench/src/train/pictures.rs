//! What is trained on: prepared pictures in a file, as the trainer keeps them and both sides map it.

use std::io::Write as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// Classes that the network tells apart.
pub(crate) const CLASSES: u32 = 3;

/// A file of u8 pictures `[count, size, size, 3]`: those of one epoch, then one of each class to validate on.
pub(crate) struct Pictures {
    file: NamedTempFile,
    pub(crate) size: u32,
    pub(crate) batch_size: u32,
    /// Batches in an epoch.
    pub(crate) batches: u32,
}

impl Pictures {
    pub(crate) fn draw(size: u32, batch_size: u32, batches: u32) -> anyhow::Result<Self> {
        let pictures = Self { file: NamedTempFile::new()?, size, batch_size, batches };
        pictures.file.as_file().write_all(&pictures.pixels(pictures.train() + CLASSES))?;
        Ok(pictures)
    }

    /// Pictures in an epoch.
    pub(crate) fn train(&self) -> u32 {
        self.batch_size * self.batches
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// `count` pictures in memory. What they show does not matter to the speed.
    pub(crate) fn pixels(&self, count: u32) -> Vec<u8> {
        let bytes = (count * self.size * self.size * 3) as usize;
        (0..bytes).map(|index| (index.wrapping_mul(7919) >> 3) as u8).collect()
    }

    /// Labels and ids of `count` pictures.
    pub(crate) fn names(count: u32) -> (Vec<u32>, Vec<u128>) {
        ((0..count).map(|index| index % CLASSES).collect(), (0..u128::from(count)).collect())
    }
}
