//! Everything that can be set, each where it is declared. Flags win over environment variables, those over defaults.

use std::net::SocketAddr;

use clap::Parser;
use ursa_fetch::Network;

/// Serves trained models on the processor: gets them from the object store, proves them, answers over HTTP and gRPC.
#[derive(Debug, Clone, Parser)]
#[command(name = "ursa-inference", version)]
pub struct Config {
    /// The coordinator that says what to serve; of several, given one by one or with commas between them, any that
    /// answers. While it is away, what is loaded stays served.
    #[arg(long = "coordinator", env = ursa_client::COORDINATOR_VARIABLE, value_delimiter = ',', value_name = "URL",
          default_value = ursa_client::DEFAULT_COORDINATOR)]
    pub coordinators: Vec<String>,

    /// Object store: a folder, `file:///folder` or `s3://bucket/prefix` (with the usual `AWS_*` variables).
    #[arg(long, env = "URSA_OBJECT_STORE")]
    pub object_store: String,

    /// Name for people; the host's name unless given.
    #[arg(long, env = "URSA_NAME")]
    pub name: Option<String>,

    /// Address to answer HTTP on; port 0 takes a free one. Beyond loopback is refused: there is no TLS yet.
    #[arg(long, env = "URSA_HTTP", default_value = "127.0.0.1:0")]
    pub http: SocketAddr,

    /// Address to answer gRPC on; port 0 takes a free one. Beyond loopback is refused: there is no TLS yet.
    #[arg(long, env = "URSA_GRPC", default_value = "127.0.0.1:0")]
    pub grpc: SocketAddr,

    /// Private network that pictures may be fetched from, as CIDR with an optional port, for instance
    /// `127.0.0.1/32:8080`. May be given several times.
    #[arg(long = "allow-network", env = "URSA_ALLOW_NETWORK", value_delimiter = ',', value_name = "CIDR[:PORT]")]
    pub allow_networks: Vec<Network>,

    /// Threads that models compute with; the cores this process may use unless given.
    #[arg(long, env = "URSA_THREADS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

impl Config {
    /// Closed by default: without TLS and tokens nobody beyond this machine may reach a service.
    pub(crate) fn refuse_open_doors(&self) -> anyhow::Result<()> {
        match [self.http, self.grpc].into_iter().find(|address| !address.ip().is_loopback()) {
            Some(open) => anyhow::bail!(
                "refusing to listen on {open}: without TLS and tokens only loopback addresses are allowed"
            ),
            None => Ok(()),
        }
    }

    /// The configured threads, or the cores this process may use.
    pub(crate) fn threads(&self) -> usize {
        self.threads.map_or_else(ursa_learner::usable_cores, usize::from)
    }

    /// The configured name, or the host's.
    pub(crate) fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            if host.trim().is_empty() { "inference".to_owned() } else { host.trim().to_owned() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Config {
        Config::parse_from(["ursa-inference", "--object-store", "/tmp/objects"].iter().chain(flags))
    }

    #[test]
    fn the_declaration_is_sound() {
        use clap::CommandFactory as _;
        Config::command().debug_assert();
    }

    #[test]
    fn listening_beyond_loopback_is_refused_with_the_address_named() {
        assert!(parse(&[]).refuse_open_doors().is_ok());
        for flag in ["--http", "--grpc"] {
            let refused = parse(&[flag, "0.0.0.0:8080"]).refuse_open_doors().unwrap_err().to_string();
            assert!(refused.contains("0.0.0.0:8080"), "{refused}");
        }
    }

    #[test]
    fn threads_are_those_given_or_those_there_are() {
        assert_eq!(parse(&["--threads", "3"]).threads(), 3);
        assert!(parse(&[]).threads() >= 1);
    }
}
