//! `/models`: every model, newest first.

use axum::extract::{Query, State};
use maud::{Markup, html};
use ursa_proto::v1;

use super::Paging;
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::{parts, text};

const PAGE_SIZE: u32 = 50;

/// `GET /models`
pub(crate) async fn show(
    State(app): State<App>,
    Query(paging): Query<Paging>,
    view: View,
) -> Result<Markup, PageError> {
    let request = v1::ListModelsRequest { page: Some(paging.request(PAGE_SIZE)) };
    let answer = ask(app.client.models().list_models(request)).await?;
    let content = html! {
        h1 { "Models" }
        @if answer.models.is_empty() {
            (parts::empty("No model has been trained yet.",
                html! { "A train job of a pipeline makes one: " code { "ursa pipeline run FILE.yaml" } "." }))
        } @else { (table(&answer.models)) }
        (parts::more("/models", &[], &answer.next_page_token))
    };
    Ok(view.page("Models", Nav::Models, &Refresh::on("job.succeeded"), content))
}

fn table(models: &[v1::Model]) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Model" } th { "Architecture" } th { "Classes" } th.number { "Error rate" } th { "Trained by" } th { "Registered" } } }
        tbody { @for model in models { tr {
            td { (parts::model_link(&model.digest)) }
            td { (model.architecture) }
            td { (text::cut(&model.classes.join(", "), 120)) }
            td.number { (text::percent(model.error_rate)) }
            td { a.mono href=(format!("/jobs/{}", model.job_id)) title=(model.job_id) { (text::short_id(&model.job_id)) } }
            td { (parts::when(model.created_at.as_ref())) }
        } } }
    } } }
}
