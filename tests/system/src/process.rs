//! One service as a process.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::unix::pipe::Receiver;
use ursa_process::end_with_parent;

const START: Duration = Duration::from_secs(30);

/// A service. Killed when dropped, or when the thread that started it ends.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where it says so, until it has.
    output: Option<Lines<BufReader<Receiver>>>,
    /// What it said of itself: its addresses or its id.
    pub announced: Value,
}

impl Process {
    /// Starts one of the workspace's programs and waits for the line in which it says where it is. Its log is appended to
    /// `log`.
    pub async fn start(
        program: &str,
        arguments: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        Self::start_as(vec![path_of(program)?.into()], program, arguments, environment, log).await
    }

    /// As [`Process::start`], with a program in front that starts the one meant: `prlimit`, for instance.
    pub async fn start_through(
        wrapper: &[&str],
        program: &str,
        arguments: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut words: Vec<OsString> = wrapper.iter().map(OsString::from).collect();
        words.push(path_of(program)?.into());
        Self::start_as(words, program, arguments, environment, log).await
    }

    /// Starts one of the workspace's programs, which may take as long as it likes to say where it is.
    pub fn spawn(
        program: &str,
        arguments: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        Self::spawn_as(&[path_of(program)?.into()], program, arguments, environment, log)
    }

    /// Waits until it has said where it is. Safe to cancel.
    pub async fn started(&mut self) -> anyhow::Result<()> {
        let Some(output) = &mut self.output else { return Ok(()) };
        match output.next_line().await {
            Ok(Some(line)) => self.announced = serde_json::from_str(&line)?,
            other => bail!("{} did not start ({other:?}); its log:\n{}", self.name, self.log()),
        }
        self.output = None;
        Ok(())
    }

    async fn start_as(
        words: Vec<OsString>,
        name: &str,
        arguments: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut process = Self::spawn_as(&words, name, arguments, environment, log)?;
        match tokio::time::timeout(START, process.started()).await {
            Ok(started) => started.map(|()| process),
            Err(_) => bail!("{name} said nothing for {START:?}; its log:\n{}", process.log()),
        }
    }

    fn spawn_as(
        words: &[OsString],
        name: &str,
        arguments: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let (first, rest) = words.split_first().context("no program")?;
        let mut command = Command::new(first);
        command.args(rest).args(arguments).envs(environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::options().create(true).append(true).open(log)?).process_group(0);
        end_with_parent(&mut command, Signal::SIGKILL);
        let mut child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let output = child.stdout.take().context("it has no output")?;
        let output = Some(BufReader::new(Receiver::from_owned_fd(output.into())?).lines());
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), output, announced: Value::Null })
    }

    /// An address it announced, for instance `http`.
    pub fn address(&self, which: &str) -> &str {
        self.announced[which].as_str().unwrap_or_default()
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it as a crash would: SIGKILL, nothing is finished, nothing is said.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets it stand still, as a machine that is suspended does.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Asks it to end and waits until it has.
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        Ok(self.child.wait()?)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    /// The processes it has started that still run, by the name of their program.
    pub fn children(&self, program: &str) -> anyhow::Result<Vec<Pid>> {
        let mut children = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            // One that ends meanwhile is none.
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            if is_child(&stat, self.child.id(), program) {
                children.push(Pid::from_raw(pid));
            }
        }
        Ok(children)
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!("{}:\n{text}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

/// Reads a line of `/proc/PID/stat`: `pid (name) state parent …`; the name is cut to 15 letters.
fn is_child(stat: &str, parent: u32, program: &str) -> bool {
    let Some((head, tail)) = stat.rsplit_once(") ") else { return false };
    let name = head.split_once('(').map_or("", |(_, name)| name);
    let mut fields = tail.split(' ');
    let state = fields.next().unwrap_or_default();
    let is_of = fields.next() == Some(&parent.to_string());
    is_of && state != "Z" && program.starts_with(name) && !name.is_empty()
}

/// A program of this workspace, where cargo puts it: beside the program that asks, or beside the folder of the test that
/// does.
fn path_of(program: &str) -> anyhow::Result<PathBuf> {
    let myself = std::env::current_exe()?;
    let found = myself.ancestors().skip(1).take(2).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.with_context(|| format!("{program} is not built: run `make build` first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_known_by_its_parent_and_its_name() {
        let stat = "4711 (ursa-trainer) S 42 4711 4711 0 -1 4194560";
        assert!(is_child(stat, 42, "ursa-trainer"));
        assert!(!is_child(stat, 43, "ursa-trainer"));
        assert!(!is_child(stat, 42, "ursa-worker"));
        assert!(!is_child(&stat.replace(" S ", " Z "), 42, "ursa-trainer"), "a zombie does not run");
    }
}
