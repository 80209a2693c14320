//! `/queues`: projects with their shares and quotas, queues with what is in them, and what is held up.

use axum::extract::{Path, Query, State};
use axum::response::Redirect;
use maud::{Markup, html};
use ursa_proto::v1;

use super::Paging;
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::{parts, text};

/// Of projects; queues are few.
const PAGE_SIZE: u32 = 50;
/// Tasks become ready without making events.
const EVERY_MS: u32 = 3000;

/// `GET /queues`
pub(crate) async fn show(
    State(app): State<App>,
    Query(paging): Query<Paging>,
    view: View,
) -> Result<Markup, PageError> {
    let queues = ask(app.client.queues().list_queues(v1::ListQueuesRequest::default())).await?.queues;
    let request = v1::ListProjectsRequest { page: Some(paging.request(PAGE_SIZE)) };
    let answer = ask(app.client.queues().list_projects(request)).await?;
    let content = html! {
        h1 { "Queues" }
        p.quiet { "A queue holds the tasks of one kind. What is paused begins nothing more; what runs goes on." }
        (queue_table(&queues))
        h2 { "Projects" }
        p.quiet { "Projects share what there is by their weights. Change one with " code { "ursa project put NAME --weight 2 --max-gpus 4" } "." }
        (project_table(&answer.projects))
        (parts::more("/queues", &[], &answer.next_page_token))
    };
    Ok(view.page("Queues", Nav::Queues, &Refresh::on("task.").every(EVERY_MS), content))
}

fn queue_table(queues: &[v1::Queue]) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Queue" } th.number { "Ready" } th.number { "Running" } th { "First one waits" } th {} th {} } }
        tbody { @for queue in queues { tr {
            td { a href=(parts::link("/jobs", [("kind", queue.kind.as_str())])) { (queue.kind) } }
            td.number { (text::count(queue.ready)) }
            td.number { (text::count(queue.running)) }
            td { @if queue.ready > 0 { (text::seconds(queue.oldest_seconds)) } @else { span.none { "–" } } }
            td { @if queue.paused { (parts::chip("paused")) } }
            td.act { (parts::pause_or_resume(&format!("/queues/{}", parts::segment(&queue.kind)), queue.paused)) }
        } } }
    } } }
}

fn project_table(projects: &[v1::Project]) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Project" } th.number { "Weight" } th { "Tasks at work" } th { "GPUs at work" } th { "Made" } th {} th {} } }
        tbody { @for project in projects { tr {
            td { a href=(parts::link("/jobs", [("project", project.name.as_str())])) { (project.name) } }
            td.number { (project.weight) }
            td { (of_quota(project.running, project.max_running)) }
            td { (of_quota(project.gpus, project.max_gpus)) }
            td { (parts::when(project.created_at.as_ref())) }
            td { @if project.paused { (parts::chip("paused")) } }
            td.act { (parts::pause_or_resume(&format!("/projects/{}", parts::segment(&project.name)), project.paused)) }
        } } }
    } } }
}

fn of_quota(used: u32, quota: Option<u32>) -> Markup {
    html! {
        @if let Some(quota) = quota {
            meter min="0" max=(quota.max(1)) value=(used.min(quota)) {} " " (used) " / " (quota)
        } @else { (used) " " span.quiet { "no quota" } }
    }
}

/// `POST /projects/{name}/pause`
pub(crate) async fn pause_project(app: State<App>, name: Path<String>) -> Result<Redirect, PageError> {
    steer_project(app, name, true).await
}

/// `POST /projects/{name}/resume`
pub(crate) async fn resume_project(app: State<App>, name: Path<String>) -> Result<Redirect, PageError> {
    steer_project(app, name, false).await
}

/// `POST /queues/{kind}/pause`
pub(crate) async fn pause_queue(app: State<App>, kind: Path<String>) -> Result<Redirect, PageError> {
    steer_queue(app, kind, true).await
}

/// `POST /queues/{kind}/resume`
pub(crate) async fn resume_queue(app: State<App>, kind: Path<String>) -> Result<Redirect, PageError> {
    steer_queue(app, kind, false).await
}

async fn steer_project(State(app): State<App>, Path(name): Path<String>, paused: bool) -> Result<Redirect, PageError> {
    ask(app.client.queues().pause_project(v1::PauseProjectRequest { name, paused })).await?;
    Ok(Redirect::to("/queues"))
}

async fn steer_queue(State(app): State<App>, Path(kind): Path<String>, paused: bool) -> Result<Redirect, PageError> {
    ask(app.client.queues().pause_queue(v1::PauseQueueRequest { kind, paused })).await?;
    Ok(Redirect::to("/queues"))
}
