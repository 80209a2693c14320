//! Keeps a service running: started, watched, started again when it ends, stopped when told to.
//!
//! Children are spawned from the main thread (the runtime has no other): the kernel tells them to stop when that ends.

use std::future::{Future, ready};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use ursa_process::Log;

use super::plan::Announcement;
use super::record::Registry;
use crate::say;

/// How long a service may take until it is ready.
const START: Duration = Duration::from_mins(1);
/// How often to say that one is still not ready.
const COMPLAIN_EVERY: Duration = Duration::from_secs(5);
/// A service that cannot be started so many times at first never will.
const FIRST_TRIES: u32 = 3;
/// What has run for so long is not in a circle of failures.
const STEADY: Duration = Duration::from_secs(30);
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LAST_WAIT: Duration = Duration::from_secs(15);
/// How long a child that closed its output may take to end.
const LAST_BREATH: Duration = Duration::from_secs(2);
const TAIL_LINES: usize = 8;

/// A way to ask a process to stop, and how long it is given.
pub(super) type Farewell = (Signal, Duration);

/// What supervision has to know of a service.
pub(super) trait Service: Send + 'static {
    /// For people.
    fn name(&self) -> &str;
    /// The program with everything it needs.
    fn command(&mut self) -> anyhow::Result<Command>;
    /// Where it logs.
    fn log(&self) -> &Log;
    /// How to stop it, ever more firmly; what is left after the last is killed.
    fn farewell(&self) -> &'static [Farewell];
    /// What has to happen before every start.
    fn prepare(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send {
        ready(Ok(()))
    }
    /// Waits until it is ready. Takes as long as it takes; an end of the child is an error.
    fn ready(&mut self, child: &mut Child) -> impl Future<Output = anyhow::Result<Announcement>> + Send;
}

/// A service that is kept running.
#[derive(Debug)]
pub(super) struct Supervised {
    name: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
    first: Option<oneshot::Receiver<anyhow::Result<()>>>,
}

impl Supervised {
    /// Starts a service and keeps it running.
    pub(super) fn start(service: impl Service, registry: Registry) -> Self {
        let (sender, first) = oneshot::channel();
        let (name, stop) = (service.name().to_owned(), CancellationToken::new());
        let keeper = Keeper { service, registry, stop: stop.clone(), first: Some(sender), failures: 0 };
        Self { name, stop, task: tokio::spawn(keeper.keep()), first: Some(first) }
    }

    /// Waits until the service is ready for the first time. What it announced is in the registry then.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        let first = self.first.take().context("this has been asked before")?;
        first.await.unwrap_or_else(|_| Err(anyhow!("it was stopped"))).with_context(|| self.name.clone())
    }

    /// Stops it and waits until it is gone.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, service = self.name, "its supervision failed");
        }
    }
}

/// How a child's life ended.
enum End {
    /// By our wish.
    Asked,
    /// By itself, or before it was ready.
    Unasked(anyhow::Error),
    /// It runs, but did not become ready in time.
    TooSlow(anyhow::Error),
}

struct Keeper<S> {
    service: S,
    registry: Registry,
    stop: CancellationToken,
    /// Whoever waits for the first start.
    first: Option<oneshot::Sender<anyhow::Result<()>>>,
    failures: u32,
}

