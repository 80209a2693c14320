//! Prepared pictures of a snapshot as one file on this machine, mapped by every run that learns from it, or from a share of it,
//! at that size.
//!
//! A file gets its name when it is whole, and its name holds the checksum of what is in it: one that was damaged since is found
//! when a run opens it, and made anew. It may be deleted at any time; runs that have it mapped keep it.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::hash::Hasher as _;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::posix_fallocate;
use twox_hash::XxHash3_64;

use crate::snapshot::Wanted;

/// All files together may have this many bytes; those that were not used for longest go first.
const MAX_BYTES: u64 = 20 << 30;
/// To be raised whenever pictures are prepared differently.
const FORMAT: u32 = 2;
const SUFFIX: &str = "rgb";
/// What the suffix of a file begins with that is not whole yet; the process follows.
const DRAFT: &str = "part-";
const DRAFTS_STAY: Duration = Duration::from_hours(24);
/// Read at a time for a checksum.
const CHUNK: usize = 1 << 20;

/// Where the pictures of one snapshot at one size are or will be.
#[derive(Debug, Clone)]
pub(crate) struct PixelCache {
    folder: PathBuf,
    /// What a file's name begins with; its checksum follows.
    name: String,
}

impl PixelCache {
    /// For the snapshot and the image size that are wanted: pixels depend on nothing else, since normalisation comes after.
    pub(crate) fn of(wanted: &Wanted<'_>) -> Self {
        let (digest, size) = (wanted.snapshot, wanted.preprocessing.size);
        Self { folder: Path::new(wanted.cache_dir).join("pixels"), name: format!("{digest}-{size}-{FORMAT}") }
    }

