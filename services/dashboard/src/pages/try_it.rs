//! `/try`: drop a picture, see what a model makes of it. The dashboard passes the picture on to a node that is ready;
//! a URL is fetched by the node, under the node's rules.

mod node;

use axum::Router;
use axum::body::Bytes;
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;
use ursa_proto::v1;

use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::layout::{self, Nav, View};
use crate::view::{parts, text};

/// Largest picture taken, in bytes: what nodes take.
const MAX_PICTURE_BYTES: usize = 32 << 20;
/// The form around the picture.
const MAX_BODY_BYTES: usize = MAX_PICTURE_BYTES + (64 << 10);

/// More endpoints than that are not told one by one; the one that is chosen is always among them.
const MOST_CHOICES: u32 = 1000;

/// The addresses of this page, which take larger bodies than all others.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/try", get(show).post(predict))
        .route("/fragments/try", post(predict))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// Which endpoint is chosen at first.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    endpoint: String,
}

/// What was dropped.
#[derive(Debug, Default)]
struct Submission {
    endpoint: String,
    picture: Bytes,
    url: String,
    /// Whether to show what in the picture speaks for the answer.
    explain: bool,
}

/// `GET /try`
async fn show(State(app): State<App>, Query(wanted): Query<Wanted>) -> Result<Markup, PageError> {
    page(&app, &wanted.endpoint, html! {}).await
}

/// `POST /try`, and under `/fragments` for the script
async fn predict(State(app): State<App>, view: View, form: Multipart) -> Result<Response, PageError> {
    let mut endpoint = String::new();
    let outcome = match read(form).await {
        Ok(submission) => {
            endpoint.clone_from(&submission.endpoint);
            classify(&app, submission).await
        }
        Err(error) => Err(error),
    };
    let (status, result) = match outcome {
        Ok(prediction) => (StatusCode::OK, bars(&prediction)),
        Err(refused) => (refused.status, html! { p.error role="alert" { (refused.message) } }),
    };
    let content = if view.is_fragment() { result } else { page(&app, &endpoint, result).await? };
    Ok((status, content).into_response())
}

/// Why there is no prediction.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<MultipartError> for Refused {
    fn from(error: MultipartError) -> Self {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let limit = text::bytes(MAX_PICTURE_BYTES as u64);
            return Self::new(error.status(), format!("the picture is larger than {limit}; take a smaller one"));
        }
        Self::new(error.status(), format!("the form could not be read: {}", error.body_text()))
    }
}

async fn read(mut form: Multipart) -> Result<Submission, Refused> {
    let mut submission = Submission::default();
    while let Some(field) = form.next_field().await? {
        match field.name() {
            Some("endpoint") => submission.endpoint = field.text().await?,
            Some("url") => field.text().await?.trim().clone_into(&mut submission.url),
            Some("file") => submission.picture = field.bytes().await?,
            Some("explain") => submission.explain = true,
            _ => {}
        }
    }
    Ok(submission)
}

async fn classify(app: &App, submission: Submission) -> Result<node::Prediction, Refused> {
    if submission.picture.is_empty() && submission.url.is_empty() {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "choose a picture or give its URL first"));
    }
    let request = v1::GetEndpointRequest { name: submission.endpoint.clone() };
    let endpoint = ask(app.client.endpoints().get_endpoint(request))
        .await
        .map_err(|error| Refused::new(PageError::from(error.clone()).status(), error.message))?;
    node::classify(&app.nodes, &endpoint, submission).await
}

async fn page(app: &App, chosen: &str, result: Markup) -> Result<Markup, PageError> {
    let page = Some(v1::PageRequest { size: MOST_CHOICES, token: String::new() });
    let list = ask(app.client.endpoints().list_endpoints(v1::ListEndpointsRequest { page })).await?;
    let mut endpoints: Vec<_> = list.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    if !list.next_page_token.is_empty() && !chosen.is_empty() && !endpoints.contains(&chosen) {
        endpoints.push(chosen);
    }
    let content = html! {
        h1 { "Try it" }
        @if endpoints.is_empty() {
            (parts::empty("Nothing is served yet.", html! { "Train and deploy a model with " code { "ursa pipeline run FILE.yaml" } " first." }))
        } @else { div.try { (form(&endpoints, chosen)) div.card #prediction aria-live="polite" { (result) } } }
    };
    Ok(layout::page("Try it", Nav::Try, content))
}

fn form(endpoints: &[&str], chosen: &str) -> Markup {
    html! {
        form.card #try method="post" action="/try" enctype="multipart/form-data" data-fragment="/fragments/try" {
            label { "Endpoint" select name="endpoint" { @for endpoint in endpoints {
                option value=(endpoint) selected[*endpoint == chosen] { (endpoint) }
            } } }
            label.drop {
                img #preview alt="the chosen picture" hidden;
                span.hint { b { "Drop a picture here" } " or click to choose one. Pasting works, too." }
                input type="file" name="file" accept="image/*";
            }
            label { "or its URL" input type="url" name="url" placeholder="https://…"; }
            p.quiet { "A URL is fetched by the node, which refuses private addresses." }
            label.check { input type="checkbox" name="explain" value="yes"; " Show what in it speaks for the answer" }
            button.primary type="submit" { "Classify" }
        }
    }
}

fn bars(prediction: &node::Prediction) -> Markup {
    html! {
        @if let Some(best) = prediction.predictions.first() {
            p.headline { b { (best.class) } " " (text::percent(best.probability)) }
        }
        table.counts.prediction { tbody { @for one in &prediction.predictions { tr {
            th scope="row" { (one.class) }
            td.number { (text::percent(one.probability)) }
            td.bar { meter min="0" max="1" value=(one.probability) {} }
        } } } }
        (evidence(prediction))
        p.quiet { "Model " (parts::model_link(&prediction.model_digest)) " on " (prediction.node)
            @if let Some(milliseconds) = prediction.milliseconds { ", " (format!("{milliseconds:.0} ms")) } }
    }
}

/// The picture as the model sees it, bright where the evidence lies.
fn evidence(prediction: &node::Prediction) -> Markup {
    let source = format!("data:image/png;base64,{}", prediction.overlay_png);
    html! { @if !prediction.overlay_png.is_empty() { (parts::evidence(&source, &prediction.class, prediction.has_evidence)) } }
}
