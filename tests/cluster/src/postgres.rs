//! A Postgres server of one test.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tempfile::TempDir;
use ursa_postgres::{Cluster, Options, Server};

use crate::proxy::{Proxy, Upstream};

/// A running server; killed and removed when dropped. Start it from the test's own thread: it ends with that.
#[derive(Debug)]
pub struct Postgres {
    // Dropped in this order: the server before its folder.
    server: Option<Server>,
    cluster: Cluster,
    _dir: TempDir,
}

impl Postgres {
    /// Makes a cluster in a new folder and starts it.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// The same, with more settings as in `postgresql.conf`, by name.
    pub fn start_with(more: &[(&str, &str)]) -> anyhow::Result<Self> {
        // The server's user has to get to its own folder in there.
        let walkable = Permissions::from_mode(0o711);
        let dir = tempfile::Builder::new().prefix("ursa-pg-").permissions(walkable).tempdir_in("/tmp")?;
        let settings = [("shared_buffers", "32MB"), ("max_connections", "60")];
        let settings = settings.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = settings.collect();
        let options = Options { durable: false, settings, ..Options::default() };
        let cluster = Cluster::prepare(&dir.path().join("postgres"), options)?;
        let mut postgres = Self { server: None, cluster, _dir: dir };
        postgres.resume()?;
        Ok(postgres)
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        self.cluster.url()
    }

    /// A proxy before it, and where clients find it through that.
    pub fn behind_a_proxy(&self) -> anyhow::Result<(Proxy, String)> {
        let proxy = Proxy::start(Upstream::Unix(self.cluster.socket()))?;
        let url = self.cluster.url_through(proxy.address());
        Ok((proxy, url))
    }

    /// Asks for one value; or runs statements, in one transaction.
    pub async fn ask(&self, query: &str) -> anyhow::Result<String> {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        psql.args(["--dbname", &self.url(), "--command", query]);
        let output = tokio::task::spawn_blocking(move || psql.output()).await??;
        anyhow::ensure!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Stops it at once, as a crash would.
    pub fn crash(&mut self) -> anyhow::Result<()> {
        match self.server.take() {
            Some(mut server) => Ok(server.crash()?),
            None => Ok(()),
        }
    }

    /// Starts it again on the same data.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.server = Some(Server::start(&mut self.cluster)?);
        Ok(())
    }
}
