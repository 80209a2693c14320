//! A worker in this process: attached by a real session, it does nothing, at once, and notes when each task came.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use ursa_client::Client;
use ursa_proto::{SESSION_PROTOCOL_VERSION, v1};
use uuid::Uuid;

const REPORT: Duration = Duration::from_secs(2);

/// See the module. Ends when dropped.
pub(crate) struct Attendant {
    working: JoinHandle<anyhow::Result<()>>,
    starts: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Attendant {
    /// Attaches itself.
    pub(crate) fn attach(client: &Client, slots: u32, kinds: &[&str]) -> Self {
        let report = v1::WorkerReport {
            worker_id: Uuid::new_v4().to_string(),
            name: "attendant".into(),
            protocol_version: SESSION_PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            slots,
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            ..v1::WorkerReport::default()
        };
        let starts = Arc::<Mutex<HashMap<String, Instant>>>::default();
        let working = tokio::spawn(work(client.clone(), report, starts.clone()));
        Self { working, starts }
    }

    /// When the first task of each job came.
    pub(crate) fn starts(&self) -> HashMap<String, Instant> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.working.abort();
    }
}

async fn work(
    client: Client,
    report: v1::WorkerReport,
    starts: Arc<Mutex<HashMap<String, Instant>>>,
) -> anyhow::Result<()> {
    let (reports, receiver) = mpsc::channel(4);
    reports.send(report.clone()).await?;
    let mut orders = client.workers().session(ReceiverStream::new(receiver)).await?.into_inner();
    let mut interval = tokio::time::interval(REPORT);
    loop {
        let orders = tokio::select! {
            orders = orders.message() => orders?,
            _ = interval.tick() => {
                reports.send(report.clone()).await?;
                continue;
            }
        };
        let Some(orders) = orders else { return Ok(()) };
        let now = Instant::now();
        for order in orders.start {
            starts.lock().unwrap_or_else(PoisonError::into_inner).entry(order.job_id).or_insert(now);
            let client = client.clone();
            tokio::spawn(async move {
                let result = Some(v1::complete_task_request::Result::Probe(v1::ProbeResult {}));
                let request = v1::CompleteTaskRequest { lease: order.lease, result };
                // What is not completed shows in the figures.
                let _ = client.workers().complete_task(request).await;
            });
        }
    }
}
