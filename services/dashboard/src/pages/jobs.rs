//! `/jobs`: every job, newest first, by state, kind and project.

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;
use ursa_proto::v1;

use super::Paging;
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::{parts, text};

const PAGE_SIZE: u32 = 50;
const KINDS: [&str; 11] =
    ["scrape", "verify", "snapshot", "find_lr", "train", "search", "evaluate", "explain", "deploy", "sgd_lab", "probe"];
const STATES: [&str; 7] = ["waiting", "running", "cancelling", "succeeded", "failed", "cancelled", "skipped"];

/// Which jobs.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    state: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    project: String,
    #[serde(flatten)]
    paging: Paging,
}

/// `GET /jobs`
pub(crate) async fn show(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
    view: View,
) -> Result<Markup, PageError> {
    let request = v1::ListJobsRequest {
        page: Some(wanted.paging.request(PAGE_SIZE)),
        state: wanted.state.clone(),
        kind: wanted.kind.clone(),
        project: wanted.project.clone(),
        ..Default::default()
    };
    let (state, kind, project) =
        (("state", wanted.state.as_str()), ("kind", wanted.kind.as_str()), ("project", wanted.project.as_str()));
    let answer = ask(app.client.jobs().list_jobs(request)).await?;
    let content = html! {
        h1 { "Jobs" @if !wanted.project.is_empty() { " of project " (wanted.project) } }
        (parts::filter("/jobs", "state", &STATES, &wanted.state, &[kind, project]))
        (parts::filter("/jobs", "kind", &KINDS, &wanted.kind, &[state, project]))
        @if answer.jobs.is_empty() { (nothing(&wanted)) } @else { (table(&answer.jobs, true)) }
        (parts::more("/jobs", &[state, kind, project], &answer.next_page_token))
    };
    Ok(view.page("Jobs", Nav::Jobs, &Refresh::on("job."), content))
}

fn nothing(wanted: &Wanted) -> Markup {
    let Wanted { state, kind, project, .. } = wanted;
    if state.is_empty() && kind.is_empty() && project.is_empty() {
        return parts::empty(
            "There is no job yet.",
            html! { "Submit some with " code { "ursa pipeline run FILE.yaml" } "." },
        );
    }
    let what = match state.as_str() {
        "" => "No job is like that.".to_owned(),
        state => format!("No job is {state}."),
    };
    parts::empty(&what, html! { a href="/jobs" { "See them all" } "." })
}

/// Jobs as rows, each with its pipeline where they are of several.
pub(super) fn table(jobs: &[v1::Job], with_pipeline: bool) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Job" } th { "Kind" } th { "State" } th { "Progress" }
            @if with_pipeline { th { "Pipeline" } } th { "Submitted" } th { "Took" } } }
        tbody { @for job in jobs { tr {
            td { a href=(format!("/jobs/{}", job.id)) { (job.name) } }
            td { (job.kind) }
            td { (parts::chip(&job.state)) @if !job.cached_from.is_empty() { " " span.chip title=(job.cached_from) { "cached" } } }
            td { (parts::progress(job.progress.as_ref())) (beside(job)) }
            @if with_pipeline { td {
                a.mono href=(format!("/pipelines/{}", job.pipeline_id)) title=(job.pipeline_id) { (text::short_id(&job.pipeline_id)) }
                @if !job.project.is_empty() { p.quiet { a href=(parts::link("/jobs", [("project", job.project.as_str())])) { (job.project) } } }
            } }
            td { (parts::when(job.created_at.as_ref())) }
            td { (parts::took(job.started_at.as_ref(), job.finished_at.as_ref())) }
        } } }
    } } }
}

/// What a row says under the bar: the pace of what runs, why it failed, why it waits, and what did not end well.
fn beside(job: &v1::Job) -> Markup {
    let tasks = job.tasks.unwrap_or_default();
    html! {
        @if job.rate > 0.0 || job.eta_seconds > 0.0 { p.quiet { (parts::pace(job)) } }
        @if tasks.dead > 0 { p { span.bad { (text::count(tasks.dead.into())) " dead" } } }
        @if !job.error.is_empty() { p.error { (text::cut(&job.error, 200)) } }
        @if !job.waiting_reason.is_empty() { p.quiet { (text::cut(&job.waiting_reason, 200)) } }
    }
}
