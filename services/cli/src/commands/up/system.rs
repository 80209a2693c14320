//! Everything together: started in order, stopped in the opposite order.

use ursa_client::Client;

use super::announced::Announced;
use super::data::DataFolder;
use super::plan::Plan;
use super::postgres::{self, Postgres};
use super::readiness;
use super::record::{Record, Registry};
use super::supervise::{Service, Supervised};
use crate::say;

/// What runs, in the order of starting.
#[derive(Debug)]
pub(super) struct System {
    registry: Registry,
    services: Vec<Supervised>,
}

impl System {
    /// Nothing yet.
    pub(super) fn new(data: &DataFolder, plan: &Plan) -> Self {
        let record =
            Record { data_dir: data.root().to_owned(), object_store: plan.object_store.clone(), ..Record::default() };
        Self { registry: Registry::new(data.record(), record), services: Vec::new() }
    }

    /// What runs where.
    pub(super) fn record(&self) -> Record {
        self.registry.record()
    }

    /// Starts everything and waits until it answers.
    pub(super) async fn start(&mut self, data: &DataFolder, plan: Plan) -> anyhow::Result<()> {
        let database_url = self.database(data, &plan).await?;
        say("starting the coordinator…");
        let spec = plan.coordinator(&database_url);
        self.begin(Announced::new(spec, &data.logs())).ready().await?;
        let coordinator = self.record().coordinator;
        self.peers(data, &plan, &coordinator).await?;
        readiness::wait(&Client::new(&coordinator)?, &self.record()).await?;
        self.registry.edit(|record| record.ready = true);
        Ok(())
    }

    /// Stops everything, the last started first.
    pub(super) async fn stop(&mut self) {
        if !self.services.is_empty() {
            say("stopping…");
        }
        while let Some(service) = self.services.pop() {
            service.stop().await;
        }
        self.registry.remove();
    }

    /// The database that was named, or a private one, running.
    async fn database(&mut self, data: &DataFolder, plan: &Plan) -> anyhow::Result<String> {
        if let Some(url) = &plan.database_url {
            say("using the Postgres that --database-url or DATABASE_URL names");
            return Ok(url.clone());
        }
        say("starting Postgres…");
        let log = data.logs().join(format!("{}.log", postgres::NAME));
        let private = Postgres::prepare(&data.postgres(), &log).await?;
        let (url, folder) = (private.url(), private.folder().to_owned());
        self.registry.edit(|record| record.database_dir = Some(folder));
        self.begin(private).ready().await?;
        Ok(url)
    }

    /// Workers, nodes and the dashboard, all at once.
    async fn peers(&mut self, data: &DataFolder, plan: &Plan, coordinator: &str) -> anyhow::Result<()> {
        let (workers, nodes) = (counted(plan.workers, "worker"), counted(plan.nodes, "node"));
        say(&format!("starting {workers}, {nodes} and the dashboard…"));
        let first = self.services.len();
        for spec in plan.peers(coordinator) {
            self.begin(Announced::new(spec, &data.logs()));
        }
        for service in &mut self.services[first..] {
            service.ready().await?;
        }
        Ok(())
    }

    fn begin(&mut self, service: impl Service) -> &mut Supervised {
        let place = self.services.len();
        self.services.push(Supervised::start(service, self.registry.clone()));
        &mut self.services[place]
    }
}

fn counted(count: u16, what: &str) -> String {
    match count {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
