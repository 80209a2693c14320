//! Ends what an `ursa up` that was killed left running. The kernel has told those processes to stop already; here is made
//! sure that they are gone before their ports are wanted again. Postgres is seen to by `ursa-postgres`.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::postgres;
use super::process::{Process, boot_id};
use super::record::Record;
use crate::say;

const FAREWELL: [(Signal, Duration); 2] =
    [(Signal::SIGTERM, Duration::from_secs(10)), (Signal::SIGKILL, Duration::from_secs(5))];
const LOOK: Duration = Duration::from_millis(20);

/// Ends every process of an old record that still runs, and removes the record.
pub(super) async fn end(record: &Path) -> anyhow::Result<()> {
    let Some(old) = Record::read(record) else { return Ok(()) };
    let mut left = old.processes;
    left.retain(|process| process.name != postgres::NAME && old.boot_id == boot_id() && process.is_alive());
    if !left.is_empty() {
        let names: Vec<&str> = left.iter().map(|process| process.name.as_str()).collect();
        say(&format!("ending what an `ursa up` that was killed left running: {}", names.join(", ")));
    }
    for (signal, patience) in FAREWELL {
        ask(&left, signal)?;
        wait(&mut left, patience).await;
    }
    if let Some(process) = left.first() {
        bail!("{} (process {}) of an earlier `ursa up` does not end; end it first", process.name, process.pid);
    }
    std::fs::remove_file(record)?;
    Ok(())
}

fn ask(processes: &[Process], signal: Signal) -> anyhow::Result<()> {
    for process in processes {
        if let Err(error) = process.signal(signal) {
            bail!("cannot end {} (process {}) of an earlier `ursa up`: {error}", process.name, process.pid);
        }
    }
    Ok(())
}

async fn wait(processes: &mut Vec<Process>, patience: Duration) {
    let begin = Instant::now();
    loop {
        processes.retain(Process::is_alive);
        if processes.is_empty() || begin.elapsed() > patience {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::commands::up::record::Registry;

    #[tokio::test]
    async fn what_was_left_is_ended_and_a_stranger_under_its_number_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("up.json");
        let mut left = Command::new("sleep").arg("60").spawn().unwrap();
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        let registry = Registry::new(path.clone(), Record::default());
        registry.started("node-1", left.id());
        registry.started("node-2", stranger.id());
        registry.edit(|record| record.processes[1].started_ticks += 1);
        end(&path).await.unwrap();
        assert!(!left.wait().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn numbers_of_another_boot_mean_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("up.json");
        let mut process = Command::new("sleep").arg("60").spawn().unwrap();
        let registry = Registry::new(path.clone(), Record::default());
        registry.started("node-1", process.id());
        registry.edit(|record| record.boot_id = "another".into());
        end(&path).await.unwrap();
        assert!(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
    }
}
