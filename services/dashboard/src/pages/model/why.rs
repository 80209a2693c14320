//! `/models/{digest}/images/{image}`: what in an image speaks for a class, once a job has found out; it is asked for here.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::header;
use maud::{Markup, html};
use serde::Deserialize;
use ursa_client::explanation;
use ursa_proto::v1::explain_spec::Of;
use ursa_proto::{ApiError, ErrorCode, v1};

use super::super::parse_id;
use super::parse_digest;
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{Nav, Refresh, View};
use crate::view::{parts, text};

/// For what, and who finds out.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    /// A class; empty for that of the image's label.
    #[serde(default)]
    class: String,
    /// The job that was submitted; empty where none was.
    #[serde(default)]
    job: String,
}

/// The page's address; asked by POST it submits the job.
pub(crate) fn address(digest: &str, image_id: &str, class: &str) -> String {
    parts::link(&path(digest, image_id), [("class", class)])
}

fn path(digest: &str, image_id: &str) -> String {
    format!("/models/{digest}/images/{image_id}")
}

/// `GET /models/{digest}/images/{image}`, and under `/fragments`
pub(crate) async fn show(
    State(app): State<App>,
    Path((digest, image)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
    view: View,
) -> Result<Markup, PageError> {
    let (digest, image) = (parse_digest(digest)?, parse_id("image", &image)?);
    let content = if let Some(heatmap) = heatmap(&app, &digest, &image, &wanted.class).await? {
        explained(&heatmap)
    } else {
        // A model that is not there is no page.
        ask(app.client.models().get_model(v1::GetModelRequest { digest: digest.clone() })).await?;
        asked(&digest, &image, &wanted.class, job(&app, &wanted.job).await?.as_ref())
    };
    let refresh = if wanted.job.is_empty() { Refresh::default() } else { Refresh::on("job.").of(&wanted.job) };
    let content = html! {
        p.eyebrow { "Model " (parts::model_link(&digest)) ", image " (parts::id(&image)) }
        (content)
    };
    Ok(view.page("Why", Nav::Models, &refresh, content))
}

/// `GET /models/{digest}/images/{image}/heatmap.png`
pub(crate) async fn picture(
    State(app): State<App>,
    Path((digest, image)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, PageError> {
    let (digest, image) = (parse_digest(digest)?, parse_id("image", &image)?);
    let heatmap = heatmap(&app, &digest, &image, &wanted.class).await?;
    let heatmap = heatmap.ok_or_else(|| PageError::not_found("heatmap of image", &image))?;
    Ok(([(header::CONTENT_TYPE, "image/png")], heatmap.overlay_png).into_response())
}

/// `POST /models/{digest}/images/{image}`: has the model explained, unless it was before.
pub(crate) async fn submit(
    State(app): State<App>,
    Path((digest, image)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Redirect, PageError> {
    let (digest, image) = (parse_digest(digest)?, parse_id("image", &image)?);
    let class = wanted.class.as_str();
    if heatmap(&app, &digest, &image, class).await?.is_some() {
        return Ok(Redirect::to(&address(&digest, &image, class)));
    }
    let of = (!class.is_empty()).then(|| Of::Class(class.to_owned()));
    let request = explanation::request(&digest, vec![image.clone()], of);
    let answer = ask(app.client.jobs().submit_pipeline(request)).await?;
    let job = answer.pipeline.and_then(|pipeline| pipeline.jobs.into_iter().next());
    let job = job.ok_or_else(|| PageError::Invalid("the coordinator's answer names no job".into()))?;
    Ok(Redirect::to(&parts::link(&path(&digest, &image), [("class", class), ("job", &*job.id)])))
}

/// `None` where nobody asked for it.
async fn heatmap(app: &App, digest: &str, image_id: &str, class: &str) -> Result<Option<v1::Heatmap>, PageError> {
    let request =
        v1::GetHeatmapRequest { digest: digest.to_owned(), image_id: image_id.to_owned(), class: class.to_owned() };
    match ask(app.client.models().get_heatmap(request)).await {
        Ok(heatmap) => Ok(Some(heatmap)),
        Err(ApiError { code: ErrorCode::NotFound, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn job(app: &App, id: &str) -> Result<Option<v1::Job>, PageError> {
    if id.is_empty() {
        return Ok(None);
    }
    let id = parse_id("job", id)?;
    Ok(ask(app.client.jobs().get_job(v1::GetJobRequest { id })).await?.job)
}

fn explained(heatmap: &v1::Heatmap) -> Markup {
    let v1::Heatmap { digest, image_id, class, predicted, .. } = heatmap;
    let has_evidence = heatmap.values.iter().any(|value| *value > 0.0);
    let source = parts::link(&format!("{}/heatmap.png", path(digest, image_id)), [("class", class.as_str())]);
    html! {
        h1 { "What speaks for " (class) "?" }
        p { "The model gives " b { (class) } " " (text::percent(heatmap.probability.into()))
            @if class == predicted { " and takes the image for it." } @else { " and takes the image for " b { (predicted) } "." } }
        div.cards {
            div.card { figure.evidence { img src=(format!("/images/{image_id}")) alt="the image"; figcaption.quiet { "The image." } } }
            div.card { (parts::evidence(&source, class, has_evidence)) }
        }
        @if class != predicted { (parts::action(&address(digest, image_id, predicted), &format!("What speaks for {predicted}?"), "")) }
    }
}

/// What is there before there is a heatmap: the job that makes it, or the button that asks for one.
fn asked(digest: &str, image_id: &str, class: &str, job: Option<&v1::Job>) -> Markup {
    let is_over = job.is_none_or(|job| !matches!(job.state.as_str(), "waiting" | "running" | "cancelling"));
    html! {
        h1 { "What speaks for " @if class.is_empty() { "its label" } @else { (class) } "?" }
        div.cards { div.card {
            figure.evidence { img src=(format!("/images/{image_id}")) alt="the image"; }
            @if let Some(job) = job {
                p { (parts::job_chip(job)) }
                @if !job.error.is_empty() { p.error { (job.error) } }
                @if !job.waiting_reason.is_empty() { p.waits { (job.waiting_reason) } }
            }
            @if is_over { (parts::action(&address(digest, image_id, class), "Find out", "primary")) }
        } }
    }
}
