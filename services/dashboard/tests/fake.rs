//! A coordinator that answers from a script and remembers what it was asked. It has no rules of its own.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt};
use tokio::sync::{Notify, broadcast};
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};
use ursa_proto::v1::dataset_service_server::DatasetService;
use ursa_proto::v1::endpoint_service_server::EndpointService;
use ursa_proto::v1::job_service_server::JobService;
use ursa_proto::v1::model_service_server::ModelService;
use ursa_proto::v1::node_service_server::NodeService;
use ursa_proto::v1::queue_service_server::QueueService;
use ursa_proto::v1::schedule_service_server::ScheduleService;
use ursa_proto::v1::webhook_service_server::WebhookService;
use ursa_proto::v1::worker_service_server::WorkerService;
use ursa_proto::{ApiError, ErrorCode, v1};

/// What it answers with.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub pipelines: Vec<v1::Pipeline>,
    pub tasks: Vec<v1::Task>,
    pub spec_json: String,
    pub logs: Vec<v1::LogLine>,
    pub metrics: Vec<v1::MetricSeries>,
    pub runs: Vec<v1::RunMetrics>,
    pub datasets: Vec<v1::Dataset>,
    pub images: Vec<v1::Image>,
    pub picture: Vec<u8>,
    pub sources: Vec<v1::Source>,
    pub snapshots: Vec<v1::Snapshot>,
    pub models: Vec<v1::Model>,
    /// Of every model, whichever side is asked for.
    pub interpretation: Option<v1::Interpretation>,
    /// What explain jobs left behind.
    pub heatmaps: Vec<v1::Heatmap>,
    pub endpoints: Vec<v1::Endpoint>,
    pub workers: Vec<v1::Worker>,
    pub nodes: Vec<v1::Node>,
    pub projects: Vec<v1::Project>,
    pub queues: Vec<v1::Queue>,
    pub schedules: Vec<v1::Schedule>,
    pub webhooks: Vec<v1::Webhook>,
    pub deliveries: Vec<v1::Delivery>,
    /// Recorded events, by id.
    pub events: Vec<v1::Event>,
}

/// The coordinator. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<String>>>,
    events: broadcast::Sender<v1::Event>,
    hang_up: Arc<Notify>,
}

type Answer<T> = Result<Response<T>, Status>;
type Endless<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Fake {
    pub(crate) fn new(script: Script) -> Self {
        Self {
            script: Arc::new(Mutex::new(script)),
            asked: Arc::default(),
            events: broadcast::channel(64).0,
            hang_up: Arc::default(),
        }
    }

    /// Changes the script.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// Records an event and sends it to everybody who watches.
    pub(crate) fn emit(&self, event: v1::Event) {
        let mut script = self.script.lock().unwrap();
        if event.id > 0 {
            script.events.push(event.clone());
        }
        let _ = self.events.send(event);
    }

    /// Ends every watch, as the death of a coordinator does.
    pub(crate) fn hang_up(&self) {
        self.hang_up.notify_waiters();
    }

    /// What it was asked so far, oldest first.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    fn read<T>(&self, read: impl FnOnce(&Script) -> T) -> T {
        read(&self.script.lock().unwrap())
    }

    fn find_job(&self, id: &str) -> Result<v1::Job, Status> {
        self.read(|script| script.pipelines.iter().flat_map(|p| &p.jobs).find(|job| job.id == id).cloned())
            .ok_or_else(|| ApiError::not_found("job", id).into())
    }
}

fn found<T>(what: &str, name: &str, thing: Option<T>) -> Answer<T> {
    thing.map(Response::new).ok_or_else(|| ApiError::not_found(what, name).into())
}

/// One page of `all`: the token is the index of the first.
fn page<T: Clone>(all: &[T], page: Option<v1::PageRequest>) -> (Vec<T>, String) {
    let page = page.unwrap_or_default();
    let size = if page.size == 0 { 100 } else { page.size.min(1000) } as usize;
    let from: usize = page.token.parse().unwrap_or_default();
    let until = (from + size).min(all.len());
    let next = if until < all.len() { until.to_string() } else { String::new() };
    (all.get(from..until).unwrap_or_default().to_vec(), next)
}