impl<S: Service> Keeper<S> {
    async fn keep(mut self) {
        loop {
            let begin = Instant::now();
            let end = self.live().await;
            self.registry.ended(self.service.name());
            self.failures = if begin.elapsed() > STEADY { 1 } else { self.failures + 1 };
            let (is_hopeless, reason) = match end {
                End::Asked => return,
                End::Unasked(reason) => (self.failures >= FIRST_TRIES, reason),
                End::TooSlow(reason) => (true, reason),
            };
            if let Some(first) = self.first.take_if(|_| is_hopeless) {
                // Nobody waits any more when everything is being stopped.
                let _ = first.send(Err(self.with_log(reason)));
                return;
            }
            let wait = wait_after(self.failures);
            self.complain(reason, wait);
            if self.stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// One life of a child, from its start to its end.
    async fn live(&mut self) -> End {
        let mut child = match self.spawn().await {
            Ok(child) => child,
            Err(error) => return End::Unasked(error),
        };
        let stop = self.stop.clone();
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            outcome = self.until_ready(&mut child) => Some(outcome),
        };
        match outcome {
            None => {
                part(&mut child, self.service.farewell()).await;
                End::Asked
            }
            Some(Ok(announcement)) => {
                self.registry.announced(self.service.name(), &announcement);
                if let Some(first) = self.first.take() {
                    let _ = first.send(Ok(()));
                }
                self.watch(&mut child).await
            }
            Some(Err(error)) => self.failed_start(&mut child, error).await,
        }
    }

    async fn spawn(&mut self) -> anyhow::Result<Child> {
        self.service.prepare().await?;
        let command = self.service.command()?;
        let what = format!("cannot start {}", command.get_program().display());
        let child = tokio::process::Command::from(command).kill_on_drop(true).spawn().context(what)?;
        self.registry.started(self.service.name(), child.id().unwrap_or_default());
        Ok(child)
    }

    /// Waits until the child is ready, and says now and then that it is not.
    async fn until_ready(&mut self, child: &mut Child) -> anyhow::Result<Announcement> {
        let (name, log) = (self.service.name().to_owned(), self.service.log().clone());
        let mut readiness = std::pin::pin!(tokio::time::timeout(START, self.service.ready(child)));
        loop {
            match tokio::time::timeout(COMPLAIN_EVERY, &mut readiness).await {
                Ok(outcome) => return outcome.map_err(|_| anyhow!(TooSlow))?,
                Err(_) => say(&format!("still waiting for {name}; it said last:\n{}", log.tail(1))),
            }
        }
    }

    async fn failed_start(&mut self, child: &mut Child, error: anyhow::Error) -> End {
        if error.is::<TooSlow>() {
            part(child, self.service.farewell()).await;
            return End::TooSlow(error);
        }
        if let Ok(Ok(status)) = tokio::time::timeout(LAST_BREATH, child.wait()).await {
            return End::Unasked(anyhow!("ended before it was ready: {}", described(status)));
        }
        part(child, self.service.farewell()).await;
        End::Unasked(error)
    }

    async fn watch(&mut self, child: &mut Child) -> End {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {
                part(child, self.service.farewell()).await;
                End::Asked
            }
            ended = child.wait() => End::Unasked(match ended {
                Ok(status) => anyhow!("ended unexpectedly: {}", described(status)),
                Err(error) => anyhow!(error).context("cannot be watched"),
            }),
        }
    }

    fn complain(&self, reason: anyhow::Error, wait: Duration) {
        let name = self.service.name();
        say(&format!("{name} {:#}\nstarting {name} again in {} ms", self.with_log(reason), wait.as_millis()));
    }

    fn with_log(&self, reason: anyhow::Error) -> anyhow::Error {
        let log = self.service.log();
        anyhow!("{reason:#}; the end of its log {}:\n{}", log.path().display(), log.tail(TAIL_LINES))
    }
}

/// Marks a start that took too long.
#[derive(Debug, thiserror::Error)]
#[error("was not ready within {} s", START.as_secs())]
struct TooSlow;

/// Asks a child to stop until it has.
async fn part(child: &mut Child, farewell: &[Farewell]) {
    for (signal, patience) in farewell {
        // Without a number it has been waited for already.
        let Some(pid) = child.id() else { return };
        let _ = kill(Pid::from_raw(pid.cast_signed()), *signal);
        if tokio::time::timeout(*patience, child.wait()).await.is_ok() {
            return;
        }
    }
    // Fails only when it is gone.
    let _ = child.kill().await;
}

