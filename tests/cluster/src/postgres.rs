//! A Postgres server of one test, from the machine's installed programs, on a Unix socket only.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, chown, geteuid};
use tempfile::TempDir;

const START: Duration = Duration::from_secs(30);

/// A running server; killed and removed when dropped.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    programs: PathBuf,
    user: Option<User>,
    server: Option<Child>,
}

impl Postgres {
    /// Makes a cluster in a new folder and starts it.
    pub fn start() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("ursa-pg-").tempdir_in("/tmp")?;
        let mut postgres = Self { programs: programs()?, user: unprivileged()?, server: None, dir };
        if let Some(user) = &postgres.user {
            chown(postgres.dir.path(), Some(user.uid), Some(user.gid))?;
        }
        let made = postgres
            .command("initdb")
            .args(["--auth=trust", "--username=ursa", "--no-sync", "--encoding=UTF8", "--no-locale", "--pgdata"])
            .arg(postgres.data())
            .output()?;
        ensure!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        postgres.resume()?;
        Ok(postgres)
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("postgres://ursa@localhost/postgres?host={}", self.dir.path().display())
    }

    /// Stops it at once, as a crash would.
    pub fn crash(&mut self) -> anyhow::Result<()> {
        if let Some(mut server) = self.server.take() {
            kill(Pid::from_raw(server.id().cast_signed()), Signal::SIGQUIT)?;
            server.wait()?;
        }
        Ok(())
    }

    /// Starts it again on the same data.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let server = self
            .command("postgres")
            .args(["-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-c", "max_connections=60", "-k"])
            .arg(self.dir.path())
            .arg("-D")
            .arg(self.data())
            .spawn()?;
        self.server = Some(server);
        let begin = Instant::now();
        while begin.elapsed() < START {
            let ready = self.command("pg_isready").arg("-q").arg("-h").arg(self.dir.path()).status()?;
            if ready.success() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("Postgres did not start within {START:?}")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir("/tmp").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command.process_group(0);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The folder goes with it; there is nothing to save.
        let _ = self.crash();
    }
}

/// The folder of the newest installed server.
fn programs() -> anyhow::Result<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    let complete =
        |folder: &PathBuf| ["initdb", "postgres", "pg_isready"].iter().all(|name| is_file(&folder.join(name)));
    folders.into_iter().find(complete).context("PostgreSQL is not installed: run `make setup`")
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}

/// Postgres refuses to run as root.
fn unprivileged() -> anyhow::Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    Ok(Some(User::from_name("postgres")?.context("there is no system user called postgres")?))
}
