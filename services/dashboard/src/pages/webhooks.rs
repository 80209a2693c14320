//! `/webhooks`: who is told of events.

use axum::extract::{Query, State};
use maud::{Markup, html};
use ursa_proto::v1;

use super::Paging;
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::parts;

const PAGE_SIZE: u32 = 50;

/// `GET /webhooks`
pub(crate) async fn show(
    State(app): State<App>,
    Query(paging): Query<Paging>,
    view: View,
) -> Result<Markup, PageError> {
    let request = v1::ListWebhooksRequest { page: Some(paging.request(PAGE_SIZE)) };
    let answer = ask(app.client.webhooks().list_webhooks(request)).await?;
    let content = html! {
        h1 { "Webhooks" }
        @if answer.webhooks.is_empty() {
            (parts::empty("Nobody is told of events.",
                html! { "Send them somewhere with " code { "ursa webhook add URL" } "; it prints the secret that signs them." }))
        } @else { (table(&answer.webhooks)) }
        (parts::more("/webhooks", &[], &answer.next_page_token))
    };
    Ok(view.page("Webhooks", Nav::Webhooks, &Refresh::default(), content))
}

fn table(webhooks: &[v1::Webhook]) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Address" } th { "Kinds of event" } th { "Project" } th { "Made" } th { "Id" } } }
        tbody { @for webhook in webhooks { tr {
            td.url { a href=(format!("/webhooks/{}", webhook.id)) { (webhook.url) } }
            td { (kinds(webhook)) }
            td { (project(webhook)) }
            td { (parts::when(webhook.created_at.as_ref())) }
            td { (parts::id(&webhook.id)) }
        } } }
    } } }
}

/// The beginnings of the kinds of event it is told of.
pub(super) fn kinds(webhook: &v1::Webhook) -> Markup {
    html! { @if webhook.kinds.is_empty() { code { "job." } " " code { "model." } }
    @for kind in &webhook.kinds { code { (kind) } " " } }
}

/// Whose events they are.
pub(super) fn project(webhook: &v1::Webhook) -> &str {
    if webhook.project.is_empty() { "all" } else { &webhook.project }
}
