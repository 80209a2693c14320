//! Many jobs or tasks at once.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tonic::Status;
use ursa_domain::policy::MAX_PRIORITY;
use ursa_proto::v1::steer_jobs_request::Action;
use ursa_proto::{ApiError, ErrorCode, v1};
use uuid::Uuid;

use super::jobs::{optional_id, optional_state};
use super::{id, kind, pages, refuse};
use crate::context::Context;
use crate::store::{JobFilter, StoreError, StoreResult, TaskQuery};

const AT_A_TIME: u32 = 100;
const MAX_AT_A_TIME: u32 = 1000;

/// Steers the next jobs that a filter finds.
pub(super) async fn steer(context: &Context, request: v1::SteerJobsRequest) -> Result<v1::SteerJobsResponse, Status> {
    let action = request.action.ok_or_else(|| ApiError::invalid("action: is missing"))?;
    check(action)?;
    let wire = request.filter.unwrap_or_default();
    let filter = filter(&wire)?;
    let limit = if request.limit == 0 { AT_A_TIME } else { request.limit };
    if limit > MAX_AT_A_TIME {
        return Err(ApiError::invalid(format!("limit is {limit}; the maximum is {MAX_AT_A_TIME}")).into());
    }
    let before = pages::after("token", &request.token, pages::id)?;
    let mut found = context.store.find_jobs(&filter, before, i64::from(limit) + 1).await.map_err(refuse)?;
    let next_token = pages::next(&mut found, limit as usize, Uuid::to_string);
    let store = &context.store;
    let steered = match action {
        Action::Cancel(_) => one_by_one(&found, |job| store.cancel_job(job)).await,
        Action::Retry(_) => one_by_one(&found, |job| store.retry_job(job)).await,
        Action::Priority(priority) => store.prioritise_jobs(&found, priority as i32).await,
    }
    .map_err(refuse)?;
    Ok(v1::SteerJobsResponse { steered, left_alone: found.len() as u32 - steered, next_token })
}

/// Returns how many were steered; the others are in no state for it, or are just being deleted.
async fn one_by_one<F, Fut>(jobs: &[Uuid], steer: F) -> StoreResult<u32>
where
    F: Fn(Uuid) -> Fut,
    Fut: Future<Output = StoreResult<()>>,
{
    let mut steered = 0;
    for job in jobs {
        match steer(*job).await {
            Ok(()) => steered += 1,
            Err(StoreError::Api(error)) if matches!(error.code, ErrorCode::IllegalState | ErrorCode::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(steered)
}

fn check(action: Action) -> Result<(), Status> {
    match action {
        Action::Priority(priority) if priority > MAX_PRIORITY as u32 => {
            Err(ApiError::invalid(format!("priority is {priority}; it must be between 0 and {MAX_PRIORITY}")).into())
        }
        Action::Cancel(false) | Action::Retry(false) => Err(ApiError::invalid("action: false is not one").into()),
        _ => Ok(()),
    }
}

fn filter(wire: &v1::JobFilter) -> Result<JobFilter<'_>, Status> {
    if *wire == v1::JobFilter::default() {
        return Err(ApiError::invalid("filter: is empty; say which jobs are meant").into());
    }
    let text = |text| Some(text).filter(|text: &&str| !text.is_empty());
    Ok(JobFilter {
        project: text(&wire.project),
        pipeline: optional_id("filter.pipeline_id", &wire.pipeline_id)?,
        kind: text(&wire.kind).map(|word| kind("filter.kind", word)).transpose()?,
        state: optional_state(&wire.state)?,
        name_prefix: text(&wire.name_prefix),
        submitted_before: time("filter.before", wire.before.as_ref())?,
        submitted_after: time("filter.after", wire.after.as_ref())?,
    })
}

/// A filter that cannot be read must not find more for it.
fn time(field: &str, at: Option<&prost_types::Timestamp>) -> Result<Option<DateTime<Utc>>, Status> {
    let time = ursa_proto::time(at);
    if at.is_some() && time.is_none() {
        return Err(ApiError::invalid(format!("{field}: is no time; give seconds since 1970, and nanoseconds")).into());
    }
    Ok(time)
}

/// A page of tasks.
pub(super) async fn list_tasks(
    context: &Context,
    request: v1::ListTasksRequest,
) -> Result<v1::ListTasksResponse, Status> {
    let (size, after) = pages::read(request.page, place)?;
    let text = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let job = optional_id("job_id", &request.job_id)?;
    // Of all jobs, the tasks that somebody has to look at.
    let state = text(&request.state).or(if job.is_none() { Some("dead") } else { None });
    if let Some(word) = state {
        word.parse::<ursa_domain::lifecycle::task::TaskState>()
            .map_err(|error| ApiError::invalid(format!("state: {error}")))?;
    }
    if job.is_none() && !matches!(state, Some("dead" | "failed")) {
        return Err(
            ApiError::invalid("job_id: is missing; without one only dead and failed tasks can be listed").into()
        );
    }
    let query = TaskQuery { job, state, project: text(&request.project), after };
    let mut tasks = context.store.tasks(&query, size as i64 + 1).await.map_err(refuse)?;
    let next_page_token = pages::next_messages(&mut tasks, size, |task| format!("{} {}", task.job_id, task.ordinal));
    Ok(v1::ListTasksResponse { tasks, next_page_token })
}

/// A job and a place in it.
fn place(token: &str) -> Option<(Uuid, i32)> {
    let (job, ordinal) = token.split_once(' ')?;
    Some((pages::id(job)?, pages::number(ordinal)?))
}

/// Gives tasks another round, job by job.
pub(super) async fn retry_tasks(
    context: &Context,
    request: v1::RetryTasksRequest,
) -> Result<v1::RetryTasksResponse, Status> {
    if request.ids.len() > MAX_AT_A_TIME as usize {
        return Err(ApiError::invalid(format!(
            "ids has {} entries; at most {MAX_AT_A_TIME} are allowed",
            request.ids.len()
        ))
        .into());
    }
    let mut ids = request.ids.iter().map(|text| id("ids", text)).collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    let found = context.store.jobs_of_tasks(&ids).await.map_err(refuse)?;
    if let Some(missing) = ids.iter().find(|id| !found.iter().any(|(_, task)| task == *id)) {
        return Err(ApiError::not_found("task", missing).into());
    }
    let mut by_job: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (job, task) in found {
        by_job.entry(job).or_default().push(task);
    }
    let mut retried = 0;
    for (job, tasks) in by_job {
        retried += context.store.replay_tasks(job, &tasks).await.map_err(refuse)? as u32;
    }
    Ok(v1::RetryTasksResponse { retried })
}
