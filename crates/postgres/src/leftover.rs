//! Ends a server that was left over on the same data, so that the next one can start.
//!
//! A server is told by what it is and where it works: a program called `postgres` whose working folder is the data
//! folder. A number in a stale `postmaster.pid` proves nothing: it may be anybody's by now.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::PostgresError;
use crate::server::FAREWELL;

const LAST_PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// Stops every server process that works on `data`, and removes what a dead one left in the next one's way.
pub(crate) fn stop(data: &Path, socket: &Path) -> Result<(), PostgresError> {
    let killing = (Signal::SIGKILL, LAST_PATIENCE);
    for (signal, patience) in FAREWELL.into_iter().chain([killing]) {
        let found = working_on(data);
        if found.is_empty() {
            break;
        }
        for process in addressees(signal, found, recorded(data)) {
            // It may be gone already, which is what we want.
            let _ = kill(process, signal);
        }
        wait_until_gone(data, patience);
    }
    match working_on(data).first() {
        Some(process) => Err(PostgresError::StillRunning { pid: process.as_raw(), data: data.to_owned() }),
        None => clear(data, socket),
    }
}

/// The postmaster is asked to stop in order and tells its children; only what is killed is killed one by one.
fn addressees(signal: Signal, found: Vec<Pid>, postmaster: Option<Pid>) -> Vec<Pid> {
    match postmaster.filter(|postmaster| found.contains(postmaster)) {
        Some(postmaster) if signal != Signal::SIGKILL => vec![postmaster],
        _ => found,
    }
}

fn wait_until_gone(data: &Path, patience: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < patience && !working_on(data).is_empty() {
        std::thread::sleep(LOOK);
    }
}

/// The process that `postmaster.pid` names, whoever that is by now.
fn recorded(data: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok().map(Pid::from_raw)
}

/// Server processes whose working folder is `data`.
fn working_on(data: &Path) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.filter(|pid| is_server_on(*pid, data)).map(Pid::from_raw).collect()
}

fn is_server_on(pid: i32, data: &Path) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    match (process.join("exe").read_link(), process.join("cwd").read_link()) {
        (Ok(program), Ok(folder)) => folder == data && names_postgres(&program),
        // Without the right to look there, as in many containers, the command line has to do.
        _ => std::fs::read(process.join("cmdline")).is_ok_and(|line| is_command_on(&line, data)),
    }
}

fn is_command_on(line: &[u8], data: &Path) -> bool {
    let mut words = line.split(|byte| *byte == 0);
    let is_postgres = words.next().is_some_and(|word| names_postgres(Path::new(&*String::from_utf8_lossy(word))));
    is_postgres && words.any(|word| word == data.as_os_str().as_encoded_bytes())
}

/// `postgres`, or `postgres (deleted)` once the package has been upgraded under it.
fn names_postgres(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name.to_string_lossy().split(' ').next() == Some("postgres"))
}

/// Postgres takes a lock file for good while the process it names is alive, whoever that is by now. Nobody works here.
fn clear(data: &Path, socket: &Path) -> Result<(), PostgresError> {
    let mut stale = vec![socket.join(".s.PGSQL.5432"), socket.join(".s.PGSQL.5432.lock")];
    // Where the process is dead, Postgres does it itself, and checks more than we can.
    if recorded(data).is_some_and(|process| kill(process, None).is_ok()) {
        stale.push(data.join("postmaster.pid"));
    }
    for path in stale {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(PostgresError::io(format!("remove the stale {}", path.display()))(error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_by_program_and_folder() {
        let data = Path::new("/d/data");
        assert!(is_command_on(b"/usr/lib/postgresql/15/bin/postgres\0-D\0/d/data\0", data));
        assert!(!is_command_on(b"/usr/lib/postgresql/15/bin/postgres\0-D\0/d/other\0", data));
        assert!(!is_command_on(b"vi\0/d/data\0", data));
        assert!(names_postgres(Path::new("/usr/bin/postgres (deleted)")));
        assert!(!names_postgres(Path::new("/usr/bin/postgres-exporter")));
    }

    #[test]
    fn the_postmaster_alone_is_asked_to_stop() {
        let all = || vec![Pid::from_raw(2), Pid::from_raw(3)];
        assert_eq!(addressees(Signal::SIGINT, all(), Some(Pid::from_raw(3))), [Pid::from_raw(3)]);
        assert_eq!(addressees(Signal::SIGKILL, all(), Some(Pid::from_raw(3))), all());
        assert_eq!(addressees(Signal::SIGINT, all(), Some(Pid::from_raw(9))), all(), "orphans of a dead one");
    }

    #[test]
    fn a_pid_file_that_names_somebody_else_is_removed_and_he_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("postmaster.pid");
        std::fs::write(&file, format!("{}\n", std::process::id())).unwrap();
        stop(folder.path(), folder.path()).unwrap();
        assert!(!file.exists());
    }
}
