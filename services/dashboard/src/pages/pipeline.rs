//! `/pipelines/{id}`: one pipeline and its jobs.

use axum::extract::{Path, State};
use maud::{Markup, html};
use ursa_proto::v1;

use super::{jobs, parse_id};
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::{parts, text};

/// `GET /pipelines/{id}`
pub(crate) async fn show(State(app): State<App>, Path(id): Path<String>, view: View) -> Result<Markup, PageError> {
    let id = parse_id("pipeline", &id)?;
    let pipeline = ask(app.client.jobs().get_pipeline(v1::GetPipelineRequest { id })).await?;
    let content = html! {
        p.eyebrow { "Pipeline " (parts::id(&pipeline.id))
            @if !pipeline.project.is_empty() { " of project " a href=(parts::link("/jobs", [("project", pipeline.project.as_str())])) { (pipeline.project) } }
            @if !pipeline.rerun_of.is_empty() { ", runs again "
                a href=(format!("/pipelines/{}", pipeline.rerun_of)) { (text::short_id(&pipeline.rerun_of)) } } }
        header.title { h1 { (pipeline.name) } (parts::chip(&pipeline.state))
            span.aside { "submitted " (parts::when(pipeline.created_at.as_ref())) } }
        div.card { (parts::dag(&pipeline.jobs)) }
        h2 { "Jobs" }
        (jobs::table(&pipeline.jobs, false))
    };
    Ok(view.page(&pipeline.name, Nav::Overview, &Refresh::on("job.").of(&pipeline.id), content))
}
