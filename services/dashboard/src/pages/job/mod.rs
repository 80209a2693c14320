//! `/jobs/{id}`: one job with everything under it, in sections that are refreshed each for itself.

mod by_run;
mod curves;
mod evaluate;
mod explain;
mod find_lr;
mod findings;
mod logs;
mod result;
mod runs;
mod search;
mod sgd_lab;
mod spec;
mod status;
mod tasks;

use axum::extract::{Path, Query, RawForm, State};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use ursa_proto::v1;

use super::{Paging, parse_id};
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{self, Nav, Refresh};
use crate::view::parts;

/// What the sections can be told.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    /// Only tasks in this state; empty for all.
    #[serde(default)]
    state: String,
    /// Which part of the tasks.
    #[serde(flatten)]
    paging: Paging,
    /// The last log line already shown.
    #[serde(default)]
    after: i64,
}

/// `GET /jobs/{id}`
pub(crate) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Markup, PageError> {
    let detail = get(&app, &id).await?;
    let job = job(&detail)?;
    let content = html! {
        (status_section(&detail, job, &class_names(&app, job).await))
        @if curves::are_drawn(&job.kind) { (curves_section(job, curves::content(&app, job).await?)) }
        (tasks_section(&app, job, &wanted).await?)
        (logs::tail(&app, job).await?)
        (spec::details("spec", "Specification", &detail.spec_json))
        (spec::details("policy", "How it is worked on", &detail.policy_json))
    };
    Ok(layout::page(&job.name, Nav::Jobs, content))
}

/// `GET /fragments/jobs/{id}/{part}`
pub(crate) async fn part(
    State(app): State<App>,
    Path((id, part)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Markup, PageError> {
    if part == "logs" {
        return logs::lines_after(&app, parse_id("job", &id)?, wanted.after).await;
    }
    let detail = get(&app, &id).await?;
    let job = job(&detail)?;
    match part.as_str() {
        "status" => Ok(status_section(&detail, job, &class_names(&app, job).await)),
        "curves" => Ok(curves_section(job, curves::content(&app, job).await?)),
        "tasks" => tasks_section(&app, job, &wanted).await,
        _ => Err(PageError::not_found("section", &part)),
    }
}

/// `POST /jobs/{id}/cancel`
pub(crate) async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Result<Redirect, PageError> {
    let id = parse_id("job", &id)?;
    let job = ask(app.client.jobs().cancel_job(v1::CancelJobRequest { id })).await?;
    Ok(Redirect::to(&format!("/jobs/{}", job.id)))
}

/// `POST /jobs/{id}/retry`
pub(crate) async fn retry(State(app): State<App>, Path(id): Path<String>) -> Result<Redirect, PageError> {
    let id = parse_id("job", &id)?;
    let job = ask(app.client.jobs().retry_job(v1::RetryJobRequest { id })).await?;
    Ok(Redirect::to(&format!("/jobs/{}", job.id)))
}

/// `POST /jobs/{id}/replay`: another round for one task, or for all dead ones.
pub(crate) async fn replay(
    State(app): State<App>,
    Path(id): Path<String>,
    RawForm(form): RawForm,
) -> Result<Redirect, PageError> {
    let id = parse_id("job", &id)?;
    tasks::replay(&app, &id, &form).await?;
    Ok(Redirect::to(&format!("/jobs/{id}")))
}

async fn get(app: &App, id: &str) -> Result<v1::JobDetail, PageError> {
    let id = parse_id("job", id)?;
    Ok(ask(app.client.jobs().get_job(v1::GetJobRequest { id })).await?)
}

fn job(detail: &v1::JobDetail) -> Result<&v1::Job, PageError> {
    detail.job.as_ref().ok_or_else(|| PageError::Invalid("the coordinator's answer names no job".into()))
}

/// Whether anything may still happen without somebody asking for it.
fn is_active(job: &v1::Job) -> bool {
    matches!(job.state.as_str(), "waiting" | "running" | "cancelling")
}

fn url(job: &v1::Job, part: &str) -> String {
    format!("/fragments/jobs/{}/{part}", job.id)
}

/// Names for the confusion matrix; without them the page numbers the classes.
async fn class_names(app: &App, job: &v1::Job) -> Vec<String> {
    let Some(digest) = result::model_digest(job) else { return Vec::new() };
    ask(app.client.models().get_model(v1::GetModelRequest { digest }))
        .await
        .map(|model| model.classes)
        .unwrap_or_default()
}

fn status_section(detail: &v1::JobDetail, job: &v1::Job, classes: &[String]) -> Markup {
    let content = status::content(detail, job, classes);
    layout::section(&url(job, "status"), &Refresh::on("job. epoch").of(&job.id), content)
}

fn curves_section(job: &v1::Job, content: Markup) -> Markup {
    // Measurements come with every batch and make no event of their own.
    let every = if job.state == "running" { 2000 } else { 0 };
    layout::section(&url(job, "curves"), &Refresh::on("job. epoch").of(&job.id).every(every), content)
}

async fn tasks_section(app: &App, job: &v1::Job, wanted: &Wanted) -> Result<Markup, PageError> {
    let query = [("state", wanted.state.as_str()), ("page", wanted.paging.page.as_str())];
    let content = tasks::content(app, job, &wanted.state, &wanted.paging).await?;
    let url = parts::link(&url(job, "tasks"), query);
    Ok(layout::section(&url, &Refresh::on("job. task.").of(&job.id), content))
}
