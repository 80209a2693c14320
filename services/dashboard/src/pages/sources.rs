//! `/datasets/{name}/sources`: the URLs that failed, why, and a way to fetch them once more.

use axum::extract::{Path, Query, RawForm, State};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use ursa_proto::v1;

use super::{Paging, parse_id};
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::{parts, text};

const PAGE_SIZE: u32 = 100;

/// Which URLs.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    /// Only those of this error class; empty for all that failed.
    #[serde(default)]
    error: String,
    #[serde(flatten)]
    paging: Paging,
}

/// `GET /datasets/{name}/sources`
pub(crate) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
    view: View,
) -> Result<Markup, PageError> {
    let dataset = ask(app.client.datasets().get_dataset(v1::GetDatasetRequest { name })).await?;
    let request = v1::ListSourcesRequest {
        dataset: dataset.name.clone(),
        outcome: if wanted.error.is_empty() { "failed".to_owned() } else { wanted.error.clone() },
        page: Some(wanted.paging.request(PAGE_SIZE)),
    };
    let answer = ask(app.client.datasets().list_sources(request)).await?;
    let home = format!("/datasets/{}", parts::segment(&dataset.name));
    let path = format!("{home}/sources");
    let content = html! {
        p.eyebrow { "Dataset " a href=(home) { (dataset.name) } }
        h1 { "Failed URLs" }
        (parts::filter(&path, "error", &classes(&dataset), &wanted.error, &[]))
        @if answer.sources.is_empty() { (parts::empty("No URL is like that.", html! { a href=(home) { "Back to the dataset" } "." })) }
        @else { (form(&home, &answer.sources)) }
        (parts::more(&path, &[("error", &wanted.error)], &answer.next_page_token))
    };
    // Not refreshed by events: a tick just made would be lost.
    Ok(view.page(&format!("Failed URLs of {}", dataset.name), Nav::Datasets, &Refresh::default(), content))
}

fn classes(dataset: &v1::Dataset) -> Vec<&str> {
    let mut classes: Vec<_> = dataset.sources.keys().map(String::as_str).collect();
    classes.retain(|class| !matches!(*class, "fetched" | "pending" | "failed"));
    classes.sort_unstable();
    classes
}

fn form(home: &str, sources: &[v1::Source]) -> Markup {
    html! { form method="post" action=(format!("{home}/retry")) {
        p.actions {
            button type="submit" { "Fetch the ticked ones again" }
            button type="submit" name="all" value="1" { "Fetch all failed ones again" }
        }
        div.scroll { table.list.sources {
            thead { tr { th { span.hidden { "Tick" } } th { "URL" } th { "Class" } th { "What happened" } th.number { "Took" } th { "Tried" } } }
            tbody { @for source in sources { tr {
                td { input type="checkbox" name="source" value=(source.id) aria-label=(format!("Fetch line {} again", source.line)); }
                td.url { (text::cut(&source.url, 200)) p.quiet { (source.list_name) ":" (source.line) } }
                td { (source.class) }
                td { b { (source.error_class) } " " (text::cut(&source.error, 300)) }
                td.number { (source.duration_ms) " ms" }
                td { (parts::when(source.fetched_at.as_ref())) }
            } } }
        } }
    } }
}

/// `POST /datasets/{name}/retry`
pub(crate) async fn retry(
    State(app): State<App>,
    Path(dataset): Path<String>,
    RawForm(form): RawForm,
) -> Result<Redirect, PageError> {
    let request = v1::RetrySourcesRequest { dataset, source_ids: chosen(&form)? };
    let answer = ask(app.client.datasets().retry_sources(request)).await?;
    let pipeline =
        answer.pipeline.ok_or_else(|| PageError::Invalid("the coordinator's answer names no pipeline".into()))?;
    Ok(Redirect::to(&format!("/pipelines/{}", pipeline.id)))
}

/// The ids ticked; none where all are wanted, which the API spells the same way.
fn chosen(form: &[u8]) -> Result<Vec<String>, PageError> {
    let mut ids = Vec::new();
    for (name, value) in url::form_urlencoded::parse(form) {
        match name.as_ref() {
            "all" => return Ok(Vec::new()),
            "source" => ids.push(parse_id("source", &value)?),
            _ => {}
        }
    }
    if ids.is_empty() {
        return Err(PageError::Invalid("no URL was ticked".into()));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticking_nothing_does_not_mean_all() {
        assert!(chosen(b"").is_err());
        assert_eq!(chosen(b"source=x&all=1").ok(), None, "what is no id is refused first");
        assert_eq!(chosen(b"all=1").unwrap(), Vec::<String>::new());
        let id = "0193a1b2-c3d4-7e5f-8a6b-123456789abc";
        assert_eq!(chosen(format!("source={id}").as_bytes()).unwrap(), [id]);
    }
}
