//! The private Postgres as one more service that is kept running.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Child;
use ursa_postgres::{Cluster, FAREWELL, Options};
use ursa_process::Log;

use super::plan::Announcement;
use super::supervise::{Farewell, Service};

/// What it is called in records and messages.
pub(super) const NAME: &str = "postgres";
const LOOK: Duration = Duration::from_millis(20);

/// A cluster to serve.
#[derive(Debug)]
pub(super) struct Postgres(Cluster);

impl Postgres {
    /// Makes the cluster if there is none yet, and ends a server that was left over on it.
    pub(super) async fn prepare(folder: &Path, log: &Path) -> anyhow::Result<Self> {
        let (folder, log) = (folder.to_owned(), Some(log.to_owned()));
        let prepare = move || Cluster::prepare(&folder, Options { log, ..Options::default() });
        Ok(Self(tokio::task::spawn_blocking(prepare).await??))
    }

    /// Where clients find it.
    pub(super) fn url(&self) -> String {
        self.0.url()
    }

    /// Where its data really are.
    pub(super) fn folder(&self) -> &Path {
        self.0.folder()
    }
}

impl Service for Postgres {
    fn name(&self) -> &str {
        NAME
    }

    fn command(&mut self) -> anyhow::Result<Command> {
        Ok(self.0.command()?)
    }

    fn log(&self) -> &Log {
        self.0.log()
    }

    fn farewell(&self) -> &'static [Farewell] {
        &FAREWELL
    }

    async fn prepare(&mut self) -> anyhow::Result<()> {
        let cluster = self.0.clone();
        Ok(tokio::task::spawn_blocking(move || cluster.clear()).await??)
    }

    async fn ready(&mut self, child: &mut Child) -> anyhow::Result<Announcement> {
        let pid = child.id().context("it has ended already")?;
        while !self.0.is_ready(pid) {
            if child.try_wait()?.is_some() {
                bail!("it ended before it was ready");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Announcement::new())
    }
}
