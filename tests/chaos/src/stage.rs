//! The system that faults are done to: real processes, and a proxy of ours on every way between them.
//!
//! Processes end with the thread that starts them, so everything here is for the program's first thread alone.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::timeout;
use ursa_client::Client;
use ursa_cluster::proxy::{Proxy, Upstream};
use ursa_demo_web::{DemoWeb, DemoWebConfig};
use ursa_postgres::{Cluster, Options, Server};
use ursa_storage::testing::{BUCKET, S3Server};
use ursa_storage::{Key, Storage};
use ursa_system::Process;
use uuid::Uuid;

use crate::fault::{COORDINATORS, WORKERS};

/// How long anything may take to start when nothing goes wrong.
const START: Duration = Duration::from_secs(30);
/// How long a lease lives without a report. Faults are measured by it.
const LEASE: &str = "3s";
const REPORT_INTERVAL: &str = "200ms";
/// How long a coordinator waits for an answer of Postgres. Longer than it stands still at most.
const DATABASE_PATIENCE: &str = "4s";
/// For how long uploads may still arrive of a worker that is heard of again: it may be stopped once more before it hears that
/// its lease is gone, has ten seconds to end its trainer then, and the store may be slow.
const UPLOAD_GRACE: &str = "20s";
/// Less than a probe takes: those that a fault has begin again make room, too.
const LEAST_AT_WORK: &str = "100ms";
/// Tasks at a time and worker.
const SLOTS: &str = "8";
/// The folder of the object store, and where in its bucket the objects lie.
const STORE: &str = "s3";
const PREFIX: &str = "objects";
/// Each call that a worker makes leaves a line with the time by its clock.
const WORKER_LOG: &str = "info,tower::buffer=debug";
/// A web that has every kind of dirt.
const WEB: (u32, u32) = (12, 65);

/// A place for a process: who sits there changes, the place does not.
pub struct Seat {
    name: String,
    log: PathBuf,
    /// What the clock of whoever sits here is set to.
    clock: PathBuf,
    process: Option<Process>,
}

/// See the module.
pub struct Stage {
    // Dropped in this order: what writes before what it writes to.
    /// Workers.
    pub workers: Vec<Seat>,
    /// Coordinators.
    pub coordinators: Vec<Seat>,
    /// Before each coordinator.
    pub coordinator_ways: Vec<Proxy>,
    /// Before Postgres, one for each coordinator.
    pub database_ways: Vec<Proxy>,
    /// Before the object store.
    pub store_way: Proxy,
    /// What is scraped.
    pub web: DemoWeb,
    /// Tells a user that something is urgent.
    pub urgent: Arc<Notify>,
    server: Option<Server>,
    cluster: Cluster,
    s3: S3Server,
    libfaketime: PathBuf,
    folder: TempDir,
}

impl Stage {
    /// Starts everything; logs go to `logs`.
    pub async fn set(logs: &Path) -> anyhow::Result<Self> {
        // The server's user has to get to its own folder in there.
        let walkable = std::fs::Permissions::from_mode(0o711);
        let folder = tempfile::Builder::new().prefix("ursa-chaos-").permissions(walkable).tempdir_in("/tmp")?;
        let (per_class, dirt_percent) = WEB;
        let web = DemoWeb::start(DemoWebConfig { per_class, dirt_percent, ..DemoWebConfig::default() }).await?;
        let s3 = S3Server::start(&folder.path().join(STORE)).await?;
        let store_way = Proxy::start(Upstream::Tcp(s3.address()))?;
        let mut cluster = postgres(&folder.path().join("postgres"), logs)?;
        let server = Server::start(&mut cluster)?;
        let mut database_ways = Vec::new();
        for _ in 0..COORDINATORS {
            database_ways.push(Proxy::start(Upstream::Unix(cluster.socket()))?);
        }
        let seat = |name: String| Seat {
            log: logs.join(format!("{name}.log")),
            clock: folder.path().join(format!("{name}.clock")),
            name,
            process: None,
        };
        let mut stage = Self {
            workers: (0..WORKERS).map(|which| seat(format!("worker-{which}"))).collect(),
            coordinators: (0..COORDINATORS).map(|which| seat(format!("coordinator-{which}"))).collect(),
            coordinator_ways: Vec::new(),
            database_ways,
            store_way,
            web,
            urgent: Arc::default(),
            server: Some(server),
            cluster,
            s3,
            libfaketime: libfaketime()?,
            folder,
        };
        for which in 0..COORDINATORS {
            stage.add_coordinator(which).await?;
        }
        for which in 0..WORKERS {
            stage.workers[which].set_clock(0)?;
            stage.start_worker(which)?;
        }
        for seat in &mut stage.workers {
            timeout(START, seat.started()).await.context("a worker does not start")??;
        }
        Ok(stage)
    }

