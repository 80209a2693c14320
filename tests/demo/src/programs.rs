//! `ursa`, as a user runs it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, ExitStatus, Stdio};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use ursa_process::end_with_parent;

/// What `ursa up --output json` says when everything is ready.
#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    pub(crate) coordinator: String,
    pub(crate) dashboard: String,
    pub(crate) nodes: Vec<Node>,
}

/// An inference node.
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) http: String,
    pub(crate) grpc: String,
}

/// The running system. Ends with the demo, however that ends.
#[derive(Debug)]
pub(crate) struct Up {
    child: Child,
    data: PathBuf,
    /// Where everything is.
    pub(crate) record: Record,
}

impl Up {
    /// Starts the system on an empty data folder, allowed to reach the demo web and no other private address.
    pub(crate) async fn start(folder: &Path, web_port: u16) -> anyhow::Result<Self> {
        let data = folder.join("data");
        let mut command = StdCommand::new(ursa()?);
        command.args(["up", "--output", "json", "--data-dir"]).arg(&data);
        command.arg("--allow-network").arg(format!("127.0.0.1/32:{web_port}"));
        // A demo shows its own system, whatever the environment names.
        command.env_remove("DATABASE_URL").env_remove("URSA_OBJECT_STORE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        end_with_parent(&mut command, Signal::SIGTERM);
        let mut child = Command::from(command).spawn().context("`ursa up` cannot be started")?;
        let output = child.stdout.take().context("`ursa up` has no output")?;
        let line = BufReader::new(output).lines().next_line().await?;
        let Some(line) = line else { bail!("`ursa up` did not come up") };
        let record = serde_json::from_str(&line).context("`ursa up` said something unexpected")?;
        Ok(Self { child, data, record })
    }

    /// Where the services log.
    pub(crate) fn logs(&self) -> PathBuf {
        self.data.join("logs")
    }

    /// Resolves if it ends by itself.
    pub(crate) async fn ended(&mut self) -> String {
        self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string())
    }

    /// Stops everything, in order.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        let Some(pid) = self.child.id() else { return Ok(()) };
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)?;
        loop {
            // It bounds itself how long each part may take.
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "`ursa up` did not stop well: {status}");
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// `ursa pipeline run FILE --watch`, on this terminal.
pub(crate) async fn run_pipeline(coordinator: &str, pipeline: &Path) -> anyhow::Result<ExitStatus> {
    let mut command = Command::new(ursa()?);
    command.args(["--coordinator", coordinator, "pipeline", "run", "--watch"]).arg(pipeline);
    command.stdin(Stdio::null()).kill_on_drop(true).status().await.context("`ursa` cannot be started")
}

/// `ursa` beside this program.
fn ursa() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("ursa");
    ensure!(path.is_file(), "{} is not built: run `make build`", path.display());
    Ok(path)
}
