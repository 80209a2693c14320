//! A coordinator of one test.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use ursa_client::Client;
use ursa_coordinator::config::Config;
use ursa_storage::Storage;

/// Short, so that tests of lost workers are: twenty reports fit into a lease.
const FLAGS: [&str; 4] = ["--listen=127.0.0.1:0", "--lease=1500ms", "--report-interval=100ms", "--stop-grace=3s"];

/// A coordinator with a store of its own, on a database that the test keeps.
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    objects: Arc<TempDir>,
    running: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
    /// A client of it.
    pub client: Client,
}

impl Coordinator {
    /// Starts one and waits until it listens.
    pub async fn start(database_url: &str) -> anyhow::Result<Self> {
        Self::start_with(database_url, &[]).await
    }

    /// The same, with flags, such as `--name=value`.
    pub async fn start_with(database_url: &str, flags: &[&str]) -> anyhow::Result<Self> {
        Self::begin(database_url, Arc::new(tempfile::tempdir()?), flags).await
    }

    /// Starts another one on the same database and objects.
    pub async fn start_beside(&self, flags: &[&str]) -> anyhow::Result<Self> {
        Self::begin(&self.config.database_url, Arc::clone(&self.objects), flags).await
    }

    async fn begin(database_url: &str, objects: Arc<TempDir>, flags: &[&str]) -> anyhow::Result<Self> {
        let places = [format!("--database-url={database_url}"), format!("--object-store={}", objects.path().display())];
        let own = FLAGS.iter().copied().filter(|own| !flags.iter().any(|flag| name(flag) == name(own)));
        let all = ["ursa-coordinator"].into_iter().chain(places.iter().map(String::as_str)).chain(own);
        let config = Config::try_parse_from(all.chain(flags.iter().copied())).context("the flags do not parse")?;
        let client = Client::new("http://127.0.0.1:1")?;
        let mut coordinator = Self { config, objects, running: None, client };
        coordinator.resume().await?;
        Ok(coordinator)
    }

    /// Starts it again on the same address, database and objects.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let (sender, listening) = oneshot::channel();
        let service = ursa_coordinator::run(self.config.clone(), stop.clone(), move |address| {
            // The receiver is gone only when the test is.
            let _ = sender.send(address);
        });
        let mut task = tokio::spawn(service);
        let address = tokio::select! {
            address = listening => address?,
            ended = &mut task => anyhow::bail!("the coordinator ended at once: {ended:?}"),
        };
        self.config.listen = address;
        self.client = Client::new(&format!("http://{address}"))?;
        self.running = Some((stop, task));
        Ok(())
    }

    /// Stops it in order, as a signal does, and waits until it has ended.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some((stop, task)) = self.running.take() else { return Ok(()) };
        stop.cancel();
        task.await?
    }

    /// Drops it as a crash would: nothing is finished, nothing is said.
    pub async fn crash(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            task.abort();
            // Its reconcilers are tasks of their own.
            stop.cancel();
            let _ = task.await;
        }
    }

    /// Its object store.
    pub fn storage(&self) -> anyhow::Result<Storage> {
        Ok(Storage::open(&self.objects.path().display().to_string())?)
    }
}

/// Of a flag with its value.
fn name(flag: &str) -> &str {
    flag.split_once('=').map_or(flag, |(name, _)| name)
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.cancel();
            task.abort();
        }
    }
}
