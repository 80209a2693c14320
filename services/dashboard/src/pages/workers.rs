//! `/workers`: the machines that work on tasks.

use axum::extract::State;
use maud::{Markup, html};
use ursa_proto::v1;

use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::{parts, text};

/// Workers report without making events.
const EVERY_MS: u32 = 3000;

/// `GET /workers`
pub(crate) async fn show(State(app): State<App>, view: View) -> Result<Markup, PageError> {
    let workers = ask(app.client.workers().list_workers(v1::ListWorkersRequest {})).await?.workers;
    let content = html! {
        h1 { "Workers" }
        @if workers.is_empty() {
            (parts::empty("No worker has been seen in the last day.", html! { "Start one with " code { "ursa-worker" }
                ", or the whole system with " code { "ursa up" } "; until then jobs wait." }))
        } @else { (table(&workers)) }
    };
    Ok(view.page("Workers", Nav::Workers, &Refresh::on("task.").every(EVERY_MS), content))
}

fn table(workers: &[v1::Worker]) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Worker" } th { "State" } th { "Slots in use" } th { "GPUs" } th { "Version" } th { "Last seen" } th { "Id" } } }
        tbody { @for worker in workers { tr {
            td { b { (worker.name) } }
            td { (parts::chip(&worker.state)) }
            td { meter min="0" max=(worker.slots.max(1)) value=(worker.running) {} " " (worker.running) " / " (worker.slots) }
            td { (gpus(&worker.gpus)) }
            td { (worker.version) }
            td { (parts::when(worker.last_seen_at.as_ref())) }
            td { (parts::id(&worker.id)) }
        } } }
    } } }
}

fn gpus(gpus: &[v1::Gpu]) -> Markup {
    html! { @if gpus.is_empty() { span.none { "none" } }
    @for gpu in gpus { div { (gpu.model) " " span.quiet { (text::bytes(gpu.memory_bytes)) } } } }
}
