//! Workers and nodes that speak the real protocol and do nothing by themselves.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use ursa_client::Client;
use ursa_proto::{ApiError, SESSION_PROTOCOL_VERSION, v1};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);
/// What is there already takes no longer to be heard.
const NOW: Duration = Duration::from_millis(2);

/// A worker in a test's hands.
#[derive(Debug)]
pub struct Worker {
    /// What it says next.
    pub report: v1::WorkerReport,
    /// Where it says it.
    pub client: Client,
    reports: mpsc::Sender<v1::WorkerReport>,
    orders: Streaming<v1::WorkerOrders>,
}

impl Worker {
    /// Attaches a worker with `slots`.
    pub async fn attach(client: &Client, name: &str, slots: u32) -> anyhow::Result<Self> {
        let report = v1::WorkerReport {
            worker_id: Uuid::new_v4().to_string(),
            name: name.to_owned(),
            protocol_version: SESSION_PROTOCOL_VERSION,
            version: "test".into(),
            code_version: ursa_version::CODE.into(),
            slots,
            ..v1::WorkerReport::default()
        };
        Self::attach_with(client, report).await
    }

    /// Attaches a worker that says `report` first.
    pub async fn attach_with(client: &Client, report: v1::WorkerReport) -> anyhow::Result<Self> {
        let (reports, receiver) = mpsc::channel(16);
        reports.send(report.clone()).await?;
        let orders =
            client.workers().session(ReceiverStream::new(receiver)).await.map_err(ApiError::from)?.into_inner();
        Ok(Self { report, client: client.clone(), reports, orders })
    }

    /// Says its state, and does not wait for the answer.
    pub async fn tell(&self) {
        // Of a session that has ended, the last word is still to be heard.
        let _ = self.reports.send(self.report.clone()).await;
    }

    /// Says its state and hears the answer, with everything else that is there to hear.
    pub async fn say(&mut self) -> anyhow::Result<v1::WorkerOrders> {
        self.tell().await;
        let mut orders = self.hear().await?;
        while let Ok(more) = tokio::time::timeout(NOW, self.hear()).await {
            let more = more?;
            orders.start.extend(more.start);
            orders.stop.extend(more.stop);
            orders.drain = more.drain;
        }
        Ok(orders)
    }

    /// Hears the next answer, without saying anything.
    pub async fn hear(&mut self) -> anyhow::Result<v1::WorkerOrders> {
        let orders = tokio::time::timeout(PATIENCE, self.orders.message()).await.context("no orders came")?;
        let orders = orders.map_err(ApiError::from)?.context("the session ended")?;
        for order in &orders.start {
            self.report.running.push(v1::RunningAttempt { lease: order.lease.clone(), progress: None, stop_stage: 0 });
        }
        Ok(orders)
    }

    /// The next task it is ordered to start, renewing the leases it has meanwhile.
    pub async fn next_task(&mut self) -> anyhow::Result<v1::TaskOrder> {
        let mut orders = self.say().await?;
        loop {
            if let Some(order) = orders.start.pop() {
                anyhow::ensure!(orders.start.is_empty(), "more than one task at a time: give the worker one slot");
                return Ok(order);
            }
            orders = match tokio::time::timeout(Duration::from_millis(100), self.hear()).await {
                Ok(orders) => orders?,
                Err(_) => self.say().await?,
            };
        }
    }

    /// The next order to stop something.
    pub async fn next_stop(&mut self) -> anyhow::Result<v1::StopOrder> {
        let begin = Instant::now();
        loop {
            if let Some(stop) = self.say().await?.stop.pop() {
                return Ok(stop);
            }
            anyhow::ensure!(begin.elapsed() < PATIENCE, "no order to stop came within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends a task well.
    pub async fn complete(
        &mut self,
        lease: &v1::Lease,
        result: v1::complete_task_request::Result,
    ) -> Result<(), ApiError> {
        self.forget(lease);
        let request = v1::CompleteTaskRequest { lease: Some(lease.clone()), result: Some(result) };
        self.client.workers().complete_task(request).await?;
        Ok(())
    }

    /// The words with which all tasks it has would end well.
    pub fn completions(&mut self, result: fn() -> v1::complete_task_request::Result) -> Vec<v1::CompleteTaskRequest> {
        let completion =
            |running: v1::RunningAttempt| v1::CompleteTaskRequest { lease: running.lease, result: Some(result()) };
        self.report.running.drain(..).map(completion).collect()
    }

    /// Ends all tasks it has well, in one call.
    pub async fn complete_all(&mut self, result: fn() -> v1::complete_task_request::Result) -> Result<(), ApiError> {
        let request = v1::CompleteTasksRequest { completions: self.completions(result) };
        let answer = self.client.workers().complete_tasks(request).await?.into_inner();
        answer.outcomes.into_iter().find_map(|outcome| outcome.error).map_or(Ok(()), |error| Err(error.into()))
    }

    /// Ends a task badly.
    pub async fn fail(&mut self, lease: &v1::Lease, class: v1::ErrorClass, message: &str) -> Result<(), ApiError> {
        self.fail_run(lease, class, message, Vec::new()).await
    }

    /// Ends a training run badly, of which `findings` say why.
    pub async fn fail_run(
        &mut self,
        lease: &v1::Lease,
        class: v1::ErrorClass,
        message: &str,
        findings: Vec<v1::Finding>,
    ) -> Result<(), ApiError> {
        self.forget(lease);
        let (lease, message) = (Some(lease.clone()), message.to_owned());
        let request = v1::FailTaskRequest { lease, class: class.into(), message, findings, stop_stage: 0 };
        self.client.workers().fail_task(request).await?;
        Ok(())
    }

    fn forget(&mut self, lease: &v1::Lease) {
        self.report.running.retain(|running| running.lease.as_ref() != Some(lease));
    }
}

/// An inference node in a test's hands: takes every order and says at once that it is done.
#[derive(Debug)]
pub struct Node {
    serving: tokio::task::JoinHandle<()>,
}

impl Node {
    /// Attaches a node that answers every endpoint with `state` and `error`.
    pub async fn attach(client: &Client, name: &str, state: &'static str, error: &'static str) -> anyhow::Result<Self> {
        let mut report = v1::NodeReport {
            node_id: Uuid::new_v4().to_string(),
            name: name.to_owned(),
            protocol_version: SESSION_PROTOCOL_VERSION,
            version: "test".into(),
            http_address: "http://127.0.0.1:1".into(),
            grpc_address: "http://127.0.0.1:2".into(),
            endpoints: Vec::new(),
        };
        let (reports, receiver) = mpsc::channel(16);
        reports.send(report.clone()).await?;
        let session = client.nodes().session(ReceiverStream::new(receiver)).await.map_err(ApiError::from)?;
        let mut orders = session.into_inner();
        let serving = tokio::spawn(async move {
            loop {
                match tokio::time::timeout(Duration::from_millis(100), orders.message()).await {
                    Ok(Ok(Some(orders))) => {
                        report.endpoints = orders.endpoints.iter().map(|order| status(order, state, error)).collect();
                    }
                    Ok(_) => return,
                    Err(_) => {}
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                if reports.send(report.clone()).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { serving })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn status(order: &v1::EndpointOrder, state: &str, error: &str) -> v1::EndpointStatus {
    v1::EndpointStatus {
        endpoint: order.endpoint.clone(),
        model_digest: order.model_digest.clone(),
        serving_digest: if state == "ready" { order.model_digest.clone() } else { String::new() },
        state: state.to_owned(),
        error: error.to_owned(),
    }
}
