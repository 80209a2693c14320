//! `/`: pipelines, newest first, with their jobs, of all projects or one.

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;
use ursa_proto::v1;

use super::Paging;
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::parts;

const PAGE_SIZE: u32 = 20;

/// Which pipelines.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    project: String,
    #[serde(flatten)]
    paging: Paging,
}

/// `GET /`
pub(crate) async fn show(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
    view: View,
) -> Result<Markup, PageError> {
    let request =
        v1::ListPipelinesRequest { page: Some(wanted.paging.request(PAGE_SIZE)), project: wanted.project.clone() };
    let answer = ask(app.client.jobs().list_pipelines(request)).await?;
    let content = html! {
        h1 { "Pipelines" @if !wanted.project.is_empty() { " of project " (wanted.project) } }
        @if answer.pipelines.is_empty() { (nothing_yet()) }
        @for pipeline in &answer.pipelines { (card(pipeline)) }
        (parts::more("/", &[("project", &wanted.project)], &answer.next_page_token))
    };
    Ok(view.page("Pipelines", Nav::Overview, &Refresh::on("job."), content))
}

fn card(pipeline: &v1::Pipeline) -> Markup {
    html! {
        article.card.pipeline {
            header {
                h2 { a href=(format!("/pipelines/{}", pipeline.id)) { (pipeline.name) } }
                (parts::chip(&pipeline.state))
                @if !pipeline.project.is_empty() { a.quiet href=(parts::link("/", [("project", pipeline.project.as_str())])) { (pipeline.project) } }
                span.aside { "submitted " (parts::when(pipeline.created_at.as_ref())) }
            }
            (parts::dag(&pipeline.jobs))
            @for job in pipeline.jobs.iter().filter(|job| !job.error.is_empty()) {
                p.error { b { (job.name) } ": " (job.error) }
            }
        }
    }
}

fn nothing_yet() -> Markup {
    parts::empty(
        "No pipeline has been submitted yet.",
        html! { "Name some classes and give a URL list for each in a pipeline file, then run "
        code { "ursa pipeline run FILE.yaml" } ". Its jobs appear here at once." },
    )
}