#[tonic::async_trait]
impl JobService for Fake {
    async fn submit_pipeline(&self, request: Request<v1::SubmitPipelineRequest>) -> Answer<v1::SubmitPipelineResponse> {
        let mut jobs = request.into_inner().pipeline.unwrap_or_default().jobs;
        let Some(v1::job_definition::Spec::Explain(spec)) = jobs.remove(0).spec else {
            return Err(Status::unimplemented("the dashboard submits nothing else"));
        };
        self.note(format!("explain {:?} of {:?} by {:?}", spec.of, spec.image_ids, spec.model));
        let pipeline = self.read(|script| script.pipelines.first().cloned());
        Ok(Response::new(v1::SubmitPipelineResponse { pipeline, already_existed: false }))
    }

    async fn get_pipeline(&self, request: Request<v1::GetPipelineRequest>) -> Answer<v1::Pipeline> {
        let id = request.into_inner().id;
        found("pipeline", &id, self.read(|script| script.pipelines.iter().find(|one| one.id == id).cloned()))
    }

    async fn list_pipelines(&self, request: Request<v1::ListPipelinesRequest>) -> Answer<v1::ListPipelinesResponse> {
        let request = request.into_inner();
        let wanted = |one: &&v1::Pipeline| request.project.is_empty() || one.project == request.project;
        let all: Vec<_> = self.read(|script| script.pipelines.iter().filter(wanted).cloned().collect());
        let (pipelines, next_page_token) = page(&all, request.page);
        Ok(Response::new(v1::ListPipelinesResponse { pipelines, next_page_token }))
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Answer<v1::ListJobsResponse> {
        let request = request.into_inner();
        let wanted = |job: &&v1::Job| {
            (request.state.is_empty() || job.state == request.state)
                && (request.kind.is_empty() || job.kind == request.kind)
                && (request.project.is_empty() || job.project == request.project)
        };
        let all: Vec<_> =
            self.read(|script| script.pipelines.iter().flat_map(|p| &p.jobs).filter(wanted).cloned().collect());
        let (jobs, next_page_token) = page(&all, request.page);
        Ok(Response::new(v1::ListJobsResponse { jobs, next_page_token }))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Answer<v1::JobDetail> {
        let job = Some(self.find_job(&request.into_inner().id)?);
        let spec_json = self.read(|script| script.spec_json.clone());
        // Whoever wants tasks has to ask for them: here there are only the first.
        let policy_json = r#"{"max_attempts":3,"priority":4}"#.into();
        Ok(Response::new(v1::JobDetail { job, spec_json, policy_json, ..v1::JobDetail::default() }))
    }

    async fn rerun_pipeline(&self, _: Request<v1::RerunPipelineRequest>) -> Answer<v1::SubmitPipelineResponse> {
        Err(Status::unimplemented("the dashboard submits nothing"))
    }

    async fn steer_jobs(&self, _: Request<v1::SteerJobsRequest>) -> Answer<v1::SteerJobsResponse> {
        Err(Status::unimplemented("the dashboard steers one job at a time"))
    }

    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Answer<v1::ListTasksResponse> {
        let request = request.into_inner();
        let wanted = |task: &&v1::Task| {
            task.job_id == request.job_id && (request.state.is_empty() || task.state == request.state)
        };
        let all: Vec<_> = self.read(|script| script.tasks.iter().filter(wanted).cloned().collect());
        let (tasks, next_page_token) = page(&all, request.page);
        Ok(Response::new(v1::ListTasksResponse { tasks, next_page_token }))
    }

    async fn retry_tasks(&self, request: Request<v1::RetryTasksRequest>) -> Answer<v1::RetryTasksResponse> {
        let ids = request.into_inner().ids;
        self.note(format!("retry {} tasks from {}", ids.len(), ids[0]));
        Ok(Response::new(v1::RetryTasksResponse { retried: ids.len() as u32 }))
    }

    async fn cancel_job(&self, request: Request<v1::CancelJobRequest>) -> Answer<v1::Job> {
        let id = request.into_inner().id;
        self.note(format!("cancel {id}"));
        self.find_job(&id).map(Response::new)
    }

    async fn retry_job(&self, request: Request<v1::RetryJobRequest>) -> Answer<v1::Job> {
        let id = request.into_inner().id;
        self.note(format!("retry {id}"));
        self.find_job(&id).map(Response::new)
    }

    type WatchEventsStream = Endless<v1::Event>;

    async fn watch_events(&self, request: Request<v1::WatchEventsRequest>) -> Answer<Self::WatchEventsStream> {
        let after = request.into_inner().after_id;
        self.note(format!("watch after {after}"));
        let news = BroadcastStream::new(self.events.subscribe()).filter_map(|event| async { event.ok().map(Ok) });
        let past = self.read(|script| {
            let missed = |event: &&v1::Event| after >= 0 && event.id > after;
            script.events.iter().filter(missed).cloned().map(Ok).collect::<Vec<_>>()
        });
        let hang_up = self.hang_up.clone().notified_owned();
        Ok(Response::new(Box::pin(tokio_stream::iter(past).chain(news).take_until(Box::pin(hang_up)))))
    }

    async fn list_logs(&self, request: Request<v1::ListLogsRequest>) -> Answer<v1::ListLogsResponse> {
        let request = request.into_inner();
        let lines = self.read(|script| {
            let later = script.logs.iter().filter(|line| line.id > request.after_id);
            later.take(request.limit as usize).cloned().collect()
        });
        Ok(Response::new(v1::ListLogsResponse { lines }))
    }

    async fn list_metrics(&self, request: Request<v1::ListMetricsRequest>) -> Answer<v1::ListMetricsResponse> {
        let runs = self.read(|script| script.runs.clone());
        // A coordinator of the version before does not tell runs apart.
        let by_run = request.into_inner().by_run && !runs.is_empty();
        let series = self.read(|script| script.metrics.clone());
        Ok(Response::new(if by_run {
            v1::ListMetricsResponse { runs, ..v1::ListMetricsResponse::default() }
        } else {
            v1::ListMetricsResponse { series, ..v1::ListMetricsResponse::default() }
        }))
    }
}

#[tonic::async_trait]
impl DatasetService for Fake {
    async fn list_datasets(&self, request: Request<v1::ListDatasetsRequest>) -> Answer<v1::ListDatasetsResponse> {
        let (datasets, next_page_token) = self.read(|script| page(&script.datasets, request.into_inner().page));
        Ok(Response::new(v1::ListDatasetsResponse { datasets, next_page_token }))
    }

    async fn get_dataset(&self, request: Request<v1::GetDatasetRequest>) -> Answer<v1::Dataset> {
        let name = request.into_inner().name;
        found("dataset", &name, self.read(|script| script.datasets.iter().find(|one| one.name == name).cloned()))
    }

    async fn list_images(&self, request: Request<v1::ListImagesRequest>) -> Answer<v1::ListImagesResponse> {
        let request = request.into_inner();
        let wanted = |image: &&v1::Image| {
            (request.verdict.is_empty() || [&image.verdict, &image.reason].contains(&&request.verdict))
                && (request.class.is_empty() || image.class == request.class)
        };
        let all: Vec<_> = self.read(|script| script.images.iter().filter(wanted).cloned().collect());
        let (images, next_page_token) = page(&all, request.page);
        Ok(Response::new(v1::ListImagesResponse { images, next_page_token }))
    }

    async fn get_image(&self, request: Request<v1::GetImageRequest>) -> Answer<v1::GetImageResponse> {
        let request = request.into_inner();
        assert!(!request.original, "originals may be anything and are never shown");
        let known = self.read(|script| script.images.iter().any(|image| image.id == request.id));
        let picture = known.then(|| self.read(|script| script.picture.clone()));
        // The dashboard must not pass this on: it says itself what it sends.
        let answer = |data: Vec<u8>| v1::GetImageResponse { data: data.into(), content_type: "text/html".into() };
        found("image", &request.id, picture.map(answer))
    }

    async fn list_sources(&self, request: Request<v1::ListSourcesRequest>) -> Answer<v1::ListSourcesResponse> {
        let request = request.into_inner();
        let wanted = |source: &&v1::Source| [&source.outcome, &source.error_class].contains(&&request.outcome);
        let all: Vec<_> = self.read(|script| script.sources.iter().filter(wanted).cloned().collect());
        let (sources, next_page_token) = page(&all, request.page);
        Ok(Response::new(v1::ListSourcesResponse { sources, next_page_token }))
    }

    async fn retry_sources(&self, request: Request<v1::RetrySourcesRequest>) -> Answer<v1::SubmitPipelineResponse> {
        let request = request.into_inner();
        self.note(format!("retry sources of {}: {}", request.dataset, request.source_ids.join(" ")));
        let pipeline = self.read(|script| script.pipelines.first().cloned());
        Ok(Response::new(v1::SubmitPipelineResponse { pipeline, already_existed: false }))
    }

    async fn list_snapshots(&self, request: Request<v1::ListSnapshotsRequest>) -> Answer<v1::ListSnapshotsResponse> {
        let (snapshots, next_page_token) = self.read(|script| page(&script.snapshots, request.into_inner().page));
        Ok(Response::new(v1::ListSnapshotsResponse { snapshots, next_page_token }))
    }
}

#[tonic::async_trait]
impl ModelService for Fake {
    async fn list_models(&self, request: Request<v1::ListModelsRequest>) -> Answer<v1::ListModelsResponse> {
        let (models, next_page_token) = self.read(|script| page(&script.models, request.into_inner().page));
        Ok(Response::new(v1::ListModelsResponse { models, next_page_token }))
    }

    async fn get_model(&self, request: Request<v1::GetModelRequest>) -> Answer<v1::Model> {
        let digest = request.into_inner().digest;
        let model = self.read(|script| script.models.iter().find(|one| one.digest.starts_with(&digest)).cloned());
        found("model", &digest, model)
    }

    async fn interpret_model(&self, request: Request<v1::InterpretModelRequest>) -> Answer<v1::Interpretation> {
        let request = request.into_inner();
        let of: &str = if request.snapshot.is_empty() { "its own" } else { &request.snapshot };
        self.note(format!("interpret {} of {} of {of} by {}", request.limit, request.side, &request.digest[..8]));
        let evaluated = self.read(|script| {
            let mut evaluations = script.models.iter().flat_map(|model| &model.evaluations);
            evaluations.any(|evaluation| evaluation.snapshot_digest.starts_with(&request.snapshot))
        });
        if !request.snapshot.is_empty() && !evaluated {
            return Err(ApiError::new(ErrorCode::NotFound, format!("it was not evaluated on {of} yet")).into());
        }
        let told = self.read(|script| script.interpretation.clone());
        let refused = || ApiError::new(ErrorCode::IllegalState, format!("model {} has no predictions", request.digest));
        told.map(|told| Response::new(v1::Interpretation { side: request.side.clone(), ..told }))
            .ok_or_else(|| refused().into())
    }

    async fn get_heatmap(&self, request: Request<v1::GetHeatmapRequest>) -> Answer<v1::Heatmap> {
        let v1::GetHeatmapRequest { image_id, class, .. } = request.into_inner();
        let is_meant = |one: &&v1::Heatmap| one.image_id == image_id && (class.is_empty() || one.class == class);
        found("heatmap of image", &image_id, self.read(|script| script.heatmaps.iter().find(is_meant).cloned()))
    }
}

#[tonic::async_trait]
impl EndpointService for Fake {
    async fn list_endpoints(&self, request: Request<v1::ListEndpointsRequest>) -> Answer<v1::ListEndpointsResponse> {
        let (endpoints, next_page_token) = self.read(|script| page(&script.endpoints, request.into_inner().page));
        Ok(Response::new(v1::ListEndpointsResponse { endpoints, next_page_token }))
    }

    async fn get_endpoint(&self, request: Request<v1::GetEndpointRequest>) -> Answer<v1::Endpoint> {
        let name = request.into_inner().name;
        found("endpoint", &name, self.read(|script| script.endpoints.iter().find(|one| one.name == name).cloned()))
    }

    async fn deploy(&self, _: Request<v1::DeployRequest>) -> Answer<v1::Endpoint> {
        Err(Status::unimplemented("the dashboard deploys nothing"))
    }
}

fn no_worker<T>() -> Answer<T> {
    Err(Status::unimplemented("the dashboard is no worker"))
}

#[tonic::async_trait]
impl WorkerService for Fake {
    type SessionStream = Endless<v1::WorkerOrders>;

    async fn session(&self, _: Request<tonic::Streaming<v1::WorkerReport>>) -> Answer<Self::SessionStream> {
        no_worker()
    }

    async fn append_logs(&self, _: Request<v1::AppendLogsRequest>) -> Answer<v1::AppendLogsResponse> {
        no_worker()
    }

    async fn append_metrics(&self, _: Request<v1::AppendMetricsRequest>) -> Answer<v1::AppendMetricsResponse> {
        no_worker()
    }

    async fn record_checkpoint(&self, _: Request<v1::RecordCheckpointRequest>) -> Answer<v1::RecordCheckpointResponse> {
        no_worker()
    }

    async fn complete_task(&self, _: Request<v1::CompleteTaskRequest>) -> Answer<v1::CompleteTaskResponse> {
        no_worker()
    }

    async fn complete_tasks(&self, _: Request<v1::CompleteTasksRequest>) -> Answer<v1::CompleteTasksResponse> {
        no_worker()
    }

    async fn fail_task(&self, _: Request<v1::FailTaskRequest>) -> Answer<v1::FailTaskResponse> {
        no_worker()
    }

    async fn list_workers(&self, request: Request<v1::ListWorkersRequest>) -> Answer<v1::ListWorkersResponse> {
        let (workers, next_page_token) = self.read(|script| page(&script.workers, request.into_inner().page));
        Ok(Response::new(v1::ListWorkersResponse { workers, next_page_token }))
    }

    async fn drain_worker(&self, request: Request<v1::DrainWorkerRequest>) -> Answer<v1::Worker> {
        let v1::DrainWorkerRequest { id, drain } = request.into_inner();
        self.note(format!("worker {id} drain={drain}"));
        found("worker", &id, self.read(|script| script.workers.iter().find(|one| one.id == id).cloned()))
    }
}

#[tonic::async_trait]
impl NodeService for Fake {
    type SessionStream = Endless<v1::NodeOrders>;

    async fn session(&self, _: Request<tonic::Streaming<v1::NodeReport>>) -> Answer<Self::SessionStream> {
        Err(Status::unimplemented("the dashboard is no node"))
    }

    async fn list_nodes(&self, request: Request<v1::ListNodesRequest>) -> Answer<v1::ListNodesResponse> {
        let (nodes, next_page_token) = self.read(|script| page(&script.nodes, request.into_inner().page));
        Ok(Response::new(v1::ListNodesResponse { nodes, next_page_token }))
    }
}

#[tonic::async_trait]
impl QueueService for Fake {
    async fn list_projects(&self, request: Request<v1::ListProjectsRequest>) -> Answer<v1::ListProjectsResponse> {
        let (projects, next_page_token) = self.read(|script| page(&script.projects, request.into_inner().page));
        Ok(Response::new(v1::ListProjectsResponse { projects, next_page_token }))
    }

    async fn put_project(&self, _: Request<v1::PutProjectRequest>) -> Answer<v1::Project> {
        Err(Status::unimplemented("the dashboard changes no quotas"))
    }

    async fn pause_project(&self, request: Request<v1::PauseProjectRequest>) -> Answer<v1::Project> {
        let v1::PauseProjectRequest { name, paused } = request.into_inner();
        self.note(format!("project {name} paused={paused}"));
        found("project", &name, self.read(|script| script.projects.iter().find(|one| one.name == name).cloned()))
    }

    async fn list_queues(&self, request: Request<v1::ListQueuesRequest>) -> Answer<v1::ListQueuesResponse> {
        let (queues, next_page_token) = self.read(|script| page(&script.queues, request.into_inner().page));
        Ok(Response::new(v1::ListQueuesResponse { queues, next_page_token }))
    }

    async fn pause_queue(&self, request: Request<v1::PauseQueueRequest>) -> Answer<v1::Queue> {
        let v1::PauseQueueRequest { kind, paused } = request.into_inner();
        self.note(format!("queue {kind} paused={paused}"));
        found("queue", &kind, self.read(|script| script.queues.iter().find(|one| one.kind == kind).cloned()))
    }
}

#[tonic::async_trait]
impl ScheduleService for Fake {
    async fn put_schedule(&self, _: Request<v1::PutScheduleRequest>) -> Answer<v1::Schedule> {
        Err(Status::unimplemented("the dashboard makes no schedules"))
    }

    async fn get_schedule(&self, _: Request<v1::GetScheduleRequest>) -> Answer<v1::Schedule> {
        Err(Status::unimplemented("the dashboard lists schedules"))
    }

    async fn list_schedules(&self, request: Request<v1::ListSchedulesRequest>) -> Answer<v1::ListSchedulesResponse> {
        let (schedules, next_page_token) = self.read(|script| page(&script.schedules, request.into_inner().page));
        Ok(Response::new(v1::ListSchedulesResponse { schedules, next_page_token }))
    }

    async fn pause_schedule(&self, request: Request<v1::PauseScheduleRequest>) -> Answer<v1::Schedule> {
        let v1::PauseScheduleRequest { name, paused } = request.into_inner();
        self.note(format!("schedule {name} paused={paused}"));
        found("schedule", &name, self.read(|script| script.schedules.iter().find(|one| one.name == name).cloned()))
    }

    async fn delete_schedule(&self, _: Request<v1::DeleteScheduleRequest>) -> Answer<v1::DeleteScheduleResponse> {
        Err(Status::unimplemented("the dashboard deletes no schedules"))
    }
}

#[tonic::async_trait]
impl WebhookService for Fake {
    async fn create_webhook(&self, _: Request<v1::CreateWebhookRequest>) -> Answer<v1::CreateWebhookResponse> {
        Err(Status::unimplemented("the dashboard makes no webhooks"))
    }

    async fn list_webhooks(&self, request: Request<v1::ListWebhooksRequest>) -> Answer<v1::ListWebhooksResponse> {
        let (webhooks, next_page_token) = self.read(|script| page(&script.webhooks, request.into_inner().page));
        Ok(Response::new(v1::ListWebhooksResponse { webhooks, next_page_token }))
    }

    async fn get_webhook(&self, request: Request<v1::GetWebhookRequest>) -> Answer<v1::Webhook> {
        let id = request.into_inner().id;
        found("webhook", &id, self.read(|script| script.webhooks.iter().find(|one| one.id == id).cloned()))
    }

    async fn delete_webhook(&self, _: Request<v1::DeleteWebhookRequest>) -> Answer<v1::DeleteWebhookResponse> {
        Err(Status::unimplemented("the dashboard deletes no webhooks"))
    }

    async fn list_deliveries(&self, request: Request<v1::ListDeliveriesRequest>) -> Answer<v1::ListDeliveriesResponse> {
        let request = request.into_inner();
        let wanted = |delivery: &&v1::Delivery| delivery.webhook_id == request.webhook_id;
        let all: Vec<_> = self.read(|script| script.deliveries.iter().filter(wanted).cloned().collect());
        let (deliveries, next_page_token) = page(&all, request.page);
        Ok(Response::new(v1::ListDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn redeliver_event(&self, request: Request<v1::RedeliverEventRequest>) -> Answer<v1::Delivery> {
        let id = request.into_inner().id;
        self.note(format!("redeliver {id}"));
        let delivery = self.read(|script| script.deliveries.iter().find(|one| one.id == id).cloned());
        found("delivery", &id.to_string(), delivery)
    }
}
