//! A worker in this process: attached by a real session, it takes a kind of task that nobody asks for.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use ursa_client::Client;
use ursa_proto::{SESSION_PROTOCOL_VERSION, v1};
use uuid::Uuid;

const REPORT: Duration = Duration::from_secs(2);

/// See the module. Ends when dropped.
pub(crate) struct Attendant(JoinHandle<anyhow::Result<()>>);

impl Attendant {
    /// Attaches itself.
    pub(crate) fn attach(client: &Client) -> Self {
        let report = v1::WorkerReport {
            worker_id: Uuid::new_v4().to_string(),
            name: "attendant".into(),
            protocol_version: SESSION_PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            slots: 1,
            kinds: vec!["train".into()],
            ..v1::WorkerReport::default()
        };
        Self(tokio::spawn(attend(client.clone(), report)))
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn attend(client: Client, report: v1::WorkerReport) -> anyhow::Result<()> {
    let (reports, receiver) = mpsc::channel(4);
    reports.send(report.clone()).await?;
    let mut orders = client.workers().session(ReceiverStream::new(receiver)).await?.into_inner();
    let mut interval = tokio::time::interval(REPORT);
    loop {
        tokio::select! {
            orders = orders.message() => if orders?.is_none() { return Ok(()) },
            _ = interval.tick() => reports.send(report.clone()).await?,
        }
    }
}