/// How long to wait after so many failures in a row.
fn wait_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    (FIRST_WAIT * 2_u32.pow(doublings)).min(LAST_WAIT)
}

fn described(status: ExitStatus) -> String {
    match status.signal().map(Signal::try_from) {
        Some(Ok(signal)) => signal.as_str().to_owned(),
        _ => status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}")),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use serde_json::json;

    use super::*;
    use crate::commands::up::record::Record;

    /// A shell script that is ready when it has said so.
    struct Script {
        folder: tempfile::TempDir,
        text: &'static str,
        log: Log,
    }

    impl Script {
        fn new(text: &'static str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let log = Log::new(folder.path().join("script.log"));
            Self { folder, text, log }
        }

        fn registry(&self) -> Registry {
            Registry::new(self.folder.path().join("up.json"), Record::default())
        }
    }

    impl Service for Script {
        fn name(&self) -> &'static str {
            "script"
        }
        fn command(&mut self) -> anyhow::Result<Command> {
            let mut command = Command::new("sh");
            command.args(["-c", self.text]).current_dir(self.folder.path());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.log.open()?);
            Ok(command)
        }
        fn log(&self) -> &Log {
            &self.log
        }
        fn farewell(&self) -> &'static [Farewell] {
            const { &[(Signal::SIGTERM, Duration::from_millis(300))] }
        }
        async fn ready(&mut self, child: &mut Child) -> anyhow::Result<Announcement> {
            let mark = self.folder.path().join("ready");
            while !mark.exists() {
                anyhow::ensure!(child.try_wait()?.is_none(), "it ended");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(json!({"pid": child.id()}).as_object().cloned().unwrap_or_default())
        }
    }

    async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(begin.elapsed().as_secs() < 20, "waited for {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_ends_is_started_again_and_what_is_stopped_is_not() {
        let script = Script::new("touch ready; exec sleep 60");
        let registry = script.registry();
        let mut supervised = Supervised::start(script, registry.clone());
        supervised.ready().await.unwrap();
        let first = registry.record().processes[0].clone();
        first.signal(Signal::SIGKILL).unwrap();
        until("another process", || registry.record().processes.iter().any(|next| next.pid != first.pid)).await;
        let next = registry.record().processes[0].clone();
        assert!(!first.is_alive() && next.is_alive());
        supervised.stop().await;
        assert!(!next.is_alive());
        assert!(registry.record().processes.is_empty());
    }

    #[tokio::test]
    async fn what_never_starts_is_given_up_with_the_reason_and_its_log() {
        let script = Script::new("echo the roof is on fire >&2; exit 3");
        let registry = script.registry();
        let mut supervised = Supervised::start(script, registry);
        let error = format!("{:#}", supervised.ready().await.unwrap_err());
        assert!(error.starts_with("script: ended before it was ready: exit code 3"), "{error}");
        assert!(error.contains("the roof is on fire"), "{error}");
    }

    #[tokio::test]
    async fn what_ignores_the_request_to_stop_is_killed() {
        let script = Script::new("trap '' TERM; touch ready; while true; do sleep 0.1; done");
        let registry = script.registry();
        let mut supervised = Supervised::start(script, registry.clone());
        supervised.ready().await.unwrap();
        let process = registry.record().processes[0].clone();
        supervised.stop().await;
        assert!(!process.is_alive());
    }

    #[tokio::test]
    async fn a_start_can_be_stopped() {
        let script = Script::new("exec sleep 60");
        let registry = script.registry();
        let supervised = Supervised::start(script, registry.clone());
        until("the process", || !registry.record().processes.is_empty()).await;
        let process = registry.record().processes[0].clone();
        supervised.stop().await;
        assert!(!process.is_alive());
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        assert_eq!(wait_after(1), FIRST_WAIT);
        assert_eq!(wait_after(3), FIRST_WAIT * 4);
        assert_eq!(wait_after(u32::MAX), LAST_WAIT);
    }
}
