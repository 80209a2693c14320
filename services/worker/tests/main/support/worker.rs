//! A worker in this process.

use std::path::Path;

use clap::Parser as _;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use ursa_worker::Config;

use super::{Coordinator, PATIENCE};

const TRAINER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/main/support/trainer.sh");

/// What a worker is started with, its name included.
pub(crate) fn arguments(coordinators: &[&Coordinator], folder: &Path, flags: &[&str]) -> Vec<String> {
    let urls: Vec<String> = coordinators.iter().map(|coordinator| coordinator.url()).collect();
    let path = folder.to_str().unwrap();
    let own = ["ursa-worker", "--coordinator", &urls.join(","), "--object-store", path, "--cache-dir", path];
    let fixed = ["--name", "test", "--trainer", TRAINER, "--threads", "4"];
    // Unless a test says otherwise there are none, whatever the machine has.
    let gpus: &[&str] = if flags.iter().any(|flag| flag.ends_with("gpus")) { &[] } else { &["--gpus", "none"] };
    own.iter().chain(&fixed).chain(gpus).chain(flags).map(ToString::to_string).collect()
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Worker {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    _folder: TempDir,
}

impl Worker {
    /// One that is told of every coordinator, and of `flags`.
    pub(crate) fn start(coordinators: &[&Coordinator], flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::parse_from(arguments(coordinators, folder.path(), flags));
        let stop = CancellationToken::new();
        let task = tokio::spawn(ursa_worker::run(config, stop.clone(), |_| ()));
        Self { stop, task, _folder: folder }
    }

    /// Tells it to end, as the first signal does.
    pub(crate) fn tell_to_end(&self) {
        self.stop.cancel();
    }

    /// How it ends.
    pub(crate) async fn ended(self) -> anyhow::Result<()> {
        tokio::time::timeout(PATIENCE, self.task).await.expect("the worker does not end").unwrap()
    }
}