    /// Of whichever coordinator is there, by way of the proxies.
    pub fn client(&self) -> anyhow::Result<Client> {
        let addresses = self.addresses();
        Ok(Client::of_several(addresses.iter().map(String::as_str))?)
    }

    /// One of each coordinator, by way of its proxy.
    pub fn clients(&self) -> anyhow::Result<Vec<Client>> {
        Ok(self.addresses().iter().map(|address| Client::new(address)).collect::<Result<_, _>>()?)
    }

    /// The database, past the proxies.
    pub fn database_url(&self) -> String {
        self.cluster.url()
    }

    /// The object store, past the proxies.
    pub fn storage(&self) -> anyhow::Result<Storage> {
        Ok(Storage::open_with(&object_store(), self.s3.settings())?)
    }

    /// Keys of everything in the object store, as it lies on the disk of the server: nobody there is asked.
    pub fn stored(&self) -> anyhow::Result<Vec<Key>> {
        let root = self.folder.path().join(STORE).join(BUCKET).join(PREFIX);
        let (mut keys, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    keys.push(path.strip_prefix(&root)?.to_string_lossy().parse::<Key>()?);
                }
            }
        }
        Ok(keys)
    }

    /// Starts a coordinator, and a way to it.
    async fn add_coordinator(&mut self, which: usize) -> anyhow::Result<()> {
        let mut process = self.coordinator(which, "127.0.0.1:0".to_owned())?;
        timeout(START, process.started()).await.context("a coordinator does not start")??;
        let address = process.address("grpc").trim_start_matches("http://").parse()?;
        self.coordinator_ways.push(Proxy::start(Upstream::Tcp(address))?);
        self.coordinators[which].process = Some(process);
        Ok(())
    }

    /// Starts a coordinator in the place of another one, and does not wait for it. It listens where the one before did.
    pub fn replace_coordinator(&mut self, which: usize) -> anyhow::Result<()> {
        let process = self.coordinator(which, self.coordinator_ways[which].upstream().to_string())?;
        self.coordinators[which].process = Some(process);
        Ok(())
    }

    fn coordinator(&self, which: usize, listen: String) -> anyhow::Result<Process> {
        let arguments = arguments(&[
            ("--listen", listen),
            ("--database-url", self.cluster.url_through(self.database_ways[which].address())),
            ("--object-store", object_store()),
            ("--database-patience", DATABASE_PATIENCE.to_owned()),
            ("--lease", LEASE.to_owned()),
            ("--report-interval", REPORT_INTERVAL.to_owned()),
            ("--upload-grace", UPLOAD_GRACE.to_owned()),
            ("--least-at-work", LEAST_AT_WORK.to_owned()),
        ]);
        Process::spawn("ursa-coordinator", &arguments, &self.store_settings(), &self.coordinators[which].log)
    }

    /// Starts a worker in its place, and does not wait for it. It has a clock that can be set.
    pub fn start_worker(&mut self, which: usize) -> anyhow::Result<()> {
        let seat = &self.workers[which];
        let arguments = arguments(&[
            ("--coordinator", self.addresses().join(",")),
            ("--object-store", object_store()),
            ("--allow-network", format!("127.0.0.1/32:{}", self.web.address().port())),
            ("--cache-dir", self.folder.path().join("cache").display().to_string()),
            ("--name", seat.name.clone()),
            ("--slots", SLOTS.to_owned()),
            ("--threads", "1".to_owned()),
            ("--gpus", "none".to_owned()),
        ]);
        let mut environment = self.store_settings();
        environment.extend(
            [
                ("LD_PRELOAD", self.libfaketime.display().to_string()),
                ("FAKETIME_TIMESTAMP_FILE", seat.clock.display().to_string()),
                ("FAKETIME_CACHE_DURATION", "1".to_owned()),
                // Clocks that are set do not touch the one that only goes on.
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
                ("URSA_LOG", WORKER_LOG.to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let process = Process::spawn("ursa-worker", &arguments, &environment, &seat.log)?;
        self.workers[which].process = Some(process);
        Ok(())
    }

    /// Stops Postgres, in order or as a crash would.
    pub fn stop_postgres(&mut self, in_order: bool) -> anyhow::Result<()> {
        if let Some(mut server) = self.server.take() {
            if in_order { server.stop()? } else { server.crash()? }
        }
        Ok(())
    }

    /// Starts Postgres again on the same data.
    pub fn start_postgres(&mut self) -> anyhow::Result<()> {
        self.server = Some(Server::start(&mut self.cluster)?);
        Ok(())
    }

    /// The process of Postgres that started the others.
    pub fn postmaster(&self) -> Option<u32> {
        self.server.as_ref().and_then(Server::pid)
    }

    fn addresses(&self) -> Vec<String> {
        self.coordinator_ways.iter().map(|way| format!("http://{}", way.address())).collect()
    }

    fn store_settings(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.store_way.address());
        let settings = self.s3.settings().into_iter();
        let through = |(name, value)| if name == "AWS_ENDPOINT_URL" { (name, endpoint.clone()) } else { (name, value) };
        settings.map(through).collect()
    }
}

impl Seat {
    /// Its name, and that of its log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process that sits here, unless it has been killed.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Waits until whoever sits here is ready. Safe to cancel.
    pub async fn started(&mut self) -> anyhow::Result<()> {
        let process = self.process.as_mut().context("nobody is there")?;
        process.started().await
    }

    /// What whoever sat here has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The id of the worker that sits here.
    pub fn worker_id(&self) -> Option<Uuid> {
        self.process.as_ref()?.announced["worker_id"].as_str()?.parse().ok()
    }

    /// Kills whoever sits here; its number.
    pub fn kill(&mut self) -> anyhow::Result<Option<u32>> {
        let Some(mut process) = self.process.take() else { return Ok(None) };
        process.kill()?;
        Ok(Some(process.pid()))
    }

    /// Sets the clock of whoever sits here to so many seconds off.
    pub fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        // Replaced as a whole: it may be read at any moment.
        let new = self.clock.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n"))?;
        Ok(std::fs::rename(new, &self.clock)?)
    }
}

/// One that keeps what it has committed.
fn postgres(folder: &Path, logs: &Path) -> anyhow::Result<Cluster> {
    let settings = [("shared_buffers", "64MB"), ("max_connections", "80"), ("log_checkpoints", "off")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let log = Some(logs.join("postgres.log"));
    Ok(Cluster::prepare(folder, Options { durable: true, settings, log })?)
}

fn object_store() -> String {
    format!("s3://{BUCKET}/{PREFIX}")
}

fn arguments(pairs: &[(&str, String)]) -> Vec<String> {
    pairs.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]).collect()
}

/// The library that sets a process's clock, where Debian puts it.
fn libfaketime() -> anyhow::Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path());
    let mut paths = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    paths
        .find(|path| path.is_file())
        .context("libfaketime is missing, which sets the clocks of workers; install it: apt-get install libfaketime")
}
