//! Who a process is: numbers are used again, so a process is known by its number and when it started.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process of this boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// Which service it is.
    pub(super) name: String,
    /// Its number.
    pub(super) pid: u32,
    /// When it started, in clock ticks since the machine did.
    pub(super) started_ticks: u64,
}

impl Process {
    /// The process that has the number now; `None` when there is none.
    pub(super) fn of(name: &str, pid: u32) -> Option<Self> {
        let (_, started_ticks) = state_and_start(pid)?;
        Some(Self { name: name.to_owned(), pid, started_ticks })
    }

    /// Whether it still runs, as opposed to somebody else under its number, or what is left of it until it is waited for.
    pub(super) fn is_alive(&self) -> bool {
        state_and_start(self.pid)
            .is_some_and(|(state, started)| started == self.started_ticks && !matches!(state, 'Z' | 'X'))
    }

    /// Sends a signal. One that has gone needs none.
    pub(super) fn signal(&self, signal: Signal) -> nix::Result<()> {
        match kill(Pid::from_raw(self.pid.cast_signed()), signal) {
            Err(Errno::ESRCH) => Ok(()),
            outcome => outcome,
        }
    }
}

/// This boot of the machine; another one's numbers mean nothing.
pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn state_and_start(pid: u32) -> Option<(char, u64)> {
    let path = Path::new("/proc").join(pid.to_string()).join("stat");
    parse(&String::from_utf8_lossy(&std::fs::read(path).ok()?))
}

/// Fields 3 and 22 of proc(5)'s `stat`, counted from the program's name, which may hold anything.
fn parse(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 9 9";
        assert_eq!(parse(stat), Some(('S', 12345)));
    }

    #[test]
    fn a_process_is_told_from_the_next_one_under_its_number() {
        let own = Process::of("own", std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(!Process { started_ticks: own.started_ticks + 1, ..own }.is_alive());
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Process::of("child", child.id()).unwrap();
        let begin = std::time::Instant::now();
        while process.is_alive() {
            assert!(begin.elapsed().as_secs() < 10);
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
