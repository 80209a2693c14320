//! A coordinator that answers from a script and remembers what it was asked. It has no rules of its own.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::Stream;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use ursa_proto::v1::job_service_server::{JobService, JobServiceServer};
use ursa_proto::v1::model_service_server::{ModelService, ModelServiceServer};
use ursa_proto::v1::queue_service_server::{QueueService, QueueServiceServer};
use ursa_proto::v1::schedule_service_server::{ScheduleService, ScheduleServiceServer};
use ursa_proto::v1::webhook_service_server::{WebhookService, WebhookServiceServer};
use ursa_proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use ursa_proto::{ApiError, ErrorCode, v1};

/// What it answers with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub details: Vec<v1::JobDetail>,
    pub tasks: Vec<v1::Task>,
    pub workers: Vec<v1::Worker>,
    pub deliveries: Vec<v1::Delivery>,
    /// By id; given one at a time, and the second time it is asked it is away.
    pub logs: Vec<v1::LogLine>,
    pub metrics: Vec<v1::MetricSeries>,
    pub runs: Vec<v1::RunMetrics>,
    /// Of the only model that has predictions.
    pub interpretation: v1::Interpretation,
    /// What explain jobs left behind.
    pub heatmaps: Vec<v1::Heatmap>,
    /// What it answers to each part of a request to steer jobs.
    pub steered: Vec<v1::SteerJobsResponse>,
}

/// The coordinator; it ends with the test.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    script: Arc<Script>,
    asked: Arc<Mutex<Vec<String>>>,
    reruns: Arc<Mutex<Vec<v1::RerunPipelineRequest>>>,
    submitted: Arc<Mutex<Vec<v1::PipelineSpec>>>,
}

