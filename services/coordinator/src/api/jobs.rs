//! `JobService`.

use std::ops::RangeInclusive;
use std::pin::Pin;

use futures::Stream;
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};
use ursa_domain::lifecycle::job::JobState;
use ursa_domain::pipeline::{self, PipelineSpec};
use ursa_proto::v1::job_service_server::JobService;
use ursa_proto::{ApiError, timestamp, v1};
use uuid::Uuid;

use super::waiting::{Explainer, Wait};
use super::{Answer, id, kind, logs, pages, refuse, steer, watch};
use crate::context::Context;
use crate::store::{JobQuery, JobRow, PipelineRow, Submission, TaskQuery};

/// See the module.
#[derive(Debug)]
pub(crate) struct JobApi(pub Context);

const MAX_KEY_BYTES: usize = 200;
const LOG_LINES: u32 = 1000;
const MAX_LOG_LINES: u32 = 10_000;
const TASKS_OF_A_JOB: i64 = 1000;
const CHECKPOINTS_OF_A_JOB: i64 = 1000;

#[tonic::async_trait]
impl JobService for JobApi {
    async fn submit_pipeline(&self, request: Request<v1::SubmitPipelineRequest>) -> Answer<v1::SubmitPipelineResponse> {
        let request = request.into_inner();
        let wire = request.pipeline.ok_or_else(|| ApiError::invalid("pipeline: is missing"))?;
        let fingerprint: [u8; 32] = Sha256::digest(wire.encode_to_vec()).into();
        let spec = PipelineSpec::try_from(wire).map_err(ApiError::from)?;
        let key = idempotency_key(&request.idempotency_key)?;
        let submission = Submission { pipeline: &spec, idempotency_key: key, rerun_of: None, fingerprint };
        submit(&self.0, &submission).await.map(Response::new)
    }

    async fn rerun_pipeline(&self, request: Request<v1::RerunPipelineRequest>) -> Answer<v1::SubmitPipelineResponse> {
        let request = request.into_inner();
        let earlier = id("id", &request.id)?;
        let fingerprint: [u8; 32] = Sha256::digest(request.encode_to_vec()).into();
        let key = idempotency_key(&request.idempotency_key)?;
        let before = self.0.store.pipeline_spec(earlier).await.map_err(refuse)?;
        let mut spec = match request.pipeline {
            Some(wire) => PipelineSpec::try_from(wire).map_err(ApiError::from)?,
            None => before,
        };
        spec.reuse = !request.fresh;
        let submission = Submission { pipeline: &spec, idempotency_key: key, rerun_of: Some(earlier), fingerprint };
        submit(&self.0, &submission).await.map(Response::new)
    }

    async fn get_pipeline(&self, request: Request<v1::GetPipelineRequest>) -> Answer<v1::Pipeline> {
        let id = id("id", &request.into_inner().id)?;
        let (row, jobs) = self.0.store.pipeline(id).await.map_err(refuse)?;
        let jobs = self.explained(jobs).await?;
        Ok(Response::new(pipeline_message(&row, jobs)))
    }

    async fn list_pipelines(&self, request: Request<v1::ListPipelinesRequest>) -> Answer<v1::ListPipelinesResponse> {
        let request = request.into_inner();
        let (size, before) = pages::read(request.page, pages::id)?;
        let project = Some(request.project.as_str()).filter(|project| !project.is_empty());
        let mut rows = self.0.store.pipelines(project, before, size as i64 + 1).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut rows, size, |(row, _)| row.id.to_string());
        let message = |(row, jobs): (PipelineRow, Vec<JobRow>)| {
            pipeline_message(&row, jobs.into_iter().map(job_message).collect())
        };
        Ok(Response::new(v1::ListPipelinesResponse {
            pipelines: rows.into_iter().map(message).collect(),
            next_page_token,
        }))
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Answer<v1::ListJobsResponse> {
        let request = request.into_inner();
        let (size, before) = pages::read(request.page, pages::id)?;
        let pipeline = optional_id("pipeline_id", &request.pipeline_id)?.map(|id| [id]);
        let query = JobQuery {
            pipelines: pipeline.as_ref().map(<[_; 1]>::as_slice),
            state: optional_state(&request.state)?,
            project: Some(request.project.as_str()).filter(|project| !project.is_empty()),
            kind: Some(request.kind.as_str())
                .filter(|word| !word.is_empty())
                .map(|word| kind("kind", word))
                .transpose()?,
            before,
            ..JobQuery::default()
        };
        let mut rows = self.0.store.jobs(&query, size as i64 + 1).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut rows, size, |row| row.id.to_string());
        Ok(Response::new(v1::ListJobsResponse { jobs: self.explained(rows).await?, next_page_token }))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Answer<v1::JobDetail> {
        let id = id("id", &request.into_inner().id)?;
        let (row, spec, policy) = self.0.store.job(id).await.map_err(refuse)?;
        let query = TaskQuery { job: Some(id), ..TaskQuery::default() };
        let mut tasks = self.0.store.tasks(&query, TASKS_OF_A_JOB).await.map_err(refuse)?;
        tasks.truncate(pages::fitting(&tasks));
        let wait = Explainer::new(&self.0).explain_rest(&row).await.map_err(refuse)?;
        Ok(Response::new(v1::JobDetail {
            job: Some(explained(row, wait)),
            tasks,
            spec_json: spec.to_string(),
            policy_json: policy.to_string(),
            checkpoints: self.0.store.kept_checkpoints(id, CHECKPOINTS_OF_A_JOB).await.map_err(refuse)?,
        }))
    }