    /// The right to look for the file and to make it, which one run has at a time; `None` while another has it.
    pub(crate) fn turn(&self) -> io::Result<Option<Turn>> {
        std::fs::create_dir_all(&self.folder)?;
        let lock = File::options().write(true).create(true).truncate(false).open(self.lock())?;
        match lock.try_lock() {
            Ok(()) => {
                let turn = Turn(lock);
                turn.tell(0);
                Ok(Some(turn))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// How many pictures the run has prepared whose turn it is, or was last.
    pub(crate) fn prepared(&self) -> u64 {
        let told = std::fs::read(self.lock()).unwrap_or_default();
        <[u8; 8]>::try_from(told).map_or(0, u64::from_le_bytes)
    }

    fn lock(&self) -> PathBuf {
        self.folder.join(format!("{}.lock", self.name))
    }

    /// The file, if it is there, has `bytes` bytes and is what it was when it was made; one that is not is deleted. Finding it
    /// keeps it for longer.
    pub(crate) fn find(&self, bytes: u64) -> Option<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).ok()?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.filter(|path| self.checksum_in(path).is_some()).find(|path| {
            let sound = self.is_sound(path, bytes);
            match &sound {
                Ok(true) => {}
                Ok(false) => tracing::warn!(path = %path.display(), "these pictures were damaged on disk: made anew"),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "these pictures cannot be read: made anew");
                }
            }
            if !matches!(sound, Ok(true)) {
                // Somebody else may have deleted it already.
                let _ = std::fs::remove_file(path);
            }
            matches!(sound, Ok(true))
        })
    }

    /// What the name of a file of these pictures says of its bytes.
    fn checksum_in(&self, path: &Path) -> Option<u64> {
        let name = path.file_name()?.to_str()?.strip_prefix(&self.name)?.strip_prefix('-')?;
        u64::from_str_radix(name.strip_suffix(SUFFIX)?.strip_suffix('.')?, 16).ok()
    }

    fn is_sound(&self, path: &Path, bytes: u64) -> io::Result<bool> {
        let file = File::options().read(true).write(true).open(path)?;
        if file.metadata()?.len() != bytes || Some(checksum(&file)?) != self.checksum_in(path) {
            return Ok(false);
        }
        // Where that fails the file only seems older than it is.
        let _ = file.set_modified(SystemTime::now());
        Ok(true)
    }

    /// Begins a file of `bytes` bytes, all of which are reserved, after older files have made room. Only for who has the turn:
    /// nobody else makes the same file, so its other drafts are of runs that were killed.
    pub(crate) fn begin(&self, bytes: u64) -> io::Result<Draft> {
        std::fs::create_dir_all(&self.folder)?;
        self.delete_drafts()?;
        make_room(&self.folder, MAX_BYTES.saturating_sub(bytes))?;
        let path = self.folder.join(format!("{}.{DRAFT}{}", self.name, std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        let draft = Draft { file, path, destination: self.folder.join(&self.name) };
        posix_fallocate(&draft.file, 0, bytes as i64)?;
        Ok(draft)
    }

    fn delete_drafts(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let of_these = path.file_stem().is_some_and(|stem| stem == self.name.as_str());
            if of_these && is_draft(&path) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// A run's turn at a file. It ends when the value is dropped, or the process ends.
#[derive(Debug)]
pub(crate) struct Turn(File);

impl Turn {
    /// Lets those who wait know how many pictures are prepared.
    pub(crate) fn tell(&self, prepared: u64) {
        // Where that fails they only know less.
        let _ = self.0.write_all_at(&prepared.to_le_bytes(), 0);
    }
}

/// Of all bytes of a file, whose pages are then in memory for whoever reads them next. From there it takes a third of a second
/// per GiB.
fn checksum(file: &File) -> io::Result<u64> {
    let (mut hasher, mut chunk, mut place) = (XxHash3_64::new(), vec![0; CHUNK], 0);
    loop {
        match file.read_at(&mut chunk, place)? {
            0 => return Ok(hasher.finish()),
            count => {
                hasher.write(&chunk[..count]);
                place += count as u64;
            }
        }
    }
}

/// A file that is not whole yet; dropped before it is, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    path: PathBuf,
    /// Its later place, but for the checksum.
    destination: PathBuf,
}

impl Draft {
    /// Writes a part; parts may come in any order, from several threads.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Gives the file its name.
    pub(crate) fn finish(self) -> io::Result<PathBuf> {
        let checksum = checksum(&self.file)?;
        self.file.sync_data()?;
        let destination = PathBuf::from(format!("{}-{checksum:016x}.{SUFFIX}", self.destination.display()));
        std::fs::rename(&self.path, &destination)?;
        Ok(destination)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `finish` it is gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn is_draft(path: &Path) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|extension| extension.starts_with(DRAFT))
}

/// Deletes the files that were not used for longest until at most `bytes` are left. Drafts of other pictures count, and are let
/// be for a day: somebody may be at work on them.
fn make_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let (mut total, mut files) = (0, Vec::new());
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // One that another run deletes at the same time is one less.
        let Ok(metadata) = entry.metadata() else { continue };
        let (age, path) = (metadata.modified()?.elapsed().unwrap_or_default(), entry.path());
        let is_whole = path.extension().is_some_and(|extension| extension == SUFFIX);
        if is_whole || is_draft(&path) {
            total += metadata.len();
            if is_whole || age > DRAFTS_STAY {
                files.push((age, metadata.len(), path));
            }
        }
    }
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
    use super::*;

    fn cache(folder: &Path, name: &str) -> PixelCache {
        PixelCache { folder: folder.to_owned(), name: name.to_owned() }
    }

    fn fill(cache: &PixelCache, bytes: &[u8]) -> PathBuf {
        let draft = cache.begin(bytes.len() as u64).unwrap();
        draft.write(1, &bytes[1..]).unwrap();
        draft.write(0, &bytes[..1]).unwrap();
        draft.finish().unwrap()
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
        let path = fill(&cache, b"abcd");
        assert_eq!(cache.find(4), Some(path));
        assert_eq!(PixelCache { name: "b".into(), ..cache }.find(4), None, "of other pictures");
    }

    #[test]
    fn one_run_at_a_time_has_its_turn_at_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), "a");
        let turn = cache.turn().unwrap();
        assert!(turn.is_some() && cache.turn().unwrap().is_none());
        let other = PixelCache { name: "b".into(), ..cache.clone() };
        assert!(other.turn().unwrap().is_some(), "of other pictures");
        drop(turn);
        assert!(cache.turn().unwrap().is_some());
        assert_eq!(cache.prepared(), 0);
        let turn = cache.turn().unwrap().unwrap();
        turn.tell(70_000);
        assert!(cache.turn().unwrap().is_none());
        assert_eq!(cache.prepared(), 70_000, "whoever looks changes nothing");
        drop(turn);
        let _turn = cache.turn().unwrap();
        assert_eq!(cache.prepared(), 0, "the next one begins anew");
        let nowhere = PixelCache { folder: "/dev/null".into(), ..cache };
        assert!(nowhere.turn().is_err());
    }

    #[test]
    fn a_file_that_was_damaged_cut_or_grew_is_not_found_and_makes_way() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), "a");
        let bytes: Vec<u8> = (0..3 * CHUNK + 7).map(|place| (place % 251) as u8).collect();
        let length = bytes.len() as u64;
        for damage in [
            |file: &File| file.write_all_at(&[7], 2 * CHUNK as u64 + 3),
            |file: &File| file.set_len(CHUNK as u64),
            |file: &File| file.set_len(4 * CHUNK as u64),
        ] {
            let path = fill(&cache, &bytes);
            assert_eq!(cache.find(length).as_ref(), Some(&path));
            damage(&File::options().write(true).open(&path).unwrap()).unwrap();
            assert_eq!(cache.find(length), None);
            assert!(!path.exists());
        }
        assert_eq!(cache.find(length - 1), None);
    }

    #[test]
    fn drafts_of_runs_that_were_killed_go_at_once_and_those_of_others_count() {
        let folder = tempfile::tempdir().unwrap();
        let drafts = ["a.part-1", "a-b.part-1"].map(|name| folder.path().join(name));
        for draft in &drafts {
            std::fs::write(draft, b"abcdef").unwrap();
        }
        let file = fill(&cache(folder.path(), "a"), b"abcd");
        assert_eq!(drafts.each_ref().map(|draft| draft.exists()), [false, true]);
        make_room(folder.path(), 10).unwrap();
        assert!(file.exists(), "6 and 4 bytes");
        make_room(folder.path(), 9).unwrap();
        assert!(!file.exists() && drafts[1].exists(), "somebody may be at work on it");
        let old = File::options().write(true).open(&drafts[1]).unwrap();
        old.set_modified(SystemTime::now() - Duration::from_hours(25)).unwrap();
        make_room(folder.path(), 5).unwrap();
        assert!(!drafts[1].exists());
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let caches = ["a", "b", "c"].map(|name| cache(folder.path(), name));
        let mut paths = Vec::new();
        for (hours, cache) in (1..).zip(&caches) {
            paths.push(fill(cache, b"abcd"));
            let file = File::options().write(true).open(&paths[paths.len() - 1]).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_hours(hours)).unwrap();
        }
        assert!(caches[2].find(4).is_some(), "finding it makes it young");
        make_room(folder.path(), 8).unwrap();
        assert_eq!(paths.iter().map(|path| path.exists()).collect::<Vec<_>>(), [true, false, true]);
    }
}
