//! `/nodes`: the machines that serve models.

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

/// `GET /nodes`
pub(crate) async fn show(
    State(app): State<App>,
    Query(paging): Query<Paging>,
    view: View,
) -> Result<Markup, PageError> {
    let request = v1::ListNodesRequest { page: Some(paging.request(PAGE_SIZE)) };
    let answer = ask(app.client.nodes().list_nodes(request)).await?;
    let content = html! {
        h1 { "Nodes" }
        @if answer.nodes.is_empty() {
            (parts::empty("No inference node has been seen in the last day.", html! { "Start one with "
                code { "ursa-inference" } ", or the whole system with " code { "ursa up" } "." }))
        }
        @for node in &answer.nodes { (card(node)) }
        (parts::more("/nodes", &[], &answer.next_page_token))
    };
    Ok(view.page("Nodes", Nav::Nodes, &Refresh::default().every(EVERY_MS), content))
}

fn card(node: &v1::Node) -> Markup {
    html! { article.card {
        header { h2 { (node.name) } (parts::chip(&node.state))
            span.aside { "seen " (parts::when(node.last_seen_at.as_ref())) ", version " (node.version) } }
        p.mono.quiet { (node.http_address) " · " (node.grpc_address) }
        @if node.endpoints.is_empty() { p.quiet { "Serves nothing yet." } } @else { (endpoints(&node.endpoints)) }
    } }
}

fn endpoints(endpoints: &[v1::EndpointStatus]) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Endpoint" } th { "State" } th { "Shall serve" } th { "Serves now" } } }
        tbody { @for endpoint in endpoints { tr {
            td { (endpoint.endpoint) }
            td { (parts::serving_chip(&endpoint.state)) @if !endpoint.error.is_empty() { p.error { (endpoint.error) } } }
            td { (parts::model_link(&endpoint.model_digest)) }
            td { (parts::model_link(&endpoint.serving_digest)) }
        } } }
    } } }
}
