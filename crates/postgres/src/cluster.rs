//! A cluster: its data, made once, and the command that serves them.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::User;
use uuid::Uuid;

use ursa_process::{Log, end_with_parent};

use crate::PostgresError;
use crate::programs::{self, Programs};
use crate::{leftover, place};

const PORT: &str = "5432";
const ROLE: &str = "ursa";
/// Data being made; renamed when they are whole.
const UNFINISHED: &str = "data.new-";

/// How to make and serve a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether what is committed survives a loss of power. Only tests do without.
    pub durable: bool,
    /// Settings as in `postgresql.conf`, by name.
    pub settings: Vec<(String, String)>,
    /// Where the server logs; `postgres.log` in the cluster's folder unless given.
    pub log: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { durable: true, settings: Vec::new(), log: None }
    }
}

/// Data with a server for them. Whether it runs is the affair of whoever starts it: see [`crate::Server`], or spawn
/// [`Cluster::command`].
#[derive(Debug, Clone)]
pub struct Cluster {
    programs: Programs,
    user: Option<User>,
    folder: PathBuf,
    socket: PathBuf,
    log: Log,
    options: Options,
}

impl Cluster {
    /// Makes the cluster in `folder` if there is none yet, and stops a server that was left over on it.
    ///
    /// `folder` belongs to the cluster alone; it may become a link where the server's user cannot reach it. Blocks for as
    /// long as `initdb` takes. Making it may be interrupted at any point and tried again.
    pub fn prepare(folder: &Path, options: Options) -> Result<Self, PostgresError> {
        let installed = programs::installed()?;
        let user = place::server_user()?;
        let folder = std::path::absolute(folder).map_err(PostgresError::io(format!("find {}", folder.display())))?;
        let folder = place::settle(&folder, user.as_ref(), &installed[0].folder.join("postgres"))?;
        let major = major_of(&folder.join("data"))?;
        let programs = programs::choose(&installed, major, &folder)?;
        let socket = place::socket_folder(&folder, user.as_ref())?;
        let log = Log::new(options.log.clone().unwrap_or_else(|| folder.join("postgres.log")));
        let cluster = Self { programs, user, folder, socket, log, options };
        if major.is_none() {
            cluster.make()?;
        }
        cluster.clear()?;
        Ok(cluster)
    }

    /// Where clients find it while it is served.
    pub fn url(&self) -> String {
        let host = percent_encoded(&self.socket);
        format!("postgres://{ROLE}@localhost:{PORT}/postgres?host={host}&sslmode=disable")
    }

    /// Where clients find it through whoever passes on from `address` to [`Cluster::socket`].
    pub fn url_through(&self, address: SocketAddr) -> String {
        format!("postgres://{ROLE}@{address}/postgres?sslmode=disable")
    }

    /// The socket that it listens on.
    pub fn socket(&self) -> PathBuf {
        self.socket.join(format!(".s.PGSQL.{PORT}"))
    }

    /// Where it really lies, links followed.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Stops a server that was left over and removes the locks of a dead one. Needed before every start; blocks until it
    /// is gone.
    pub fn clear(&self) -> Result<(), PostgresError> {
        leftover::stop(&self.data(), &self.socket)
    }

    /// The server's command, logging included. It is told to stop when the thread that spawns it ends.
    pub fn command(&mut self) -> Result<Command, PostgresError> {
        let what = format!("open the log {}", self.log.path().display());
        let log = self.log.open().and_then(|log| Ok((log.try_clone()?, log))).map_err(PostgresError::io(what))?;
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).args(["-p", PORT, "-k"]).arg(quoted(&self.socket));
        command.args(["-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"]);
        if !self.options.durable {
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        for (name, value) in &self.options.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdout(log.0).stderr(log.1);
        end_with_parent(&mut command, Signal::SIGINT);
        Ok(command)
    }

    /// Whether the server that runs as process `pid` takes connections.
    pub fn is_ready(&self, pid: u32) -> bool {
        let status = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = status.lines().map(str::trim);
        // The eighth line is for exactly this question; `pg_ctl` reads the same.
        lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Makes the data under another name first, so that they are whole or not there.
    fn make(&self) -> Result<(), PostgresError> {
        self.sweep();
        let unfinished = self.folder.join(format!("{UNFINISHED}{}", Uuid::new_v4()));
        let mut command = self.program("initdb");
        command.args(["--auth=trust", "--encoding=UTF8", "--no-locale", "--data-checksums"]);
        command.arg(format!("--username={ROLE}")).arg("--pgdata").arg(&unfinished);
        if !self.options.durable {
            command.arg("--no-sync");
        }
        end_with_parent(&mut command, Signal::SIGKILL);
        let made = command.output().map_err(PostgresError::io("start initdb"))?;
        if !made.status.success() {
            let output = String::from_utf8_lossy(&made.stderr).trim().to_owned();
            return Err(PostgresError::Program { program: "initdb", output });
        }
        let kept = std::fs::rename(&unfinished, self.data()).and_then(|()| File::open(&self.folder)?.sync_all());
        kept.map_err(PostgresError::io(format!("keep {}", self.data().display())))
    }

    /// Removes what interrupted attempts left. What resists may still be written to by a dying child, and harms nobody.
    fn sweep(&self) {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }

    /// One of PostgreSQL's programs, as the server's user, deaf to the terminal and to the environment's `PG…` variables.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.folder.join(name));
        command.current_dir(&self.folder).stdin(Stdio::null()).process_group(0);
        let names = std::env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

/// Major version of the data in a folder; `None` where there are none yet.
fn major_of(data: &Path) -> Result<Option<u32>, PostgresError> {
    let is_empty = std::fs::read_dir(data).map_or(true, |mut entries| entries.next().is_none());
    if is_empty {
        return Ok(None);
    }
    let version = std::fs::read_to_string(data.join("PG_VERSION")).unwrap_or_default();
    match programs::major(&version) {
        Some(major) => Ok(Some(major)),
        None => Err(PostgresError::folder(data, "is no data folder of PostgreSQL: it has no readable PG_VERSION")),
    }
}

/// One folder as an item of a list.
fn quoted(folder: &Path) -> OsString {
    let mut quoted = OsString::from("\"");
    quoted.push(folder);
    quoted.push("\"");
    quoted
}

fn percent_encoded(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_a_url_keeps_its_slashes_only() {
        assert_eq!(percent_encoded(Path::new("/tmp/my data/ü&x")), "/tmp/my%20data/%C3%BC%26x");
    }

    #[test]
    fn what_is_no_data_folder_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(major_of(folder.path()).unwrap(), None);
        assert_eq!(major_of(&folder.path().join("none")).unwrap(), None);
        std::fs::write(folder.path().join("thesis.txt"), "").unwrap();
        assert!(major_of(folder.path()).unwrap_err().to_string().contains("is no data folder of PostgreSQL"));
        std::fs::write(folder.path().join("PG_VERSION"), "15\n").unwrap();
        assert_eq!(major_of(folder.path()).unwrap(), Some(15));
    }
}
