//! What is measured on: a Postgres that syncs every commit, a coordinator and workers as processes.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use ursa_client::Client;
use ursa_postgres::{Cluster, Options, Server};
use ursa_proto::v1;
use ursa_system::Process;

use crate::tables::Tables;

const SETTINGS: [(&str, &str); 10] = [
    ("shared_buffers", "1GB"),
    ("max_wal_size", "8GB"),
    // As much of its log it writes over, as a Postgres that has run for a while does: a new file of it holds up all commits.
    ("min_wal_size", "2GB"),
    // The peer takes one for each of its slots.
    ("max_connections", "1200"),
    ("checkpoint_timeout", "15min"),
    ("shared_preload_libraries", "pg_stat_statements,auto_explain"),
    // Of what is asked for by `plans`; until then, and after it, nothing is explained.
    ("auto_explain.log_format", "json"),
    ("auto_explain.log_analyze", "on"),
    ("auto_explain.log_buffers", "on"),
    ("auto_explain.log_timing", "off"),
];
const STATISTICS: &str = "create extension pg_stat_statements";
/// The database with full tables.
const FULL: &str = "full";
/// The job after which everything has been used once.
const WARM_UP: u32 = 200;
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module. Everything ends with it.
pub(crate) struct Ground {
    // Dropped in this order: what writes before what it writes to.
    workers: Vec<Process>,
    coordinator: Option<Process>,
    _server: Server,
    cluster: Cluster,
    tables: Tables,
    folder: TempDir,
    pub(crate) fsyncs_per_second: f64,
    pub(crate) postgres_version: String,
    pub(crate) postgres_settings: BTreeMap<String, String>,
}

/// What a process has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Processor time, in seconds.
    pub(crate) cpu: f64,
    /// Resident memory, in MiB.
    pub(crate) memory: f64,
}

