//! PyTorch, in a process of its own, which waits for its turns.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use ursa_learner::{Device, libtorch_version, usable_cores};

use crate::case::Case;
use crate::device;
use crate::pictures::{CLASSES, Pictures};

const SCRIPT: &str = include_str!("peer.py");

/// What the peer consists of, and what it calls a GPU; an error where its libtorch is another one.
pub(crate) fn versions(python: &Path, device: Device) -> anyhow::Result<Value> {
    let output = command(python).args(["--versions", "--device", &device::name(device)]).output();
    let output = output.with_context(|| format!("{} cannot be run; try make bench-train", python.display()))?;
    ensure!(output.status.success(), "the peer failed: {}", String::from_utf8_lossy(&output.stderr));
    let versions: Value = serde_json::from_slice(&output.stdout)?;
    let torch = versions["torch"].as_str().unwrap_or_default();
    let number = torch.split('+').next().unwrap_or_default();
    ensure!(number == libtorch_version(), "the peer has libtorch {torch}, linked is {}", libtorch_version());
    Ok(versions)
}

/// A run of PyTorch, which ends when it is dropped.
pub(crate) struct Peer {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    pub(crate) fn start(python: &Path, case: Case, pictures: &Pictures, device: Device) -> anyhow::Result<Self> {
        let options = [
            ("--device", device::name(device)),
            ("--architecture", case.architecture.to_string()),
            ("--size", case.size.to_string()),
            ("--precision", case.precision.as_str().to_owned()),
            ("--batch-size", pictures.batch_size.to_string()),
            ("--batches", pictures.batches.to_string()),
            ("--classes", CLASSES.to_string()),
            ("--threads", usable_cores().to_string()),
            ("--pictures", pictures.path().display().to_string()),
        ];
        let mut command = command(python);
        for (option, value) in options {
            command.args([option, &value]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let commands = child.stdin.take().context("the peer takes no commands")?;
        let answers = BufReader::new(child.stdout.take().context("the peer gives no answers")?);
        Ok(Self { child, commands, answers })
    }

    /// Images per second of `count` steps.
    pub(crate) fn steps(&mut self, count: u32) -> anyhow::Result<f64> {
        self.ask(&format!("steps {count}"))
    }

    /// Images per second of an epoch.
    pub(crate) fn epoch(&mut self) -> anyhow::Result<f64> {
        self.ask("epoch")
    }

    fn ask(&mut self, command: &str) -> anyhow::Result<f64> {
        writeln!(self.commands, "{command}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        answer.trim().parse().with_context(|| format!("the peer answered {answer:?} to {command:?}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]);
    command
}
