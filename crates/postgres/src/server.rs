//! A server whose start and end are waited for.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Cluster, PostgresError};

/// How a server is asked to stop, ever more firmly, and how long each takes at most: fast shutdown, which ends sessions
/// and writes everything down, then immediate shutdown. What is left after that is to be killed.
pub const FAREWELL: [(Signal, Duration); 2] =
    [(Signal::SIGINT, Duration::from_secs(20)), (Signal::SIGQUIT, Duration::from_secs(5))];

const START: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(10);
const TAIL_LINES: usize = 12;

/// A running server; stopped at once, as by a crash, when dropped.
///
/// Ends with the thread that started it.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
}

impl Server {
    /// Starts one and blocks until it takes connections.
    pub fn start(cluster: &mut Cluster) -> Result<Self, PostgresError> {
        cluster.clear()?;
        let child = cluster.command()?.spawn().map_err(PostgresError::io("start postgres"))?;
        let pid = child.id();
        let mut server = Self { child: Some(child) };
        let begin = Instant::now();
        while !cluster.is_ready(pid) {
            let (log, tail) = (cluster.log().path().to_owned(), || cluster.log().tail(TAIL_LINES));
            if let Some(status) = server.ended() {
                return Err(PostgresError::Ended { status: described(status), log, tail: tail() });
            }
            if begin.elapsed() > START {
                return Err(PostgresError::TooSlow { seconds: START.as_secs(), log, tail: tail() });
            }
            std::thread::sleep(LOOK);
        }
        Ok(server)
    }

    /// Its process, until it has been stopped.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Stops it in order, with everything written down; killed if it does not stop. Blocks until it is gone.
    pub fn stop(&mut self) -> Result<(), PostgresError> {
        for (signal, patience) in FAREWELL {
            self.signal(signal);
            let begin = Instant::now();
            while begin.elapsed() < patience {
                if self.child.is_none() || self.ended().is_some() {
                    return Ok(());
                }
                std::thread::sleep(LOOK);
            }
        }
        self.end_by(Signal::SIGKILL)
    }

    /// Stops it at once: what was committed is found again by the next start.
    pub fn crash(&mut self) -> Result<(), PostgresError> {
        self.end_by(Signal::SIGQUIT)
    }

    fn end_by(&mut self, signal: Signal) -> Result<(), PostgresError> {
        self.signal(signal);
        match self.child.take() {
            Some(mut child) => child.wait().map(drop).map_err(PostgresError::io("wait for postgres")),
            None => Ok(()),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // A child that has ended is a zombie until it is waited for: the number is still its own.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);
        }
    }

    /// How it ended, once. After that its number may be anybody's, so it is forgotten.
    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(status)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is left to hear of it.
        let _ = self.crash();
    }
}

fn described(status: ExitStatus) -> String {
    status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"))
}
