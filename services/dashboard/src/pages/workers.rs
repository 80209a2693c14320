//! `/workers`: the machines that work on tasks.

use axum::extract::{Path, Query, State};
use axum::response::Redirect;
use maud::{Markup, html};
use ursa_proto::v1;

use super::{Paging, parse_id};
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::{parts, text};

const PAGE_SIZE: u32 = 50;
/// Workers report without making events.
const EVERY_MS: u32 = 3000;

/// `GET /workers`
pub(crate) async fn show(
    State(app): State<App>,
    Query(paging): Query<Paging>,
    view: View,
) -> Result<Markup, PageError> {
    let request = v1::ListWorkersRequest { page: Some(paging.request(PAGE_SIZE)) };
    let answer = ask(app.client.workers().list_workers(request)).await?;
    let content = html! {
        h1 { "Workers" }
        @if answer.workers.is_empty() {
            (parts::empty("No worker has been seen in the last day.", html! { "Start one with " code { "ursa-worker" }
                ", or the whole system with " code { "ursa up" } "; until then jobs wait." }))
        } @else { (table(&answer.workers)) }
        (parts::more("/workers", &[], &answer.next_page_token))
    };
    Ok(view.page("Workers", Nav::Workers, &Refresh::on("task.").every(EVERY_MS), content))
}

fn table(workers: &[v1::Worker]) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Worker" } th { "State" } th { "Slots in use" } th { "Takes" } th { "Labels" } th { "GPUs" } th { "Last seen" } } }
        tbody { @for worker in workers { tr {
            td { b { (worker.name) } p.quiet { (parts::id(&worker.id)) " version " (worker.version) } }
            td { (parts::chip(&worker.state)) @if worker.draining { " " (parts::chip("draining")) }
                (drain_or_resume(worker)) }
            td { meter min="0" max=(worker.slots.max(1)) value=(worker.running) {} " " (worker.running) " / " (worker.slots) }
            td { @if worker.kinds.is_empty() { "every kind" } @else { (worker.kinds.join(", ")) } }
            td.labels { (labels(worker)) }
            td { (gpus(&worker.gpus)) }
            td { (parts::when(worker.last_seen_at.as_ref())) }
        } } }
    } } }
}

fn labels(worker: &v1::Worker) -> Markup {
    let mut labels: Vec<_> = worker.labels.iter().collect();
    labels.sort_unstable();
    html! {
        @if labels.is_empty() { span.none { "none" } }
        @for (name, value) in labels { div { code { (name) @if !value.is_empty() { "=" (value) } } } }
    }
}

fn gpus(gpus: &[v1::Gpu]) -> Markup {
    html! { @if gpus.is_empty() { span.none { "none" } }
    @for gpu in gpus { div.gpu {
        span.quiet { (gpu.index) ": " } (gpu.model)
        p.quiet { meter min="0" max=(gpu.memory_bytes.max(1)) value=(gpu.memory_bytes.saturating_sub(gpu.free_bytes)) {}
            " " (text::bytes(gpu.free_bytes)) " free of " (text::bytes(gpu.memory_bytes)) }
        p.quiet {
            @if let Some(percent) = gpu.utilisation_percent { (percent) " % at work" } @else { "nobody knows how busy" }
            @if !gpu.driver.is_empty() { ", driver " (gpu.driver) }
        }
    } } }
}

/// A worker that is gone needs no order.
fn drain_or_resume(worker: &v1::Worker) -> Markup {
    let path = |what: &str| format!("/workers/{}/{what}", worker.id);
    html! {
        @if worker.draining { (parts::action(&path("resume"), "Resume", "")) }
        @else if worker.state == "online" { (parts::action(&path("drain"), "Drain", "")) }
    }
}

/// `POST /workers/{id}/drain`
pub(crate) async fn drain(app: State<App>, id: Path<String>) -> Result<Redirect, PageError> {
    steer(app, id, true).await
}

/// `POST /workers/{id}/resume`
pub(crate) async fn resume(app: State<App>, id: Path<String>) -> Result<Redirect, PageError> {
    steer(app, id, false).await
}

async fn steer(State(app): State<App>, Path(id): Path<String>, drain: bool) -> Result<Redirect, PageError> {
    let id = parse_id("worker", &id)?;
    ask(app.client.workers().drain_worker(v1::DrainWorkerRequest { id, drain })).await?;
    Ok(Redirect::to("/workers"))
}
