//! `/models/{digest}`: one model: how good it is, where it came from, what it gets wrong, and its package's manifest.

mod mistakes;
pub(crate) mod why;

use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use ursa_client::learned::Sources;
use ursa_proto::v1;

use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{self, Nav};
use crate::view::{parts, text};

/// Which pictures are looked at.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    /// Of the split; empty for the usual one.
    #[serde(default)]
    side: String,
    /// Digest of a snapshot that the model was evaluated on; empty for its own.
    #[serde(default)]
    snapshot: String,
}

/// `GET /models/{digest}`
pub(crate) async fn show(
    State(app): State<App>,
    Path(digest): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Markup, PageError> {
    let digest = parse_digest(digest)?;
    let model = ask(app.client.models().get_model(v1::GetModelRequest { digest })).await?;
    let manifest: Value = serde_json::from_str(&model.model_json).unwrap_or_default();
    let title = format!("Model {}", text::short_id(&model.digest));
    let mistakes = mistakes::section(&app, &model, &manifest, &wanted).await;
    // Immutable, hence not live.
    Ok(layout::page(&title, Nav::Models, content(&model, &manifest, &mistakes)))
}

/// What cannot name a model names nothing.
fn parse_digest(digest: String) -> Result<String, PageError> {
    let may_name_one = (8..=64).contains(&digest.len()) && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    if may_name_one { Ok(digest) } else { Err(PageError::not_found("model", &digest)) }
}

fn content(model: &v1::Model, manifest: &Value, mistakes: &Markup) -> Markup {
    let metrics = &manifest["metrics"];
    html! {
        p.eyebrow { "Model " (parts::id(&model.digest)) }
        header.title { h1 { (model.architecture) } span.aside { "registered " (parts::when(model.created_at.as_ref())) } }
        div.cards {
            div.card {
                p.headline { b { (text::percent(model.error_rate)) } " error rate" }
                dl.facts {
                    (fact("wrong", &metrics["wrong"])) (fact("validated", &metrics["validated"]))
                    (fact("validation loss", &metrics["valid_loss"])) (fact("epochs", &metrics["epochs"]))
                    dt { "classes" } dd { (model.classes.join(", ")) }
                }
            }
            div.card { h2 { "Lineage" } (lineage(model, &manifest["lineage"])) }
        }
        (mistakes)
        details #manifest { summary { "model.json" } pre.card { code { (model.model_json) } } }
    }
}

fn lineage(model: &v1::Model, lineage: &Value) -> Markup {
    let dataset = lineage["dataset"].as_str();
    html! { dl.facts {
        dt { "trained by job" } dd { a.mono href=(format!("/jobs/{}", model.job_id)) title=(model.job_id) { (text::short_id(&model.job_id)) } }
        @if let Some(dataset) = dataset {
            dt { "learned from" } dd { a href=(format!("/datasets/{}", parts::segment(dataset))) { (dataset) } "@" (tell(&lineage["snapshot_number"])) }
        }
        dt { "snapshot" } dd { (parts::id(&model.snapshot_id)) }
        (fact("seed", &lineage["seed"]))
        (fact("code version", &lineage["code_version"]))
        (sources(&lineage["sources"]))
        dt { "pretrained" } dd { @if let Some(digest) = lineage["pretrained"].as_str() { (parts::id(digest)) } @else { "no, from scratch" } }
    } }
}

/// Of the pictures that it learned from: under which licences, and from where.
fn sources(sources: &Value) -> Markup {
    let Ok(sources) = serde_json::from_value::<Sources>(sources.clone()) else { return html! {} };
    html! {
        dt { "licences" } dd { (sources.licences_in_a_line()) }
        dt { "hosts" } dd { (sources.hosts_in_a_line()) }
    }
}

fn fact(name: &str, value: &Value) -> Markup {
    html! { @if !value.is_null() { dt { (name) } dd { (tell(value)) } } }
}

fn tell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) => format!("{number:.4}"),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}
