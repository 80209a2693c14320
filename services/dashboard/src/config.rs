//! Everything that can be set, each where it is declared. Flags win over environment variables, those over defaults.

use std::net::SocketAddr;

use clap::Parser;

/// Web pages over the coordinator's gRPC API: jobs, datasets, models and a box to try an endpoint.
#[derive(Debug, Clone, Parser)]
#[command(name = "ursa-dashboard", version)]
pub struct Config {
    /// The coordinator to show.
    #[arg(long, env = ursa_client::COORDINATOR_VARIABLE, default_value = ursa_client::DEFAULT_COORDINATOR)]
    pub coordinator: String,

    /// Address to answer HTTP on; port 0 takes a free one. Beyond loopback is refused: there is no TLS and no
    /// authentication yet.
    #[arg(long, env = "URSA_DASHBOARD_LISTEN", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
}
