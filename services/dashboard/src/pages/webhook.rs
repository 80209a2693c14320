//! `/webhooks/{id}`: what was sent to one address, and what became of it.

use axum::extract::{Path, Query, State};
use axum::response::Redirect;
use maud::{Markup, html};
use ursa_proto::v1;

use super::{Paging, parse_id, webhooks};
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::{parts, text};

const PAGE_SIZE: u32 = 50;
/// Deliveries make no events.
const EVERY_MS: u32 = 3000;

/// `GET /webhooks/{id}`
pub(crate) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
    view: View,
) -> Result<Markup, PageError> {
    let request = v1::GetWebhookRequest { id: parse_id("webhook", &id)? };
    let webhook = ask(app.client.webhooks().get_webhook(request)).await?;
    let request = v1::ListDeliveriesRequest { page: Some(paging.request(PAGE_SIZE)), webhook_id: webhook.id.clone() };
    let answer = ask(app.client.webhooks().list_deliveries(request)).await?;
    let content = html! {
        p.eyebrow { "Webhook " (parts::id(&webhook.id)) }
        header.title { h1 { (webhook.url) } span.aside { "made " (parts::when(webhook.created_at.as_ref())) } }
        dl.facts.row { (parts::fact("events", webhooks::kinds(&webhook))) (parts::fact("project", webhooks::project(&webhook))) }
        h2 { "Deliveries" }
        @if answer.deliveries.is_empty() { p.quiet { "Nothing has been sent yet." } } @else { (table(&answer.deliveries)) }
        (parts::more(&format!("/webhooks/{}", webhook.id), &[], &answer.next_page_token))
    };
    Ok(view.page(&webhook.url, Nav::Webhooks, &Refresh::default().every(EVERY_MS), content))
}

fn table(deliveries: &[v1::Delivery]) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th.number { "Delivery" } th { "Event" } th { "State" } th.number { "Tries" } th { "Last answer" } th { "When" } th {} } }
        tbody { @for delivery in deliveries { tr {
            td.number { (delivery.id) }
            td { (delivery.kind) " " span.quiet { (delivery.event_id) } }
            td { (parts::chip(&delivery.state)) }
            td.number { (delivery.attempts) }
            td { (answer(delivery)) }
            td { @if delivery.state == "pending" { (parts::due(delivery.next_at.as_ref())) }
                @else { (parts::when(delivery.delivered_at.as_ref())) } }
            td.act { @if delivery.state != "pending" { (parts::action(&format!("/deliveries/{}/redeliver", delivery.id), "Send again", "")) } }
        } } }
    } } }
}

fn answer(delivery: &v1::Delivery) -> Markup {
    html! {
        @if delivery.http_status > 0 { (delivery.http_status) } @else if delivery.attempts == 0 { span.none { "–" } }
        @if !delivery.error.is_empty() { p.error { (text::cut(&delivery.error, 300)) } }
    }
}

/// `POST /deliveries/{id}/redeliver`
pub(crate) async fn redeliver(State(app): State<App>, Path(id): Path<i64>) -> Result<Redirect, PageError> {
    let delivery = ask(app.client.webhooks().redeliver_event(v1::RedeliverEventRequest { id })).await?;
    Ok(Redirect::to(&format!("/webhooks/{}", delivery.webhook_id)))
}
