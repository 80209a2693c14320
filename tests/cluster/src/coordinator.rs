//! A coordinator of one test.

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use ursa_client::Client;
use ursa_coordinator::config::Config;
use ursa_storage::Storage;

/// Short, so that tests of lost workers are: twenty reports fit into a lease.
const LEASE: Duration = Duration::from_millis(1500);
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// A coordinator with a store of its own, on a database that the test keeps.
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    objects: TempDir,
    running: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
    /// A client of it.
    pub client: Client,
}

impl Coordinator {
    /// Starts one and waits until it listens.
    pub async fn start(database_url: &str) -> anyhow::Result<Self> {
        let objects = tempfile::tempdir()?;
        let config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database_url: database_url.to_owned(),
            database_connections: 16,
            object_store: objects.path().display().to_string(),
            lease: LEASE,
            report_interval: REPORT_INTERVAL,
        };
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

impl Drop for Coordinator {
    fn drop(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.cancel();
            task.abort();
        }
    }
}
