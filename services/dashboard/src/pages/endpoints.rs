//! `/endpoints`: what is served under which name, and what each node makes of it.

use axum::extract::{Query, State};
use maud::{Markup, html};
use ursa_proto::v1;

use super::Paging;
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::parts;

const PAGE_SIZE: u32 = 50;
/// Nodes report without making events.
const EVERY_MS: u32 = 3000;

/// `GET /endpoints`
pub(crate) async fn show(
    State(app): State<App>,
    Query(paging): Query<Paging>,
    view: View,
) -> Result<Markup, PageError> {
    let request = v1::ListEndpointsRequest { page: Some(paging.request(PAGE_SIZE)) };
    let answer = ask(app.client.endpoints().list_endpoints(request)).await?;
    let content = html! {
        h1 { "Endpoints" }
        @if answer.endpoints.is_empty() {
            (parts::empty("Nothing is served yet.", html! { "A deploy job of a pipeline does it, or "
                code { "ursa endpoints deploy NAME MODEL" } " with one of the " a href="/models" { "models" } "." }))
        }
        @for endpoint in &answer.endpoints { (card(endpoint)) }
        (parts::more("/endpoints", &[], &answer.next_page_token))
    };
    Ok(view.page("Endpoints", Nav::Endpoints, &Refresh::on("job.succeeded").every(EVERY_MS), content))
}

fn card(endpoint: &v1::Endpoint) -> Markup {
    html! { article.card {
        header { h2 { (endpoint.name) } span { "model " (parts::model_link(&endpoint.model_digest)) }
            span.aside { "change " (endpoint.generation) ", " (parts::when(endpoint.updated_at.as_ref())) }
            a.button href=(parts::link("/try", [("endpoint", endpoint.name.as_str())])) { "Try it" } }
        @if endpoint.assignments.is_empty() {
            p.quiet { "No node is online to serve it. Start one with " code { "ursa-inference" } " or " code { "ursa up" } "." }
        } @else { (assignments(&endpoint.assignments)) }
    } }
}

fn assignments(assignments: &[v1::Assignment]) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Node" } th { "State" } th { "Serves now" } th { "HTTP" } th { "gRPC" } } }
        tbody { @for assignment in assignments { tr {
            td { (assignment.node_name) }
            td { (parts::serving_chip(&assignment.state)) @if !assignment.error.is_empty() { p.error { (assignment.error) } } }
            td { (parts::model_link(&assignment.serving_digest)) }
            td.mono { (assignment.http_address) }
            td.mono { (assignment.grpc_address) }
        } } }
    } } }
}
