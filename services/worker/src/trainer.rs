//! The trainer's process: started in a process group of its own, spoken to in JSON lines, and never left behind.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use ursa_domain::run::{TrainerEvent, TrainerInput};

use crate::error::WorkError;
use crate::lines::Lines;

const LAST_WORDS: Duration = Duration::from_secs(5);
const DESCRIBE: Duration = Duration::from_mins(1);
/// An event may carry a confusion matrix of many classes; in bytes.
const LONGEST_EVENT: usize = 64 << 20;
/// Of its standard error, in bytes.
const LONGEST_LINE: usize = 16 << 10;
/// What is shown of what means nothing, in characters.
const SHOWN: usize = 200;

/// A running trainer; what is left of its process group is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Trainer {
    child: Child,
    group: Option<Pid>,
    input: ChildStdin,
    events: Lines<ChildStdout>,
    /// Passes its standard error on to ours, and ends with the last line of it.
    said: JoinHandle<String>,
}

impl Trainer {
    /// Starts `program` and gives it its order. It sees the GPUs of `gpus` and no others.
    pub(crate) async fn start(program: &Path, order: &TrainerInput, gpus: &[u32]) -> Result<Self, WorkError> {
        let mut child = command(program)
            .envs(visible(gpus))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| WorkError::retryable(format!("cannot start {}: {error}", program.display())))?;
        let group = child.id().map(|id| Pid::from_raw(id.cast_signed()));
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(WorkError::retryable("the trainer was started without its pipes"));
        };
        let events = Lines::new(output, LONGEST_EVENT);
        let mut trainer = Self { child, group, input, events, said: tokio::spawn(pass_on(errors)) };
        match trainer.write(order).await {
            Ok(()) => Ok(trainer),
            // It died at once, and its last words say why.
            Err(_) => Err(WorkError::retryable(trainer.last_words(LAST_WORDS).await)),
        }
    }

    /// What it says next; `None` when it has nothing more to say. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Option<TrainerEvent> {
        loop {
            let line = self.events.next().await?;
            match serde_json::from_str(&line) {
                Ok(event) => return Some(event),
                Err(error) => {
                    let said: String = line.chars().take(SHOWN).collect();
                    tracing::warn!(%error, said, "the trainer said something that means nothing here");
                }
            }
        }
    }

    /// Asks it to end by itself.
    pub(crate) async fn cancel(&mut self) {
        if let Err(error) = self.write(&TrainerInput::Cancel).await {
            tracing::debug!(%error, "the trainer does not listen any more");
        }
    }

    /// Waits for its exit, reading what it still says; `None` when that takes longer than `patience`.
    pub(crate) async fn exit(&mut self, patience: Duration) -> Option<ExitStatus> {
        let ending = async {
            while self.next().await.is_some() {}
            self.child.wait().await
        };
        tokio::time::timeout(patience, ending).await.ok()?.ok()
    }

    /// Why it is gone without a word, as far as can be told.
    pub(crate) async fn last_words(mut self, patience: Duration) -> String {
        let status = self.exit(patience).await;
        self.kill();
        let said = tokio::time::timeout(patience, &mut self.said).await;
        died(status, said.ok().and_then(Result::ok).unwrap_or_default().trim())
    }

    /// Ends what is left of it by force; `false` when that takes longer than `patience`.
    pub(crate) async fn end(mut self, patience: Duration) -> bool {
        self.kill();
        tokio::time::timeout(patience, self.child.wait()).await.is_ok()
    }

    async fn write(&mut self, message: &TrainerInput) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.input.write_all(&line).await.context("the trainer does not take its order")?;
        Ok(self.input.flush().await?)
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // No such group: all of it has ended already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the machine offers for training, in the trainer's own words.
pub(crate) async fn describe(program: &Path) -> anyhow::Result<String> {
    let shown = program.display();
    let asked = command(program).arg("--describe").stdin(Stdio::null()).output();
    let output = tokio::time::timeout(DESCRIBE, asked)
        .await
        .with_context(|| format!("{shown} does not answer"))?
        .with_context(|| format!("{shown} cannot be started"))?;
    if !output.status.success() {
        let (status, said) = (output.status, String::from_utf8_lossy(&output.stderr));
        bail!("{shown} does not work ({status}): {}", said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// In a process group of its own: a Ctrl-C meant for the worker must not reach it, and a kill must reach all of it. A recipe
/// may ask for the same bits each time, which cuBLAS gives only where it has its memory to itself from the beginning.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.process_group(0).kill_on_drop(true).env("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
    command
}

/// Indices are those of the management library, which counts by place on the bus; CUDA counts by speed unless told.
fn visible(gpus: &[u32]) -> [(&'static str, String); 2] {
    let indices: Vec<String> = gpus.iter().map(ToString::to_string).collect();
    [("CUDA_DEVICE_ORDER", "PCI_BUS_ID".to_owned()), ("CUDA_VISIBLE_DEVICES", indices.join(","))]
}

async fn pass_on(errors: ChildStderr) -> String {
    let mut lines = Lines::new(errors, LONGEST_LINE);
    let mut last = String::new();
    while let Some(line) = lines.next().await {
        tracing::info!(target: "trainer", "{line}");
        last = line;
    }
    last
}

/// A run that ended without a word of its own.
fn died(status: Option<ExitStatus>, said: &str) -> String {
    let how = match status {
        Some(status) => match (status.signal(), status.code()) {
            (Some(9), _) => "was killed (signal 9): perhaps this machine ran out of memory".to_owned(),
            (Some(signal), _) => format!("was ended by signal {signal}"),
            (None, code) => format!("exited with code {}", code.unwrap_or_default()),
        },
        None => "closed its output without an end".to_owned(),
    };
    let said = if said.is_empty() { String::new() } else { format!("; it said last: {said}") };
    format!("the trainer {how} before it finished{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_gpus_sees_none() {
        assert_eq!(visible(&[])[1], ("CUDA_VISIBLE_DEVICES", String::new()));
        assert_eq!(visible(&[0, 3])[1].1, "0,3");
    }

    #[test]
    fn a_run_that_was_killed_is_worth_another_try_and_says_what_may_be_the_matter() {
        let message = died(Some(ExitStatus::from_raw(9)), "");
        assert!(message.contains("signal 9") && message.contains("memory"), "{message}");
        assert!(
            died(Some(ExitStatus::from_raw(3 << 8)), "oh no")
                .ends_with("code 3 before it finished; it said last: oh no")
        );
    }
}
