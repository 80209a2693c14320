//! The data folder: what lies where in it, and that one `ursa up` has it at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The server's user walks through; it sees nothing.
const WALKABLE: u32 = 0o711;
const PRIVATE: u32 = 0o700;

/// A data folder that nobody else uses while this value lives.
#[derive(Debug)]
pub(super) struct DataFolder {
    root: PathBuf,
    _lock: Flock<File>,
}

impl DataFolder {
    /// Opens the folder wished for, or the usual one; made if need be.
    pub(super) fn open(wish: Option<&Path>) -> anyhow::Result<Self> {
        let root = match wish {
            Some(folder) => std::path::absolute(folder)?,
            None => usual(std::env::var_os("XDG_DATA_HOME").map(Into::into), std::env::home_dir())?,
        };
        if let Some(parent) = root.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        make(&root, WALKABLE)?;
        let root = root.canonicalize()?;
        if root.to_str().is_none() {
            bail!("{} has a name that is not UTF-8; choose another folder with --data-dir", root.display());
        }
        let lock = lock(&root)?;
        let folder = Self { root, _lock: lock };
        for part in [folder.logs(), folder.cache()] {
            make(&part, PRIVATE)?;
        }
        Ok(folder)
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the private Postgres has its cluster.
    pub(super) fn postgres(&self) -> PathBuf {
        self.root.join("postgres")
    }

    /// Where services log.
    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Where workers keep what can be fetched again.
    pub(super) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// What runs, for programs.
    pub(super) fn record(&self) -> PathBuf {
        self.root.join("up.json")
    }

    /// The object store wished for, or the one in this folder, as services name it.
    pub(super) fn object_store(&self, wish: Option<&str>) -> anyhow::Result<String> {
        match wish {
            Some(location) if location.contains("://") => Ok(location.to_owned()),
            Some(folder) => Ok(std::path::absolute(folder)?.display().to_string()),
            None => {
                let objects = self.root.join("objects");
                make(&objects, PRIVATE)?;
                Ok(objects.display().to_string())
            }
        }
    }
}

/// As the XDG base directory specification has it: what is not absolute is ignored.
fn usual(data_home: Option<PathBuf>, home: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let base = data_home.filter(absolute).or_else(|| Some(home.filter(absolute)?.join(".local/share")));
    Ok(base.context("there is no home folder to keep data in; name a folder with --data-dir")?.join("ursa"))
}

fn make(folder: &Path, mode: u32) -> anyhow::Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        Err(_) if folder.is_dir() => Ok(()),
        outcome => outcome.with_context(|| format!("cannot make the folder {}", folder.display())),
    }
}

fn lock(root: &Path) -> anyhow::Result<Flock<File>> {
    let path = root.join("lock");
    let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let file = open.with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)?;
            write!(lock, "{}", std::process::id())?;
            Ok(lock)
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            bail!(
                "another `ursa up` (process {holder}) runs on {}; stop it with Ctrl-C or `kill {holder}`, \
                 or choose another folder with --data-dir",
                root.display()
            )
        }
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_folder_follows_the_xdg_specification() {
        let home = || Some(PathBuf::from("/home/a"));
        assert_eq!(usual(None, home()).unwrap(), Path::new("/home/a/.local/share/ursa"));
        assert_eq!(usual(Some("/data".into()), home()).unwrap(), Path::new("/data/ursa"));
        assert_eq!(usual(Some("data".into()), home()).unwrap(), Path::new("/home/a/.local/share/ursa"));
        assert!(usual(None, None).unwrap_err().to_string().contains("--data-dir"));
    }

    #[test]
    fn a_folder_is_had_by_one_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("a/data");
        let first = DataFolder::open(Some(&root)).unwrap();
        let refused = DataFolder::open(Some(&root)).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        DataFolder::open(Some(&root)).unwrap();
    }

    #[test]
    fn an_object_store_is_a_location_or_a_folder() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataFolder::open(Some(parent.path())).unwrap();
        assert_eq!(data.object_store(Some("s3://b/p")).unwrap(), "s3://b/p");
        assert!(data.object_store(Some("objects")).unwrap().starts_with('/'));
        assert!(data.object_store(None).unwrap().ends_with("/objects"));
    }
}