type Answer<T> = Result<Response<T>, Status>;
type Endless<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Fake {
    /// Starts one; its address, and it.
    pub(crate) async fn start(script: Script) -> (String, Self) {
        let script = Arc::new(script);
        let fake = Self { script, asked: Arc::default(), reruns: Arc::default(), submitted: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = Server::builder()
            .add_service(JobServiceServer::new(fake.clone()))
            .add_service(ModelServiceServer::new(fake.clone()))
            .add_service(QueueServiceServer::new(fake.clone()))
            .add_service(ScheduleServiceServer::new(fake.clone()))
            .add_service(WebhookServiceServer::new(fake.clone()))
            .add_service(WorkerServiceServer::new(fake.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        (address, fake)
    }

    /// What it was asked so far, oldest first.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The pipelines it was asked to run again.
    pub(crate) fn reruns(&self) -> Vec<v1::RerunPipelineRequest> {
        self.reruns.lock().unwrap().clone()
    }

    /// The pipelines it was asked to run.
    pub(crate) fn submitted(&self) -> Vec<v1::PipelineSpec> {
        self.submitted.lock().unwrap().clone()
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    fn jobs(&self) -> Vec<v1::Job> {
        self.script.details.iter().filter_map(|detail| detail.job.clone()).collect()
    }

    fn pipeline(&self) -> v1::Pipeline {
        v1::Pipeline {
            id: "p".into(),
            name: "bears".into(),
            project: "zoo".into(),
            state: "succeeded".into(),
            jobs: self.jobs(),
            ..Default::default()
        }
    }
}

/// One page of `all`: the token is the index of the first.
fn page<T: Clone>(all: &[T], page: Option<v1::PageRequest>) -> (Vec<T>, String) {
    let page = page.unwrap_or_default();
    let from: usize = if page.token.is_empty() { 0 } else { page.token.parse().unwrap() };
    let until = (from + page.size.min(1000) as usize).min(all.len());
    let next = if until < all.len() { until.to_string() } else { String::new() };
    (all[from..until].to_vec(), next)
}

fn not_asked<T>() -> Answer<T> {
    Err(Status::unimplemented("not asked"))
}

#[tonic::async_trait]
impl JobService for Fake {
    type WatchEventsStream = Endless<v1::Event>;

    async fn submit_pipeline(&self, request: Request<v1::SubmitPipelineRequest>) -> Answer<v1::SubmitPipelineResponse> {
        self.submitted.lock().unwrap().extend(request.into_inner().pipeline);
        Ok(Response::new(v1::SubmitPipelineResponse { pipeline: Some(self.pipeline()), already_existed: false }))
    }
    async fn get_pipeline(&self, _: Request<v1::GetPipelineRequest>) -> Answer<v1::Pipeline> {
        Ok(Response::new(self.pipeline()))
    }
    async fn list_pipelines(&self, _: Request<v1::ListPipelinesRequest>) -> Answer<v1::ListPipelinesResponse> {
        not_asked()
    }
    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Answer<v1::ListJobsResponse> {
        let request = request.into_inner();
        let fits = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
        let mut jobs = self.jobs();
        jobs.retain(|job| fits(&request.project, &job.project) && fits(&request.kind, &job.kind));
        let (jobs, next_page_token) = page(&jobs, request.page);
        Ok(Response::new(v1::ListJobsResponse { jobs, next_page_token }))
    }
    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Answer<v1::JobDetail> {
        let id = request.into_inner().id;
        let found = self.script.details.iter().find(|detail| detail.job.as_ref().is_some_and(|job| job.id == id));
        found.cloned().map(Response::new).ok_or_else(|| ApiError::not_found("job", id).into())
    }
    async fn cancel_job(&self, request: Request<v1::CancelJobRequest>) -> Answer<v1::Job> {
        self.note(format!("cancel {}", request.into_inner().id));
        Ok(Response::new(self.jobs().remove(0)))
    }
    async fn retry_job(&self, request: Request<v1::RetryJobRequest>) -> Answer<v1::Job> {
        self.note(format!("retry {}", request.into_inner().id));
        Ok(Response::new(self.jobs().remove(0)))
    }
    async fn rerun_pipeline(&self, request: Request<v1::RerunPipelineRequest>) -> Answer<v1::SubmitPipelineResponse> {
        self.reruns.lock().unwrap().push(request.into_inner());
        Ok(Response::new(v1::SubmitPipelineResponse { pipeline: Some(self.pipeline()), already_existed: false }))
    }
    async fn steer_jobs(&self, request: Request<v1::SteerJobsRequest>) -> Answer<v1::SteerJobsResponse> {
        let request = request.into_inner();
        let filter = request.filter.unwrap_or_default();
        self.note(format!(
            "{:?} project={:?} state={:?} old={} from {:?}",
            request.action.unwrap(),
            filter.project,
            filter.state,
            filter.before.is_some(),
            request.token
        ));
        let part = self.asked().len() - 1;
        let answer = self.script.steered.get(part).cloned();
        answer.map(Response::new).ok_or_else(|| ApiError::new(ursa_proto::ErrorCode::Internal, "it broke").into())
    }
    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Answer<v1::ListTasksResponse> {
        let request = request.into_inner();
        let mut tasks = self.script.tasks.clone();
        tasks.retain(|task| request.state.is_empty() || task.state == request.state);
        tasks.retain(|task| request.job_id.is_empty() || task.job_id == request.job_id);
        let (tasks, next_page_token) = page(&tasks, request.page);
        Ok(Response::new(v1::ListTasksResponse { tasks, next_page_token }))
    }
    async fn retry_tasks(&self, request: Request<v1::RetryTasksRequest>) -> Answer<v1::RetryTasksResponse> {
        let ids = request.into_inner().ids;
        self.note(format!("retry {} tasks from {} to {}", ids.len(), ids[0], ids[ids.len() - 1]));
        Ok(Response::new(v1::RetryTasksResponse { retried: ids.len() as u32 }))
    }
    async fn watch_events(&self, _: Request<v1::WatchEventsRequest>) -> Answer<Self::WatchEventsStream> {
        // Everything has happened and is over.
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }
    async fn list_logs(&self, request: Request<v1::ListLogsRequest>) -> Answer<v1::ListLogsResponse> {
        let after_id = request.into_inner().after_id;
        self.note(format!("logs after {after_id}"));
        if self.asked().len() == 2 {
            return Err(ApiError::new(ErrorCode::Unavailable, "it is away").into());
        }
        let next = self.script.logs.iter().find(|line| line.id > after_id).cloned();
        Ok(Response::new(v1::ListLogsResponse { lines: next.into_iter().collect() }))
    }
    async fn list_metrics(&self, request: Request<v1::ListMetricsRequest>) -> Answer<v1::ListMetricsResponse> {
        let (series, runs) = (self.script.metrics.clone(), self.script.runs.clone());
        let by_run = request.into_inner().by_run;
        let answer = v1::ListMetricsResponse { series, runs };
        Ok(Response::new(if by_run {
            v1::ListMetricsResponse { series: Vec::new(), ..answer }
        } else {
            v1::ListMetricsResponse { runs: Vec::new(), ..answer }
        }))
    }
}

#[tonic::async_trait]
impl ModelService for Fake {
    async fn list_models(&self, _: Request<v1::ListModelsRequest>) -> Answer<v1::ListModelsResponse> {
        not_asked()
    }

    async fn get_model(&self, _: Request<v1::GetModelRequest>) -> Answer<v1::Model> {
        not_asked()
    }

    async fn interpret_model(&self, request: Request<v1::InterpretModelRequest>) -> Answer<v1::Interpretation> {
        let v1::InterpretModelRequest { digest, side, limit, snapshot } = request.into_inner();
        self.note(format!("interpret {digest} side={side} limit={limit} snapshot={snapshot}"));
        let found = &self.script.interpretation;
        if digest.is_empty() || !found.digest.starts_with(&digest) {
            let message = format!("the package of model {digest} has no predictions.parquet: train it again");
            return Err(ApiError::new(ErrorCode::IllegalState, message).into());
        }
        let named = |side: String, default: &str| if side.is_empty() { default.to_owned() } else { side };
        let (side, snapshot_number) =
            if snapshot.is_empty() { (named(side, "valid"), 1) } else { (named(side, "all"), 4) };
        Ok(Response::new(v1::Interpretation { side, snapshot_number, ..found.clone() }))
    }

    async fn get_heatmap(&self, request: Request<v1::GetHeatmapRequest>) -> Answer<v1::Heatmap> {
        let v1::GetHeatmapRequest { digest, image_id, class } = request.into_inner();
        self.note(format!("heatmap of {image_id} for {class} by {digest}"));
        let found = self.script.heatmaps.iter().find(|one| one.image_id == image_id && one.class == class);
        found.cloned().map(Response::new).ok_or_else(|| ApiError::not_found("heatmap of image", image_id).into())
    }
}

#[tonic::async_trait]
impl QueueService for Fake {
    async fn list_projects(&self, request: Request<v1::ListProjectsRequest>) -> Answer<v1::ListProjectsResponse> {
        let project = v1::Project { name: "zoo".into(), weight: 2.0, max_gpus: Some(4), ..Default::default() };
        let (projects, next_page_token) = page(&[project], request.into_inner().page);
        Ok(Response::new(v1::ListProjectsResponse { projects, next_page_token }))
    }
    async fn put_project(&self, request: Request<v1::PutProjectRequest>) -> Answer<v1::Project> {
        let request = request.into_inner();
        self.note(format!("{request:?}"));
        Ok(Response::new(v1::Project { name: request.name, weight: request.weight, ..Default::default() }))
    }
    async fn pause_project(&self, request: Request<v1::PauseProjectRequest>) -> Answer<v1::Project> {
        let v1::PauseProjectRequest { name, paused } = request.into_inner();
        self.note(format!("project {name} paused={paused}"));
        Ok(Response::new(v1::Project { name, paused, ..Default::default() }))
    }
    async fn list_queues(&self, request: Request<v1::ListQueuesRequest>) -> Answer<v1::ListQueuesResponse> {
        let queue =
            |kind: &str, ready| v1::Queue { kind: kind.into(), ready, oldest_seconds: 185.0, ..Default::default() };
        let (queues, next_page_token) = page(&[queue("train", 3), queue("probe", 0)], request.into_inner().page);
        Ok(Response::new(v1::ListQueuesResponse { queues, next_page_token }))
    }
    async fn pause_queue(&self, request: Request<v1::PauseQueueRequest>) -> Answer<v1::Queue> {
        let v1::PauseQueueRequest { kind, paused } = request.into_inner();
        self.note(format!("queue {kind} paused={paused}"));
        Ok(Response::new(v1::Queue { kind, paused, ..Default::default() }))
    }
}

fn schedule(name: String, paused: bool) -> v1::Schedule {
    v1::Schedule {
        name,
        cron: "0 3 * * *".into(),
        time_zone: "Europe/Berlin".into(),
        missed: "once".into(),
        paused,
        pipeline: Some(v1::PipelineSpec { name: "bears".into(), ..Default::default() }),
        last_error: "the project zoo does not exist".into(),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl ScheduleService for Fake {
    async fn put_schedule(&self, request: Request<v1::PutScheduleRequest>) -> Answer<v1::Schedule> {
        let request = request.into_inner();
        let pipeline = request.pipeline.unwrap();
        self.note(format!(
            "{} {:?} {} {} {}",
            request.name, request.cron, request.time_zone, request.missed, pipeline.name
        ));
        Ok(Response::new(schedule(request.name, false)))
    }
    async fn get_schedule(&self, request: Request<v1::GetScheduleRequest>) -> Answer<v1::Schedule> {
        Ok(Response::new(schedule(request.into_inner().name, false)))
    }
    async fn list_schedules(&self, request: Request<v1::ListSchedulesRequest>) -> Answer<v1::ListSchedulesResponse> {
        let all: Vec<_> = (0..3).map(|number| schedule(format!("nightly-{number}"), false)).collect();
        let (schedules, next_page_token) = page(&all, request.into_inner().page);
        Ok(Response::new(v1::ListSchedulesResponse { schedules, next_page_token }))
    }
    async fn pause_schedule(&self, request: Request<v1::PauseScheduleRequest>) -> Answer<v1::Schedule> {
        let v1::PauseScheduleRequest { name, paused } = request.into_inner();
        self.note(format!("schedule {name} paused={paused}"));
        Ok(Response::new(schedule(name, paused)))
    }
    async fn delete_schedule(&self, request: Request<v1::DeleteScheduleRequest>) -> Answer<v1::DeleteScheduleResponse> {
        self.note(format!("delete schedule {}", request.into_inner().name));
        Ok(Response::new(v1::DeleteScheduleResponse {}))
    }
}

#[tonic::async_trait]
impl WebhookService for Fake {
    async fn create_webhook(&self, request: Request<v1::CreateWebhookRequest>) -> Answer<v1::CreateWebhookResponse> {
        let v1::CreateWebhookRequest { url, project, kinds } = request.into_inner();
        self.note(format!("webhook {url} project={project:?} kinds={kinds:?}"));
        let webhook = Some(v1::Webhook { id: "w".into(), url, project, kinds, created_at: None });
        Ok(Response::new(v1::CreateWebhookResponse { webhook, secret: "5ec7e7".into() }))
    }
    async fn list_webhooks(&self, _: Request<v1::ListWebhooksRequest>) -> Answer<v1::ListWebhooksResponse> {
        Ok(Response::new(v1::ListWebhooksResponse::default()))
    }
    async fn get_webhook(&self, _: Request<v1::GetWebhookRequest>) -> Answer<v1::Webhook> {
        not_asked()
    }
    async fn delete_webhook(&self, request: Request<v1::DeleteWebhookRequest>) -> Answer<v1::DeleteWebhookResponse> {
        self.note(format!("delete webhook {}", request.into_inner().id));
        Ok(Response::new(v1::DeleteWebhookResponse {}))
    }
    async fn list_deliveries(&self, request: Request<v1::ListDeliveriesRequest>) -> Answer<v1::ListDeliveriesResponse> {
        let (deliveries, next_page_token) = page(&self.script.deliveries, request.into_inner().page);
        Ok(Response::new(v1::ListDeliveriesResponse { deliveries, next_page_token }))
    }
    async fn redeliver_event(&self, request: Request<v1::RedeliverEventRequest>) -> Answer<v1::Delivery> {
        let id = request.into_inner().id;
        self.note(format!("redeliver {id}"));
        Ok(Response::new(v1::Delivery { id, state: "pending".into(), ..Default::default() }))
    }
}

#[tonic::async_trait]
impl WorkerService for Fake {
    type SessionStream = Endless<v1::WorkerOrders>;

    async fn session(&self, _: Request<tonic::Streaming<v1::WorkerReport>>) -> Answer<Self::SessionStream> {
        not_asked()
    }
    async fn append_logs(&self, _: Request<v1::AppendLogsRequest>) -> Answer<v1::AppendLogsResponse> {
        not_asked()
    }
    async fn append_metrics(&self, _: Request<v1::AppendMetricsRequest>) -> Answer<v1::AppendMetricsResponse> {
        not_asked()
    }
    async fn record_checkpoint(&self, _: Request<v1::RecordCheckpointRequest>) -> Answer<v1::RecordCheckpointResponse> {
        not_asked()
    }
    async fn complete_task(&self, _: Request<v1::CompleteTaskRequest>) -> Answer<v1::CompleteTaskResponse> {
        not_asked()
    }
    async fn complete_tasks(&self, _: Request<v1::CompleteTasksRequest>) -> Answer<v1::CompleteTasksResponse> {
        not_asked()
    }
    async fn fail_task(&self, _: Request<v1::FailTaskRequest>) -> Answer<v1::FailTaskResponse> {
        not_asked()
    }
    async fn list_workers(&self, request: Request<v1::ListWorkersRequest>) -> Answer<v1::ListWorkersResponse> {
        let (workers, next_page_token) = page(&self.script.workers, request.into_inner().page);
        Ok(Response::new(v1::ListWorkersResponse { workers, next_page_token }))
    }
    async fn drain_worker(&self, request: Request<v1::DrainWorkerRequest>) -> Answer<v1::Worker> {
        let v1::DrainWorkerRequest { id, drain } = request.into_inner();
        self.note(format!("worker {id} drain={drain}"));
        let worker = self.script.workers.iter().find(|worker| worker.id == id).cloned().unwrap();
        Ok(Response::new(v1::Worker { draining: drain, ..worker }))
    }
}
