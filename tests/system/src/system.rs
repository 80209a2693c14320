//! All services together.

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use ursa_client::Client;
use ursa_cluster::Postgres;
use ursa_demo_web::{DemoWeb, DemoWebConfig};
use ursa_storage::testing::{BUCKET, S3Server};

use crate::Process;
use crate::logs::{self, Expected};

/// Where objects are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// A folder.
    Folder,
    /// An S3 server.
    S3,
}

/// A coordinator with its Postgres and object store, and the demo web; workers and nodes as a test starts them.
pub struct System {
    // Dropped in this order: what may still write before what it writes to.
    /// Workers, in the order of their start.
    pub workers: Vec<Process>,
    /// Nodes, in the order of their start.
    pub nodes: Vec<Process>,
    /// The coordinator.
    pub coordinator: Process,
    /// Its database.
    pub postgres: Postgres,
    /// A client of it.
    pub client: Client,
    /// What is scraped.
    pub web: DemoWeb,
    /// As services are told.
    pub object_store: String,
    environment: Vec<(String, String)>,
    _s3: Option<S3Server>,
    folder: TempDir,
    /// Whether the test has looked at what was logged.
    is_looked_at: bool,
}

impl System {
    /// Starts everything but workers and nodes; the web has `per_class` usable pictures in each list.
    pub async fn start(store: Store, per_class: u32) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("ursa-system-").tempdir()?;
        let web = DemoWeb::start(DemoWebConfig { per_class, ..DemoWebConfig::default() }).await?;
        let s3 = match store {
            Store::Folder => None,
            Store::S3 => Some(S3Server::start(&folder.path().join("s3")).await?),
        };
        let environment = s3.as_ref().map(S3Server::settings).unwrap_or_default();
        let object_store = match s3 {
            Some(_) => format!("s3://{BUCKET}/objects"),
            None => folder.path().join("objects").display().to_string(),
        };
        let postgres = Postgres::start()?;
        let arguments = coordinator("127.0.0.1:0", &postgres.url(), &object_store);
        let log = folder.path().join("coordinator.log");
        let coordinator = Process::start("ursa-coordinator", &arguments, &environment, &log).await?;
        let client = Client::new(coordinator.address("grpc"))?;
        let (workers, nodes) = (Vec::new(), Vec::new());
        Ok(Self {
            workers,
            nodes,
            coordinator,
            postgres,
            client,
            web,
            object_store,
            environment,
            _s3: s3,
            folder,
            is_looked_at: false,
        })
    }

    /// Starts a worker with one slot and one thread, so that two of them are two cores.
    pub async fn add_worker(&mut self) -> anyhow::Result<usize> {
        self.add_worker_through(&[]).await
    }

    /// As [`System::add_worker`], with a program in front that starts it.
    pub async fn add_worker_through(&mut self, wrapper: &[&str]) -> anyhow::Result<usize> {
        let name = format!("worker-{}", self.workers.len());
        let arguments = [
            ("--name", name.clone()),
            ("--slots", "1".to_owned()),
            ("--threads", "1".to_owned()),
            // What it has when it is told to stop, it gives back at once.
            ("--drain-timeout", "0s".to_owned()),
            ("--cache-dir", self.folder.path().join("cache").display().to_string()),
        ];
        let arguments = self.peer(&arguments);
        let log = self.log(&name);
        self.workers.push(Process::start_through(wrapper, "ursa-worker", &arguments, &self.environment, &log).await?);
        Ok(self.workers.len() - 1)
    }

    /// Starts an inference node.
    pub async fn add_node(&mut self) -> anyhow::Result<usize> {
        let name = format!("node-{}", self.nodes.len());
        let arguments = self.peer(&[("--name", name.clone()), ("--threads", "1".to_owned())]);
        self.nodes.push(Process::start("ursa-inference", &arguments, &self.environment, &self.log(&name)).await?);
        Ok(self.nodes.len() - 1)
    }

    /// Starts a coordinator beside the first, with the same database and objects. It ends when it is dropped.
    pub async fn another_coordinator(&self) -> anyhow::Result<Process> {
        let arguments = coordinator("127.0.0.1:0", &self.postgres.url(), &self.object_store);
        Process::start("ursa-coordinator", &arguments, &self.environment, &self.log("other-coordinator")).await
    }

    /// Kills the coordinator and starts another one in its place.
    pub async fn replace_coordinator(&mut self) -> anyhow::Result<()> {
        self.coordinator.kill()?;
        let address = self.coordinator.address("grpc").trim_start_matches("http://").to_owned();
        let arguments = coordinator(&address, &self.postgres.url(), &self.object_store);
        self.coordinator =
            Process::start("ursa-coordinator", &arguments, &self.environment, &self.log("coordinator")).await?;
        Ok(())
    }

    /// Kills the trainer of a worker.
    pub fn kill_trainer(&self, worker: usize) -> anyhow::Result<Pid> {
        let trainers = self.workers[worker].children("ursa-trainer")?;
        let trainer = *trainers.first().ok_or_else(|| anyhow::anyhow!("worker {worker} has no trainer"))?;
        kill(trainer, Signal::SIGKILL)?;
        Ok(trainer)
    }

    /// What every service has logged, for a test that fails.
    pub fn logs(&self) -> String {
        let all = self.workers.iter().chain(&self.nodes).chain([&self.coordinator]);
        all.map(Process::log).collect::<Vec<_>>().join("\n")
    }

    /// Lines that somebody should look at: warnings and errors of any service, and none that is `expected`. What every
    /// test asks at its end.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn alarms(&mut self, expected: &[Expected]) -> anyhow::Result<Vec<String>> {
        self.is_looked_at = true;
        Ok(logs::alarms(self.folder.path(), expected)?)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    fn peer(&self, own: &[(&str, String)]) -> Vec<String> {
        let common = [
            ("--coordinator", self.coordinator.address("grpc").to_owned()),
            ("--object-store", self.object_store.clone()),
            ("--allow-network", format!("127.0.0.1/32:{}", self.web.address().port())),
        ];
        common.iter().chain(own).flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]).collect()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let is_forgotten = !self.is_looked_at && !std::thread::panicking();
        assert!(!is_forgotten, "a test of the system has to look at its `alarms`");
    }
}

/// Short leases, so that tests of lost workers are short.
fn coordinator(listen: &str, database_url: &str, object_store: &str) -> Vec<String> {
    let arguments = [
        ("--listen", listen),
        ("--database-url", database_url),
        ("--object-store", object_store),
        ("--lease", "3s"),
        ("--report-interval", "200ms"),
    ];
    arguments.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect()
}
