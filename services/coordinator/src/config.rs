//! Everything that can be set, each where it is declared. Flags win over environment variables, those over defaults.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;

/// Keeps datasets and jobs in Postgres, dispatches work to workers and models to inference nodes.
#[derive(Debug, Clone, Parser)]
#[command(name = "ursa-coordinator", version)]
pub struct Config {
    /// Address to answer gRPC on. Beyond loopback is refused: there is no TLS and no authentication yet.
    #[arg(long, env = "URSA_LISTEN", default_value = "127.0.0.1:7400")]
    pub listen: SocketAddr,

    /// Postgres to keep everything in.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,

    /// Connections to Postgres.
    #[arg(long, env = "URSA_DATABASE_CONNECTIONS", default_value_t = 16)]
    pub database_connections: u32,

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
}

impl Config {
    /// After this long without a report, a worker or node counts as offline.
    pub fn patience(&self) -> Duration {
        self.report_interval * 3
    }
}
