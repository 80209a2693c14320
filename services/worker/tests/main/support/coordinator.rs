//! A coordinator's worker service that orders what the test says and remembers everything it hears.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use ursa_proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use ursa_proto::{ApiError, ErrorCode, v1};

use super::PATIENCE;

/// Everything it heard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) reports: usize,
    pub(crate) report: Option<v1::WorkerReport>,
    /// Attempts that ended well, by task.
    pub(crate) completed: HashMap<String, v1::CompleteTaskRequest>,
    /// Attempts that ended badly, by task.
    pub(crate) failed: HashMap<String, v1::FailTaskRequest>,
    pub(crate) lines: Vec<String>,
    pub(crate) checkpoints: Vec<v1::Checkpoint>,
}

impl Seen {
    /// The attempt at `order` in the last report.
    pub(crate) fn running(&self, order: &v1::TaskOrder) -> Option<&v1::RunningAttempt> {
        self.report.as_ref()?.running.iter().find(|running| running.lease == order.lease)
    }

    /// How far the order to stop it is, as the last report says.
    pub(crate) fn stage(&self, order: &v1::TaskOrder) -> Option<v1::StopStage> {
        self.running(order).map(v1::RunningAttempt::stop_stage)
    }

    pub(crate) fn has_completed(&self, order: &v1::TaskOrder) -> bool {
        self.completed.contains_key(&order.lease.as_ref().unwrap().task_id)
    }

    /// How it ended badly.
    pub(crate) fn failure(&self, order: &v1::TaskOrder) -> Option<&v1::FailTaskRequest> {
        self.failed.get(&order.lease.as_ref().unwrap().task_id)
    }

    /// Whether the worker takes no more, as the last report says.
    pub(crate) fn is_draining(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.draining)
    }
}

#[derive(Debug)]
struct Script {
    /// Starts are sent once, the rest with every answer.
    orders: watch::Sender<v1::WorkerOrders>,
    seen: watch::Sender<Seen>,
    /// Whether ends of attempts are answered.
    answers_ends: watch::Sender<bool>,
    /// Whether reports are answered.
    answers_reports: watch::Sender<bool>,
    /// Whether measurements are taken for what they are.
    takes_metrics: watch::Sender<bool>,
    /// Whether it speaks another version of the session's protocol.
    refuses: watch::Sender<bool>,
    stop: CancellationToken,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Coordinator {
    address: SocketAddr,
    script: Arc<Script>,
}

impl Coordinator {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let orders = v1::WorkerOrders { lease_ms: 10_000, report_interval_ms: 500, ..v1::WorkerOrders::default() };
        let script = Arc::new(Script {
            orders: watch::Sender::new(orders),
            seen: watch::Sender::new(Seen::default()),
            answers_ends: watch::Sender::new(true),
            answers_reports: watch::Sender::new(true),
            takes_metrics: watch::Sender::new(true),
            refuses: watch::Sender::new(false),
            stop: CancellationToken::new(),
        });
        let service = WorkerServiceServer::from_arc(Arc::new(Service(script.clone())));
        let incoming = TcpListenerStream::new(listener);
        let stop = script.stop.clone();
        let serving = Server::builder().add_service(service).serve_with_incoming(incoming);
        // Dropped, not shut down: it is to go away as a crash does.
        tokio::spawn(async move { stop.run_until_cancelled(serving).await });
        Self { address, script }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Orders tasks to be started.
    pub(crate) fn order(&self, start: &[&v1::TaskOrder]) {
        self.script.orders.send_modify(|orders| orders.start.extend(start.iter().copied().cloned()));
    }

    /// Orders an attempt to be stopped.
    pub(crate) fn order_stop(&self, order: &v1::TaskOrder, reason: v1::StopReason) {
        self.script.orders.send_modify(|orders| orders.stop.push(super::stop(order, reason)));
    }

    /// Orders the worker to take no more, or to take work again.
    pub(crate) fn drain(&self, drain: bool) {
        self.script.orders.send_modify(|orders| orders.drain = drain);
    }

    /// Owes the answers to ends of attempts until told otherwise.
    pub(crate) fn answer_ends(&self, answer: bool) {
        self.script.answers_ends.send_replace(answer);
    }

    /// Refuses all measurements.
    pub(crate) fn refuse_metrics(&self) {
        self.script.takes_metrics.send_replace(false);
    }

    /// Refuses every session from the next report on, as a coordinator of another version does.
    pub(crate) fn refuse(&self) {
        self.script.refuses.send_replace(true);
    }

    /// Says nothing any more, though it is there.
    pub(crate) fn fall_silent(&self) {
        self.script.answers_reports.send_replace(false);
    }

    /// Goes away and cuts every connection.
    pub(crate) fn go_away(&self) {
        self.script.stop.cancel();
    }

    /// Whether a worker reports to it.
    pub(crate) fn is_attached(&self) -> bool {
        self.script.seen.borrow().reports > 0
    }

    /// Waits until it has seen what `holds`.
    pub(crate) async fn sees(&self, what: &str, holds: impl Fn(&Seen) -> bool) -> Seen {
        let mut seen = self.script.seen.subscribe();
        let found = tokio::time::timeout(PATIENCE, seen.wait_for(holds)).await;
        match found {
            Ok(seen) => seen.unwrap().clone(),
            Err(late) => panic!("waited for {what}: {late}; last seen: {:#?}", self.script.seen.borrow()),
        }
    }

