//! `/jobs`: every job, newest first, by state.

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;
use ursa_proto::v1;

use super::Paging;
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::parts;

const PAGE_SIZE: u32 = 50;
const STATES: [&str; 7] = ["waiting", "running", "cancelling", "succeeded", "failed", "cancelled", "skipped"];

/// Which jobs.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    state: String,
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
        ..Default::default()
    };
    let answer = ask(app.client.jobs().list_jobs(request)).await?;
    let content = html! {
        h1 { "Jobs" }
        (parts::filter("/jobs", "state", &STATES, &wanted.state, &[]))
        @if answer.jobs.is_empty() { (nothing(&wanted.state)) } @else { (table(&answer.jobs, true)) }
        (parts::more("/jobs", &[("state", &wanted.state)], &answer.next_page_token))
    };
    Ok(view.page("Jobs", Nav::Jobs, &Refresh::on("job."), content))
}

fn nothing(state: &str) -> Markup {
    if state.is_empty() {
        return parts::empty(
            "There is no job yet.",
            html! { "Submit some with " code { "ursa pipeline run FILE.yaml" } "." },
        );
    }
    parts::empty(&format!("No job is {state}."), html! { a href="/jobs" { "See them all" } "." })
}

/// Jobs as rows, each with its pipeline where they are of several.
pub(super) fn table(jobs: &[v1::Job], with_pipeline: bool) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Job" } th { "Kind" } th { "State" } th { "Progress" }
            @if with_pipeline { th { "Pipeline" } } th { "Submitted" } th { "Took" } } }
        tbody { @for job in jobs { tr {
            td { a href=(format!("/jobs/{}", job.id)) { (job.name) } }
            td { (job.kind) }
            td { (parts::chip(&job.state)) }
            td { (parts::progress(job.progress.as_ref()))
                @if !job.error.is_empty() { p.error { (crate::view::text::cut(&job.error, 200)) } } }
            @if with_pipeline { td { a.mono href=(format!("/pipelines/{}", job.pipeline_id)) title=(job.pipeline_id) {
                (crate::view::text::short_id(&job.pipeline_id)) } } }
            td { (parts::when(job.created_at.as_ref())) }
            td { (parts::took(job.started_at.as_ref(), job.finished_at.as_ref())) }
        } } }
    } } }
}