impl Ground {
    /// Starts Postgres.
    pub(crate) fn prepare() -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::Builder::new()
            .prefix("ursa-bench-")
            .permissions(std::fs::Permissions::from_mode(0o711))
            .tempdir()?;
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let options = Options { durable: true, settings, ..Options::default() };
        let mut cluster = Cluster::prepare(&folder.path().join("postgres"), options)?;
        let server = Server::start(&mut cluster)?;
        let mut ground = Self {
            workers: Vec::new(),
            coordinator: None,
            _server: server,
            cluster,
            tables: Tables::Empty,
            folder,
            fsyncs_per_second: 0.0,
            postgres_version: String::new(),
            postgres_settings: BTreeMap::new(),
        };
        ground.sql(STATISTICS)?;
        ground.postgres_version = ground.sql("show server_version")?;
        ground.write_log()?;
        for name in [
            "fsync",
            "synchronous_commit",
            "full_page_writes",
            "shared_buffers",
            "min_wal_size",
            "max_wal_size",
            "wal_sync_method",
        ] {
            let value = ground.sql(&format!("show {name}"))?;
            ground.postgres_settings.insert(name.to_owned(), value);
        }
        ensure!(ground.postgres_settings["fsync"] == "on", "Postgres does not sync: the figures would mean nothing");
        ground.fsyncs_per_second = ground.count_commits()?;
        Ok(ground)
    }

    /// Has Postgres write as much of its log as it keeps, so that it has files to write over.
    fn write_log(&self) -> anyhow::Result<()> {
        self.sql(
            "select count(pg_logical_emit_message(false, '', repeat('-', 16000000))) from generate_series(1, 140)",
        )?;
        self.checkpoint()
    }

    /// Has Postgres put in order what came before, its log, too.
    pub(crate) fn checkpoint(&self) -> anyhow::Result<()> {
        self.sql("checkpoint").map(drop)
    }

    /// How many commits one connection makes per second: what the disk allows.
    fn count_commits(&self) -> anyhow::Result<f64> {
        self.sql("create table commits (n integer)")?;
        let script = "do $$ begin for i in 1..500 loop insert into commits values (i); commit; end loop; end $$";
        let begin = Instant::now();
        self.sql(script)?;
        let rate = 500.0 / begin.elapsed().as_secs_f64();
        self.sql("drop table commits")?;
        Ok(rate)
    }

    /// Where the database is.
    pub(crate) fn database_url(&self) -> String {
        let url = self.cluster.url();
        match self.tables {
            Tables::Empty => url,
            Tables::Full => url.replacen("/postgres?", &format!("/{FULL}?"), 1),
        }
    }

    /// Goes on with the database whose tables are so. Which are full, [`crate::tables::fill`] has to fill first.
    pub(crate) fn turn_to(&mut self, tables: Tables) -> anyhow::Result<()> {
        self.clear()?;
        self.tables = Tables::Empty;
        let is_there = format!("select exists (select from pg_database where datname = '{FULL}')");
        if tables == Tables::Full && self.sql(&is_there)? == "f" {
            self.sql(&format!("create database \"{FULL}\""))?;
            self.tables = tables;
            self.sql(STATISTICS)?;
        }
        self.tables = tables;
        Ok(())
    }

    /// Runs SQL and gives back what it prints.
    pub(crate) fn sql(&self, statement: &str) -> anyhow::Result<String> {
        psql(&self.database_url(), statement)
    }

    /// What Postgres has logged after the first `from` bytes.
    pub(crate) fn postgres_log(&self, from: usize) -> anyhow::Result<Vec<u8>> {
        let mut log = std::fs::read(self.cluster.log().path())?;
        Ok(log.split_off(from.min(log.len())))
    }

    /// Ends the workers and the coordinator: what is measured next begins with empty memories.
    pub(crate) fn clear(&mut self) -> anyhow::Result<()> {
        self.workers.clear();
        if let Some(mut coordinator) = self.coordinator.take() {
            coordinator.stop()?;
        }
        Ok(())
    }

    /// Starts a coordinator, unless one runs, and gives a client of it.
    pub(crate) async fn coordinator(&mut self) -> anyhow::Result<Client> {
        if self.coordinator.is_none() {
            let objects = self.folder.path().join("objects");
            let arguments = [
                ("--listen", "127.0.0.1:0".to_owned()),
                ("--database-url", self.database_url()),
                ("--object-store", objects.display().to_string()),
            ];
            let arguments: Vec<String> =
                arguments.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]).collect();
            let log = self.folder.path().join("coordinator.log");
            self.coordinator = Some(Process::start("ursa-coordinator", &arguments, &[], &log).await?);
        }
        Ok(Client::new(self.address())?)
    }

    fn address(&self) -> &str {
        self.coordinator.as_ref().map_or("", |coordinator| coordinator.address("grpc"))
    }

    /// Starts two worker processes that only answer probes, with `slots` between them.
    pub(crate) async fn add_workers(&mut self, slots: u32) -> anyhow::Result<()> {
        self.add_worker(slots / 2, &[], &[]).await?;
        self.add_worker(slots / 2, &[], &[]).await
    }

    /// Starts a worker process that only answers probes, with `slots`, further flags and an environment.
    pub(crate) async fn add_worker(
        &mut self,
        slots: u32,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let name = format!("worker-{}", self.workers.len());
        let arguments = [
            ("--coordinator", self.address().to_owned()),
            ("--object-store", self.folder.path().join("objects").display().to_string()),
            ("--kind", "probe".to_owned()),
            ("--slots", slots.to_string()),
            ("--name", name.clone()),
            ("--cache-dir", self.folder.path().join("cache").display().to_string()),
        ];
        let mut arguments: Vec<String> =
            arguments.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]).collect();
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let log = self.folder.path().join(format!("{name}.log"));
        self.workers.push(Process::start("ursa-worker", &arguments, &environment, &log).await?);
        Ok(())
    }

    /// Everything that the workers have logged.
    pub(crate) fn worker_logs(&self) -> String {
        self.workers.iter().map(Process::log).collect()
    }

    /// Has everything used once.
    pub(crate) async fn warm_up(&mut self) -> anyhow::Result<()> {
        let client = self.coordinator().await?;
        let job = submit(&client, WARM_UP).await?;
        self.until_done(&client, &job).await
    }

    /// What the coordinator has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        usage(self.coordinator.as_ref().context("no coordinator runs")?.pid())
    }

    /// Statements that Postgres has executed since [`Ground::forget_statements`].
    pub(crate) fn statements(&self) -> anyhow::Result<f64> {
        Ok(self.sql("select coalesce(sum(calls), 0) from pg_stat_statements")?.parse()?)
    }

    /// Seconds that Postgres has spent on them.
    pub(crate) fn executing(&self) -> anyhow::Result<f64> {
        Ok(self.sql("select coalesce(sum(total_exec_time), 0) / 1000 from pg_stat_statements")?.parse()?)
    }

    /// Begins to count statements anew.
    pub(crate) fn forget_statements(&self) -> anyhow::Result<()> {
        self.sql("select pg_stat_statements_reset()").map(drop)
    }

    /// The statements that took most of the time, for whoever looks for what is slow.
    pub(crate) fn slowest(&self) -> anyhow::Result<String> {
        self.sql(
            "select round(total_exec_time) || ' ms ' || calls || ' calls ' || left(regexp_replace(query, '\\s+', ' ', 'g'), 90)
            from pg_stat_statements order by total_exec_time desc limit 24",
        )
    }

    /// Waits until no job is open but the one that fills the tables.
    pub(crate) async fn until_idle(&self) -> anyhow::Result<()> {
        let open = "select exists (select from jobs where name = 'probe' and finished_at is null)";
        let begin = Instant::now();
        while self.sql(open)? == "t" {
            ensure!(begin.elapsed() < PATIENCE, "some jobs do not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until a job has ended well, as whoever watches it does.
    pub(crate) async fn until_done(&self, client: &Client, job: &str) -> anyhow::Result<()> {
        let subject = Some(v1::watch_events_request::Subject::JobId(job.to_owned()));
        let request = v1::WatchEventsRequest { subject, after_id: 0 };
        let mut events = client.jobs().watch_events(request).await?.into_inner();
        let watching = async {
            let mut last = String::new();
            while let Some(event) = events.message().await? {
                if event.kind.starts_with("job.") && event.id > 0 {
                    last = event.kind;
                }
            }
            anyhow::Ok(last)
        };
        let last = tokio::time::timeout(Duration::from_mins(10), watching).await.context("the job does not end")??;
        ensure!(last == "job.succeeded", "the job ended with {last}");
        Ok(())
    }
}

/// As [`Ground::sql`], for whoever knows where Postgres is.
pub(crate) fn psql(url: &str, statement: &str) -> anyhow::Result<String> {
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
        .args(["--dbname", url, "--command", statement])
        .output()?;
    ensure!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A pipeline of one job with `tasks` that do nothing.
pub(crate) fn probe(tasks: u32) -> v1::SubmitPipelineRequest {
    let spec = v1::job_definition::Spec::Probe(v1::ProbeSpec { tasks, duration_ms: 0, failures: 0 });
    let job = v1::JobDefinition { name: "probe".into(), spec: Some(spec), ..v1::JobDefinition::default() };
    let pipeline = v1::PipelineSpec { name: "bench".into(), jobs: vec![job], ..v1::PipelineSpec::default() };
    v1::SubmitPipelineRequest { pipeline: Some(pipeline), idempotency_key: String::new() }
}

/// Submits a pipeline and gives back the id of its only job.
pub(crate) async fn submit(client: &Client, tasks: u32) -> anyhow::Result<String> {
    let answer = client.jobs().submit_pipeline(probe(tasks)).await?.into_inner();
    let job = answer.pipeline.and_then(|pipeline| pipeline.jobs.into_iter().next());
    Ok(job.context("the pipeline has no job")?.id)
}

fn usage(pid: u32) -> anyhow::Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let resident: f64 = pages.split(' ').nth(1).and_then(|field| field.parse().ok()).unwrap_or_default();
    // Linux counts processor time in hundredths of a second, and memory in pages of 4 KiB.
    Ok(Usage { cpu: (ticks(11) + ticks(12)) / 100.0, memory: resident * 4.0 / 1024.0 })
}