    async fn steer_jobs(&self, request: Request<v1::SteerJobsRequest>) -> Answer<v1::SteerJobsResponse> {
        steer::steer(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Answer<v1::ListTasksResponse> {
        steer::list_tasks(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn retry_tasks(&self, request: Request<v1::RetryTasksRequest>) -> Answer<v1::RetryTasksResponse> {
        steer::retry_tasks(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn cancel_job(&self, request: Request<v1::CancelJobRequest>) -> Answer<v1::Job> {
        let id = id("id", &request.into_inner().id)?;
        self.0.store.cancel_job(id).await.map_err(refuse)?;
        self.job(id).await
    }

    async fn retry_job(&self, request: Request<v1::RetryJobRequest>) -> Answer<v1::Job> {
        let id = id("id", &request.into_inner().id)?;
        self.0.store.retry_job(id).await.map_err(refuse)?;
        self.job(id).await
    }

    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<v1::Event, Status>> + Send>>;

    async fn watch_events(&self, request: Request<v1::WatchEventsRequest>) -> Answer<Self::WatchEventsStream> {
        let events = watch::events(&self.0, request.into_inner()).await?;
        Ok(Response::new(Box::pin(events)))
    }

    async fn list_logs(&self, request: Request<v1::ListLogsRequest>) -> Answer<v1::ListLogsResponse> {
        let request = request.into_inner();
        let job = id("job_id", &request.job_id)?;
        let limit = if request.limit == 0 { LOG_LINES } else { request.limit.min(MAX_LOG_LINES) };
        let lines = logs::list(&self.0, job, request.after_id, limit as usize).await?;
        Ok(Response::new(v1::ListLogsResponse { lines }))
    }

    async fn list_metrics(&self, request: Request<v1::ListMetricsRequest>) -> Answer<v1::ListMetricsResponse> {
        let request = request.into_inner();
        let job = id("job_id", &request.job_id)?;
        let steps = steps(request.from_step, request.to_step);
        let mut answer = v1::ListMetricsResponse::default();
        if request.by_run {
            answer.runs = self.0.store.metrics_by_run(job, &request.names, steps).await.map_err(refuse)?;
        } else {
            answer.series = self.0.store.metrics(job, &request.names, steps).await.map_err(refuse)?;
        }
        Ok(Response::new(answer))
    }
}

/// The steps from one to another, as the database counts; to 0 is to the end.
fn steps(from: u64, to: u64) -> RangeInclusive<i64> {
    let place = |step| i64::try_from(step).unwrap_or(i64::MAX);
    place(from)..=if to == 0 { i64::MAX } else { place(to) }
}

impl JobApi {
    async fn job(&self, id: Uuid) -> Answer<v1::Job> {
        let (row, ..) = self.0.store.job(id).await.map_err(refuse)?;
        Ok(Response::new(job_message(row)))
    }

    /// Jobs as messages that say why nobody is at work on them.
    async fn explained(&self, rows: Vec<JobRow>) -> Result<Vec<v1::Job>, Status> {
        let mut explainer = Explainer::new(&self.0);
        let mut jobs = Vec::with_capacity(rows.len());
        for row in rows {
            let wait = explainer.explain(&row).await.map_err(refuse)?;
            jobs.push(explained(row, wait));
        }
        Ok(jobs)
    }
}

/// Stores a submission, or finds the one its key names, and answers with the pipeline.
pub(super) async fn submit(
    context: &Context,
    submission: &Submission<'_>,
) -> Result<v1::SubmitPipelineResponse, Status> {
    pipeline::check(submission.pipeline).map_err(|error| ApiError::invalid(error.to_string()))?;
    let submitted = context.store.submit(submission, &context.submissions).await.map_err(refuse)?;
    let jobs = submitted.jobs.into_iter().map(job_message).collect();
    let pipeline = Some(pipeline_message(&submitted.pipeline, jobs));
    Ok(v1::SubmitPipelineResponse { pipeline, already_existed: submitted.already_existed })
}

fn idempotency_key(key: &str) -> Result<Option<&str>, Status> {
    if key.len() > MAX_KEY_BYTES {
        return Err(ApiError::invalid(format!("idempotency_key is longer than {MAX_KEY_BYTES} bytes")).into());
    }
    Ok(Some(key).filter(|key| !key.is_empty()))
}

pub(super) fn optional_id(field: &str, text: &str) -> Result<Option<Uuid>, Status> {
    if text.is_empty() { Ok(None) } else { id(field, text).map(Some) }
}

pub(super) fn optional_state(word: &str) -> Result<Option<JobState>, Status> {
    if word.is_empty() {
        return Ok(None);
    }
    word.parse().map(Some).map_err(|error: ursa_domain::error_class::UnknownWord| {
        let known: Vec<_> = JobState::ALL.iter().map(|state| state.as_str()).collect();
        ApiError::invalid(format!("state: {error}; known are {}", known.join(", "))).into()
    })
}

pub(super) fn job_message(row: JobRow) -> v1::Job {
    let (rate, eta_seconds) = pace(&row);
    let effective_priority = row.effective_priority();
    v1::Job {
        id: row.id.to_string(),
        pipeline_id: row.pipeline_id.to_string(),
        tasks: Some(task_counts(&row)),
        name: row.name,
        kind: row.kind,
        state: row.state,
        progress: Some(v1::Progress {
            done: row.done as u64,
            total: row.total as u64,
            unit: row.unit,
            message: row.message,
        }),
        error: row.error,
        output_json: row.output.to_string(),
        depends_on: row.depends_on.iter().map(Uuid::to_string).collect(),
        created_at: Some(timestamp(row.created_at)),
        started_at: row.started_at.map(timestamp),
        finished_at: row.finished_at.map(timestamp),
        project: row.project,
        priority: row.priority as u32,
        effective_priority: effective_priority as u32,
        priority_of: row.inherited_from.filter(|_| effective_priority > row.priority).unwrap_or_default(),
        cached_from: row.cached_from.map(|id| id.to_string()).unwrap_or_default(),
        rate,
        eta_seconds,
        ..v1::Job::default()
    }
}

fn explained(row: JobRow, wait: Option<Wait>) -> v1::Job {
    let Wait { reason, looked_at_again_at } = wait.unwrap_or_default();
    v1::Job { waiting_reason: reason, looked_at_again_at: looked_at_again_at.map(timestamp), ..job_message(row) }
}

fn task_counts(row: &JobRow) -> v1::TaskCounts {
    let (total, open, held) = (row.task_count, row.open_tasks, row.held_tasks as i32);
    let (dead, failed, cancelled) = (row.dead_tasks as i32, row.failed_tasks as i32, row.cancelled_tasks as i32);
    let count = |count: i32| count.max(0) as u32;
    v1::TaskCounts {
        total: count(total),
        queued: count(open - held),
        running: count(held),
        succeeded: count(total - open - dead - failed - cancelled),
        dead: count(dead),
        failed: count(failed),
        cancelled: count(cancelled),
    }
}

/// Units per second in the present round, and how many seconds the rest takes at that rate; zero while unknown.
fn pace(row: &JobRow) -> (f64, f64) {
    let done = row.done - row.done_before;
    let Some(started) = row.started_at.filter(|_| done > 0) else { return (0.0, 0.0) };
    let seconds = (row.finished_at.unwrap_or(row.read_at) - started).as_seconds_f64();
    if seconds <= 0.0 {
        return (0.0, 0.0);
    }
    let rate = done as f64 / seconds;
    let left = if row.finished_at.is_some() { 0.0 } else { (row.total - row.done).max(0) as f64 };
    (rate, left / rate)
}

fn pipeline_message(row: &PipelineRow, jobs: Vec<v1::Job>) -> v1::Pipeline {
    v1::Pipeline {
        id: row.id.to_string(),
        name: row.name.clone(),
        state: pipeline_state(&jobs).to_owned(),
        created_at: Some(timestamp(row.created_at)),
        jobs,
        project: row.project.clone(),
        rerun_of: row.rerun_of.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// A job that is skipped because others did not end well tells nothing that they do not; one that was there in case
/// something fails, and was not needed, is no fault.
fn pipeline_state(jobs: &[v1::Job]) -> &'static str {
    let any = |state: JobState| jobs.iter().any(|job| job.state == state.as_str());
    if any(JobState::Waiting) || any(JobState::Running) || any(JobState::Cancelling) {
        "running"
    } else if any(JobState::Failed) {
        "failed"
    } else if any(JobState::Cancelled) {
        "cancelled"
    } else {
        "succeeded"
    }
}
