//! A service of Ursa's own: says in one line on its standard output that it is ready, and where.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use ursa_process::{Log, end_with_parent};

use super::plan::{Announcement, ServiceSpec};
use super::supervise::{Farewell, Service};

const FAREWELL: [Farewell; 1] = [(Signal::SIGTERM, Duration::from_secs(10))];

/// A service as planned, with what only a running one has.
#[derive(Debug)]
pub(super) struct Announced {
    spec: ServiceSpec,
    log: Log,
}

impl Announced {
    /// A service that logs into `logs`.
    pub(super) fn new(spec: ServiceSpec, logs: &Path) -> Self {
        let log = Log::new(spec.log_in(logs));
        Self { spec, log }
    }
}

impl Service for Announced {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn command(&mut self) -> anyhow::Result<Command> {
        let log = self.log.open().with_context(|| format!("cannot open the log {}", self.log.path().display()))?;
        let mut command = Command::new(&self.spec.program);
        command.args(self.spec.command_line()).envs(self.spec.secrets.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        // The terminal's Ctrl-C is for `ursa up`, which stops everything in order.
        command.process_group(0);
        end_with_parent(&mut command, Signal::SIGTERM);
        Ok(command)
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn farewell(&self) -> &'static [Farewell] {
        &FAREWELL
    }

    async fn ready(&mut self, child: &mut Child) -> anyhow::Result<Announcement> {
        let mut lines = BufReader::new(child.stdout.take().context("it has no output")?).lines();
        let Some(line) = lines.next_line().await? else { bail!("it closed its output before it was ready") };
        let announcement: Announcement =
            serde_json::from_str(&line).with_context(|| format!("it said {line:?} instead of where it answers"))?;
        self.spec.keep_ports(&announcement);
        // Whatever else it says, it must not block.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(announcement)
    }
}
