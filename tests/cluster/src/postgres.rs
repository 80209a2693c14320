//! A Postgres server of one test.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;
use ursa_postgres::{Cluster, Options, Server};

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
        // The server's user has to get to its own folder in there.
        let walkable = Permissions::from_mode(0o711);
        let dir = tempfile::Builder::new().prefix("ursa-pg-").permissions(walkable).tempdir_in("/tmp")?;
        let settings = [("shared_buffers", "32MB"), ("max_connections", "60")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
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
