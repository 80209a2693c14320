//! Prepared pictures of a snapshot as one file on this machine, mapped by every run that learns from it at that size.
//!
//! A file gets its name when it is whole: one that has it can be believed. It may be deleted at any time; runs that have it
//! mapped keep it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::posix_fallocate;
use ursa_domain::run::RunOrder;

/// All files together may have this many bytes; those that were not used for longest go first.
const MAX_BYTES: u64 = 20 << 30;
/// To be raised whenever pictures are prepared differently.
const FORMAT: u32 = 1;
const SUFFIX: &str = "rgb";

/// Where the pictures of one snapshot at one size are or will be.
#[derive(Debug, Clone)]
pub(crate) struct PixelCache {
    path: PathBuf,
}

impl PixelCache {
    /// For the snapshot, the share of it and the image size of `order`.
    pub(crate) fn of(order: &RunOrder) -> Self {
        let (digest, size, percent) = (&order.snapshot.digest, order.recipe.image_size, order.train_percent);
        Self {
            path: Path::new(&order.cache_dir)
                .join("pixels")
                .join(format!("{digest}-{percent}-{size}-{FORMAT}.{SUFFIX}")),
        }
    }

    /// The file, if it is there and has `bytes` bytes. Finding it keeps it for longer.
    pub(crate) fn find(&self, bytes: u64) -> Option<&Path> {
        let file = File::options().write(true).open(&self.path).ok()?;
        let whole = file.metadata().is_ok_and(|found| found.len() == bytes);
        // Where that fails the file only seems older than it is.
        let _ = file.set_modified(SystemTime::now());
        whole.then_some(self.path.as_path())
    }

    /// Begins a file of `bytes` bytes, all of which are reserved, after older files have made room.
    pub(crate) fn begin(&self, bytes: u64) -> io::Result<Draft> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        make_room(folder, MAX_BYTES.saturating_sub(bytes))?;
        let path = self.path.with_extension(format!("part-{}", std::process::id()));
        let draft = Draft { file: File::create(&path)?, path, destination: self.path.clone() };
        posix_fallocate(&draft.file, 0, bytes as i64)?;
        Ok(draft)
    }
}

/// A file that is not whole yet; dropped before it is, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    path: PathBuf,
    destination: PathBuf,
}

impl Draft {
    /// Writes a part; parts may come in any order, from several threads.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Gives the file its name.
    pub(crate) fn finish(self) -> io::Result<PathBuf> {
        self.file.sync_data()?;
        std::fs::rename(&self.path, &self.destination)?;
        Ok(self.destination.clone())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `finish` it is gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Deletes the files that were not used for longest until at most `bytes` are left. Drafts of other runs are let be for a day.
fn make_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // One that another run deletes at the same time is one less.
        let Ok(metadata) = entry.metadata() else { continue };
        let age = metadata.modified()?.elapsed().unwrap_or_default();
        let draft = entry.path().extension().is_none_or(|extension| extension != SUFFIX);
        if !draft || age.as_secs() > 24 * 60 * 60 {
            files.push((age, metadata.len(), entry.path()));
        }
    }
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    files.sort();
    while total > bytes
        && let Some((_, length, path)) = files.pop()
    {
        let _ = std::fs::remove_file(path);
        total -= length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cache(folder: &Path, name: &str) -> PixelCache {
        PixelCache { path: folder.join(format!("{name}.{SUFFIX}")) }
    }

    fn fill(cache: &PixelCache, bytes: &[u8]) {
        let draft = cache.begin(bytes.len() as u64).unwrap();
        draft.write(1, &bytes[1..]).unwrap();
        draft.write(0, &bytes[..1]).unwrap();
        draft.finish().unwrap();
    }

    #[test]
    fn a_file_is_found_when_it_is_whole_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), "a");
        let draft = cache.begin(4).unwrap();
        draft.write(0, b"ab").unwrap();
        assert_eq!(cache.find(4), None);
        drop(draft);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        fill(&cache, b"abcd");
        assert_eq!(std::fs::read(cache.find(4).unwrap()).unwrap(), b"abcd");
        assert_eq!(cache.find(5), None);
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let caches = ["a", "b", "c"].map(|name| cache(folder.path(), name));
        for (hours, cache) in (1..).zip(&caches) {
            fill(cache, b"abcd");
            let file = File::options().write(true).open(&cache.path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_hours(hours)).unwrap();
        }
        assert!(caches[2].find(4).is_some(), "finding it makes it young");
        make_room(folder.path(), 8).unwrap();
        assert_eq!(caches.map(|cache| cache.path.exists()), [true, false, true]);
    }
}
