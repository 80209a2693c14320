//! Everything that can be set, each where it is declared. Flags win over environment variables, those over defaults.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use ursa_fetch::Network;

use crate::expiry::Expiry;
use crate::guard::host_name;

/// Keeps datasets and jobs in Postgres, dispatches work to workers and models to inference nodes.
#[derive(Debug, Clone, Parser)]
#[command(name = "ursa-coordinator", version)]
pub struct Config {
    /// Address to answer gRPC on. Beyond loopback is refused: there is no TLS and no authentication yet.
    #[arg(long, env = "URSA_LISTEN", default_value = "127.0.0.1:7400")]
    pub listen: SocketAddr,

    /// Name that pages in a browser may call this coordinator by, over gRPC-Web, and may themselves be served from, such as a
    /// proxy's: `ursa.example`. IP addresses and `localhost` are always allowed, other names could be anybody's. May be given
    /// several times.
    #[arg(
        long = "allow-host",
        env = "URSA_ALLOW_HOST",
        value_delimiter = ',',
        value_name = "NAME",
        value_parser = host_name
    )]
    pub allow_hosts: Vec<String>,

    /// Postgres to keep everything in.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,

    /// Connections to Postgres; a quarter as many more are for lists, and three are for dispatching.
    #[arg(long, env = "URSA_DATABASE_CONNECTIONS", default_value_t = 16)]
    pub database_connections: u32,

    /// A Postgres that says nothing for so long is taken for gone, and its connections for broken: one whose machine vanishes
    /// tells nobody. Longer than the 30 seconds for which statements wait for locks.
    #[arg(long, env = "URSA_DATABASE_PATIENCE", default_value = "1m", value_parser = humantime::parse_duration)]
    pub database_patience: Duration,

    /// Object store: a folder, `file:///folder` or `s3://bucket/prefix` (with the usual `AWS_*` variables).
    #[arg(long, env = "URSA_OBJECT_STORE")]
    pub object_store: String,

    /// How long a lease lives without a report from its worker.
    #[arg(long, env = "URSA_LEASE", default_value = "10s", value_parser = humantime::parse_duration)]
    pub lease: Duration,

    /// How often workers and nodes report at least. At most a third of the lease makes sense.
    #[arg(long, env = "URSA_REPORT_INTERVAL", default_value = "2s", value_parser = humantime::parse_duration)]
    pub report_interval: Duration,

    /// How long a worker has to stop an attempt it was asked to stop. Then its lease is taken back, whatever it does.
    #[arg(long, env = "URSA_STOP_GRACE", default_value = "30s", value_parser = humantime::parse_duration)]
    pub stop_grace: Duration,

    /// How long a task that has begun before is left at work, for every attempt before this one, until it may be asked to make
    /// room for a more urgent job. Long enough to get on: a run that is asked back stores a checkpoint first, but begins again.
    #[arg(long, env = "URSA_LEAST_AT_WORK", default_value = "10m", value_parser = humantime::parse_duration)]
    pub least_at_work: Duration,

    /// For how long uploads of an attempt may still arrive when it has ended without counting, or when a worker is heard of again
    /// whose lease was taken back. What an attempt that has ended uploaded is deleted at once; what comes later, when this is over.
    #[arg(long, env = "URSA_UPLOAD_GRACE", default_value = "10m", value_parser = humantime::parse_duration)]
    pub upload_grace: Duration,

    /// Version of the code that does the work of jobs: what came of a job is taken over by a pipeline that is run again only
    /// where this version planned it, and workers of no other (their `--code-version`) had a hand in it. By default it changes
    /// with every change of that code.
    #[arg(long, env = "URSA_CODE_VERSION", default_value = ursa_version::CODE)]
    pub code_version: String,

    /// Private network that webhooks may lead to, as CIDR with an optional port, for instance `127.0.0.1/32:8080`. May be
    /// given several times.
    #[arg(long = "allow-network", env = "URSA_ALLOW_NETWORK", value_delimiter = ',', value_name = "CIDR[:PORT]")]
    pub allow_networks: Vec<Network>,

    /// How long to wait before an event that a webhook did not take is sent to it again; doubles up to an hour.
    #[arg(long, env = "URSA_WEBHOOK_FIRST_WAIT", default_value = "5s", value_parser = humantime::parse_duration)]
    pub webhook_first_wait: Duration,

    /// After how long pipelines are deleted, with their jobs, tasks and whatever those wrote: counted from the end of the
    /// last job. Datasets, snapshots and models stay. As everywhere here, `never` and `0` keep them for ever.
    #[arg(long, env = "URSA_DELETE_JOBS_AFTER", default_value = "90d")]
    pub delete_jobs_after: Expiry,

    /// After how long events are deleted, counted from their job's end; with their pipeline at the latest.
    #[arg(long, env = "URSA_DELETE_EVENTS_AFTER", default_value = "90d")]
    pub delete_events_after: Expiry,

    /// After how long measurements are deleted, counted from their job's end; with their pipeline at the latest.
    #[arg(long, env = "URSA_DELETE_METRICS_AFTER", default_value = "90d")]
    pub delete_metrics_after: Expiry,

    /// After how long logs are deleted, counted from their job's end; with their pipeline at the latest.
    #[arg(long, env = "URSA_DELETE_LOGS_AFTER", default_value = "90d")]
    pub delete_logs_after: Expiry,

    /// After how long what was sent to webhooks is deleted, counted from when it arrived or was given up.
    #[arg(long, env = "URSA_DELETE_DELIVERIES_AFTER", default_value = "30d")]
    pub delete_deliveries_after: Expiry,

    /// After how long workers and nodes that do not report are forgotten.
    #[arg(long, env = "URSA_FORGET_PEERS_AFTER", default_value = "30d")]
    pub forget_peers_after: Expiry,
}

impl Config {
    /// After this long without a report, a worker or node counts as offline.
    pub fn patience(&self) -> Duration {
        self.report_interval * 3
    }
}
