//! `/datasets`: every dataset with its counts.

use axum::extract::{Query, State};
use maud::{Markup, html};
use ursa_proto::v1;

use super::Paging;
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::{parts, text};

const PAGE_SIZE: u32 = 50;

/// `GET /datasets`
pub(crate) async fn show(
    State(app): State<App>,
    Query(paging): Query<Paging>,
    view: View,
) -> Result<Markup, PageError> {
    let request = v1::ListDatasetsRequest { page: Some(paging.request(PAGE_SIZE)) };
    let answer = ask(app.client.datasets().list_datasets(request)).await?;
    let content = html! {
        h1 { "Datasets" }
        @if answer.datasets.is_empty() { (nothing_yet()) } @else { (table(&answer.datasets)) }
        (parts::more("/datasets", &[], &answer.next_page_token))
    };
    Ok(view.page("Datasets", Nav::Datasets, &Refresh::on("job. task.succeeded tasks.succeeded"), content))
}

fn nothing_yet() -> Markup {
    parts::empty(
        "There is no dataset yet.",
        html! { "The first scrape job makes one: " code { "ursa pipeline run FILE.yaml" } "." },
    )
}

fn table(datasets: &[v1::Dataset]) -> Markup {
    html! { div.scroll { table.list {
        thead { tr { th { "Dataset" } th { "Classes" } th.number { "Kept" } th.number { "Refused" }
            th.number { "Unverified" } th.number { "URLs" } th.number { "Snapshot" } th { "Made" } } }
        tbody { @for dataset in datasets { tr {
            td { a href=(format!("/datasets/{}", parts::segment(&dataset.name))) { (dataset.name) } }
            td { (class_names(dataset)) }
            td.number { (text::count(verdict(dataset, "kept"))) }
            td.number { (text::count(dataset.classes.iter().map(|class| class.refused).sum())) }
            td.number { (text::count(verdict(dataset, "unverified"))) }
            td.number { (text::count(dataset.classes.iter().map(|class| class.sources).sum())) }
            td.number { @if dataset.latest_snapshot > 0 { "@" (dataset.latest_snapshot) } @else { span.none { "–" } } }
            td { (parts::when(dataset.created_at.as_ref())) }
        } } }
    } } }
}

fn class_names(dataset: &v1::Dataset) -> String {
    let names: Vec<_> = dataset.classes.iter().map(|class| class.name.as_str()).collect();
    text::cut(&names.join(", "), 120)
}

fn verdict(dataset: &v1::Dataset, verdict: &str) -> u64 {
    dataset.images.get(verdict).copied().unwrap_or_default()
}
