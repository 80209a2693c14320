//! The diary of an attempt: log lines, measurements and checkpoints on their way to the coordinator, in batches, each once.
//! Work does not wait for it: while the coordinator is away the diary grows. Who writes nothing has none.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use ursa_client::Client;
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::patience::Patience;

/// Waits for more before it sends.
const GATHER: Duration = Duration::from_millis(300);
/// Of the coordinator's 1000 lines.
const MAX_LINES: usize = 1000;
/// Of the coordinator's 10 000 points.
const MAX_POINTS: usize = 5000;
/// What is kept while the coordinator is away.
const CAPACITY: usize = 100_000;

/// Something to store.
#[derive(Debug)]
pub(crate) enum Item {
    /// A log line.
    Line(v1::LogLine),
    /// A measurement of a name.
    Point(String, v1::MetricPoint),
    /// A checkpoint that shall count.
    Checkpoint(v1::Checkpoint),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Diary {
    client: Client,
    lease: v1::Lease,
    patience: Patience,
    /// From the first entry on.
    delivery: OnceLock<Delivery>,
}

#[derive(Debug)]
struct Delivery {
    items: mpsc::Sender<Item>,
    end: JoinHandle<()>,
}

impl Diary {
    pub(crate) fn new(client: Client, lease: v1::Lease, patience: Patience) -> Self {
        Self { client, lease, patience, delivery: OnceLock::new() }
    }

    /// Writes an entry.
    pub(crate) fn post(&self, item: Item) {
        let delivery = self.delivery.get_or_init(|| {
            let (items, receiver) = mpsc::channel(CAPACITY);
            let deliver = deliver(self.client.clone(), self.lease.clone(), receiver, self.patience.clone());
            Delivery { items, end: tokio::spawn(deliver) }
        });
        // Full only when the coordinator has been away for very long; work does not wait for its diary.
        if let Err(error) = delivery.items.try_send(item) {
            tracing::debug!(task = self.lease.task_id, %error, "an entry of the diary is lost");
        }
    }

    /// Waits until everything is delivered that can be.
    pub(crate) async fn close(self) {
        if let Some(Delivery { items, end }) = self.delivery.into_inner() {
            drop(items);
            let _ = end.await;
        }
    }
}

/// Delivers everything posted until every sender is gone, the lease is lost, or `patience` ends.
async fn deliver(client: Client, lease: v1::Lease, mut items: mpsc::Receiver<Item>, patience: Patience) {
    let mut sequence = 0;
    let mut batch = Vec::new();
    while items.recv_many(&mut batch, MAX_LINES).await > 0 {
        gather(&mut items, &mut batch).await;
        sequence += 1;
        let sent = send(&client, &lease, sequence, std::mem::take(&mut batch), &patience).await;
        if let Err(Ended { what, error }) = sent {
            let (task, attempt) = (&lease.task_id, lease.attempt);
            tracing::info!(%error, task, attempt, "{what} were not taken: the diary ends here");
            return;
        }
    }
}

/// Takes what comes within a moment, as far as one request may carry.
async fn gather(items: &mut mpsc::Receiver<Item>, batch: &mut Vec<Item>) {
    let deadline = tokio::time::Instant::now() + GATHER;
    let is_line = |item: &Item| matches!(item, Item::Line(_));
    let mut lines = batch.iter().filter(|item| is_line(item)).count();
    while batch.len() < MAX_POINTS && lines < MAX_LINES {
        match tokio::time::timeout_at(deadline, items.recv()).await {
            Ok(Some(item)) => {
                lines += usize::from(is_line(&item));
                batch.push(item);
            }
            Ok(None) | Err(_) => return,
        }
    }
}

/// What was not taken because nothing is any more, and why.
struct Ended {
    what: &'static str,
    error: ApiError,
}

/// Sends measurements first and checkpoints last: whoever goes on from one has all that was said before it. What is refused for
/// what it is keeps nothing else back.
async fn send(
    client: &Client,
    lease: &v1::Lease,
    sequence: u64,
    batch: Vec<Item>,
    patience: &Patience,
) -> Result<(), Ended> {
    let (lines, series, checkpoints) = sort(batch);
    if !series.is_empty() {
        let request = v1::AppendMetricsRequest { lease: Some(lease.clone()), series };
        let sent = patience.repeat(|| async { client.workers().append_metrics(request.clone()).await }).await;
        unless_ended(lease, "measurements", sent)?;
    }
    if !lines.is_empty() {
        let request = v1::AppendLogsRequest { lease: Some(lease.clone()), lines, sequence };
        let sent = patience.repeat(|| async { client.workers().append_logs(request.clone()).await }).await;
        unless_ended(lease, "log lines", sent)?;
    }
    for checkpoint in checkpoints {
        let request = v1::RecordCheckpointRequest { lease: Some(lease.clone()), checkpoint: Some(checkpoint) };
        let sent = patience.repeat(|| async { client.workers().record_checkpoint(request.clone()).await }).await;
        unless_ended(lease, "checkpoints", sent)?;
    }
    Ok(())
}

/// An error only where nothing of the attempt will be taken: its lease is gone, or the coordinator is for too long.
fn unless_ended<T>(lease: &v1::Lease, what: &'static str, sent: Result<T, ApiError>) -> Result<(), Ended> {
    match sent {
        Ok(_) => {}
        Err(error) if error.is_retryable() || error.code == ErrorCode::LeaseLost => return Err(Ended { what, error }),
        Err(error) => tracing::warn!(%error, task = lease.task_id, "{what} were refused"),
    }
    Ok(())
}

fn sort(batch: Vec<Item>) -> (Vec<v1::LogLine>, Vec<v1::MetricSeries>, Vec<v1::Checkpoint>) {
    let (mut lines, mut checkpoints) = (Vec::new(), Vec::new());
    let mut series: BTreeMap<String, Vec<v1::MetricPoint>> = BTreeMap::new();
    for item in batch {
        match item {
            Item::Line(line) => lines.push(line),
            Item::Point(name, point) => series.entry(name).or_default().push(point),
            Item::Checkpoint(checkpoint) => checkpoints.push(checkpoint),
        }
    }
    let series = series.into_iter().map(|(name, points)| v1::MetricSeries { name, points }).collect();
    (lines, series, checkpoints)
}
