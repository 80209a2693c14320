//! Signals, and what the kernel says of processes.

use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);

/// What a process is at, in the kernel's letter: `T` is stopped, `Z` is dead; `None` when there is none.
pub fn state(pid: u32) -> Option<char> {
    stat(pid)?.0
}

/// The processes that one has started, and that run.
pub fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let all = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(|pid| stat(*pid).is_some_and(|(state, of)| of == Some(parent) && state != Some('Z'))).collect()
}

/// State and parent, as in `/proc/PID/stat`: `pid (name) state parent …`.
fn stat(pid: u32) -> Option<(Option<char>, Option<u32>)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, tail) = text.rsplit_once(") ")?;
    let mut fields = tail.split(' ');
    Some((fields.next()?.chars().next(), fields.next()?.parse().ok()))
}

/// What a process was started with, besides its program; `None` for one that is dead or not yet laid out by the kernel.
pub fn arguments(pid: u32) -> Option<Vec<String>> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split_terminator('\0').map(str::to_owned);
    words.next()?;
    Some(words.collect())
}

/// Sends a signal.
pub fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    Ok(kill(Pid::from_raw(pid.cast_signed()), signal)?)
}

/// Stops processes, and waits until they stand.
pub async fn freeze(pids: &[u32]) -> anyhow::Result<()> {
    for pid in pids {
        // One of many may have ended meanwhile.
        let _ = signal(*pid, Signal::SIGSTOP);
    }
    until("the processes to stand", || pids.iter().all(|pid| matches!(state(*pid), Some('T') | None))).await
}

/// Lets processes go on.
pub fn thaw(pids: &[u32]) {
    for pid in pids {
        // One of many may have been killed where it stood.
        let _ = signal(*pid, Signal::SIGCONT);
    }
}

/// Waits until a process is gone, or dead at least.
pub async fn gone(pid: u32) -> anyhow::Result<()> {
    until("the process to be gone", || matches!(state(pid), None | Some('Z'))).await
}

async fn until(what: &str, is_so: impl Fn() -> bool) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !is_so() {
        ensure!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_process_stands_goes_on_and_is_gone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        assert!(children(std::process::id()).contains(&pid));
        until("its arguments", || arguments(pid).is_some_and(|all| all == ["60"])).await.unwrap();
        freeze(&[pid]).await.unwrap();
        assert_eq!(state(pid), Some('T'));
        thaw(&[pid]);
        until("it to go on", || state(pid) != Some('T')).await.unwrap();
        signal(pid, Signal::SIGKILL).unwrap();
        gone(pid).await.unwrap();
        child.wait().unwrap();
        assert_eq!(state(pid), None);
    }
}
