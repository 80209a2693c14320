//! Child processes: what each of them needs that is started and watched here, an end with its parent and a log that can
//! be quoted.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};

/// A log that has grown beyond this is put aside when it is next opened.
const MAX_LOG_BYTES: u64 = 16 << 20;
/// How much of a log's end is looked at for quoting.
const TAIL_BYTES: u64 = 16 << 10;

/// Makes the kernel send `signal` to the child when the thread that spawned it ends, however it ends.
///
/// Spawn from a thread that lives as long as the child shall. The child must be spawned by the process that called this.
#[expect(unsafe_code, reason = "only between fork and exec can a child ask for the signal without a gap")]
pub fn end_with_parent(command: &mut Command, signal: Signal) {
    let parent = getpid();
    let ask = move || {
        // The standard library has changed the user by now; a later change would cancel the wish.
        set_pdeathsig(signal)?;
        // Who has lost its parent before it could ask would never hear of it.
        if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: system calls only; nothing is allocated and no lock is taken between fork and exec.
    unsafe { command.pre_exec(ask) };
}

/// A file that a child appends to.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
    /// Where the present child's lines begin.
    begin: u64,
}

impl Log {
    /// The log at `path`; nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), begin: 0 }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it for the next child; what is quoted from now on begins here.
    pub fn open(&mut self) -> std::io::Result<File> {
        if std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
            std::fs::rename(&self.path, self.path.with_extension("log.old"))?;
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        self.begin = file.metadata()?.len();
        Ok(file)
    }

    /// The last `lines` lines of the present child, indented for quoting.
    pub fn tail(&self, lines: usize) -> String {
        let text = self.end().unwrap_or_default();
        let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        if all.is_empty() {
            return "  (nothing)".to_owned();
        }
        let last = &all[all.len().saturating_sub(lines)..];
        last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    fn end(&self) -> std::io::Result<String> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.begin.max(length.saturating_sub(TAIL_BYTES)).min(length)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_tail_holds_the_last_lines_of_the_present_child_only() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path().join("x.log"));
        assert_eq!(log.tail(2), "  (nothing)");
        writeln!(log.open().unwrap(), "an old line").unwrap();
        let mut file = log.open().unwrap();
        assert_eq!(log.tail(2), "  (nothing)");
        write!(file, "one\n\ntwo\nthree\n").unwrap();
        assert_eq!(log.tail(2), "  two\n  three");
        assert_eq!(log.tail(9), "  one\n  two\n  three");
    }

    #[test]
    fn a_log_that_has_grown_too_large_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path().join("x.log"));
        log.open().unwrap().set_len(MAX_LOG_BYTES + 1).unwrap();
        let file = log.open().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        assert!(folder.path().join("x.log.old").exists());
    }
}