    /// Waits until an attempt has ended badly, and gives its class and message.
    pub(crate) async fn sees_failure(&self, order: &v1::TaskOrder) -> (v1::ErrorClass, String) {
        let seen = self.sees("a failure", |seen| seen.failure(order).is_some()).await;
        let failure = seen.failure(order).unwrap();
        (failure.class(), failure.message.clone())
    }

    /// Waits until an attempt has ended well.
    pub(crate) async fn sees_completion(&self, order: &v1::TaskOrder) -> v1::CompleteTaskRequest {
        let seen = self.sees("a completion", |seen| seen.has_completed(order)).await;
        seen.completed[&order.lease.as_ref().unwrap().task_id].clone()
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.go_away();
    }
}

impl Script {
    fn next_orders(&self) -> v1::WorkerOrders {
        let mut next = self.orders.borrow().clone();
        self.orders.send_if_modified(|orders| {
            next.start = std::mem::take(&mut orders.start);
            false
        });
        next
    }

    async fn end(&self, note: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(note);
        self.answers_ends.subscribe().wait_for(|answers| *answers).await.unwrap();
    }
}

#[derive(Debug)]
struct Service(Arc<Script>);

fn task_of(lease: Option<&v1::Lease>) -> String {
    lease.unwrap().task_id.clone()
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl WorkerService for Service {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::WorkerOrders, Status>> + Send>>;

    async fn session(&self, request: Request<Streaming<v1::WorkerReport>>) -> Answer<Self::SessionStream> {
        let (sender, receiver) = mpsc::channel(4);
        let (script, mut reports) = (self.0.clone(), request.into_inner());
        tokio::spawn(async move {
            let mut news = script.orders.subscribe();
            loop {
                tokio::select! {
                    report = reports.message() => {
                        let Ok(Some(report)) = report else { return };
                        script.seen.send_modify(|seen| {
                            seen.reports += 1;
                            seen.report = Some(report);
                        });
                    }
                    changed = news.changed() => if changed.is_err() { return },
                    () = script.stop.cancelled() => return,
                }
                if *script.refuses.borrow() {
                    let refusal = ApiError::new(ErrorCode::ProtocolMismatch, "another version");
                    let _ = sender.send(Err(refusal.into())).await;
                    return;
                }
                if *script.answers_reports.borrow() && sender.send(Ok(script.next_orders())).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn append_logs(&self, request: Request<v1::AppendLogsRequest>) -> Answer<v1::AppendLogsResponse> {
        let lines = request.into_inner().lines.into_iter().map(|line| line.message);
        self.0.seen.send_modify(|seen| seen.lines.extend(lines));
        Ok(Response::new(v1::AppendLogsResponse {}))
    }

    async fn append_metrics(&self, _: Request<v1::AppendMetricsRequest>) -> Answer<v1::AppendMetricsResponse> {
        if !*self.0.takes_metrics.borrow() {
            return Err(ApiError::invalid("no measurements").into());
        }
        Ok(Response::new(v1::AppendMetricsResponse {}))
    }

    async fn record_checkpoint(
        &self,
        request: Request<v1::RecordCheckpointRequest>,
    ) -> Answer<v1::RecordCheckpointResponse> {
        let checkpoint = request.into_inner().checkpoint.unwrap();
        self.0.seen.send_modify(|seen| seen.checkpoints.push(checkpoint));
        Ok(Response::new(v1::RecordCheckpointResponse {}))
    }

    async fn complete_task(&self, request: Request<v1::CompleteTaskRequest>) -> Answer<v1::CompleteTaskResponse> {
        let request = request.into_inner();
        let task = task_of(request.lease.as_ref());
        self.0.end(|seen| drop(seen.completed.insert(task, request))).await;
        Ok(Response::new(v1::CompleteTaskResponse {}))
    }

    async fn complete_tasks(&self, request: Request<v1::CompleteTasksRequest>) -> Answer<v1::CompleteTasksResponse> {
        let mut outcomes = Vec::new();
        for completion in request.into_inner().completions {
            let ended = self.complete_task(Request::new(completion)).await;
            outcomes.push(v1::CompletionOutcome { error: ended.err().map(|status| ApiError::from(status).into()) });
        }
        Ok(Response::new(v1::CompleteTasksResponse { outcomes }))
    }

    async fn fail_task(&self, request: Request<v1::FailTaskRequest>) -> Answer<v1::FailTaskResponse> {
        let request = request.into_inner();
        let task = task_of(request.lease.as_ref());
        self.0.end(|seen| drop(seen.failed.insert(task, request))).await;
        Ok(Response::new(v1::FailTaskResponse {}))
    }

    async fn list_workers(&self, _: Request<v1::ListWorkersRequest>) -> Answer<v1::ListWorkersResponse> {
        Err(Status::unimplemented("workers do not ask for workers"))
    }

    async fn drain_worker(&self, _: Request<v1::DrainWorkerRequest>) -> Answer<v1::Worker> {
        Err(Status::unimplemented("workers do not drain workers"))
    }
}
