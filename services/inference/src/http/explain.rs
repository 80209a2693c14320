//! `POST /explain`: one picture in, and out comes where in it the evidence for a class lies.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Json, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::classify::{self, Prediction};
use crate::error::ServeError;
use crate::explain::Explained;
use crate::predict::Predictor;

#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    /// May be left out where there is exactly one.
    endpoint: Option<String>,
    /// What shall be explained; what the model says most where it is left out.
    class: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    endpoint: String,
    model_digest: String,
    /// What is explained.
    class: String,
    /// Of that class.
    probability: f32,
    /// Whether anything in the picture speaks for it; the overlay is dark where nothing does.
    has_evidence: bool,
    /// The picture as the model sees it, bright where the evidence lies: a PNG in base64.
    overlay_png: String,
    /// The most probable first.
    predictions: Vec<Prediction>,
    /// From the request's arrival to this answer.
    milliseconds: f64,
}

pub(super) async fn explain(
    State(predictor): State<Arc<Predictor>>,
    Query(wish): Query<Wish>,
    request: Request,
) -> Result<Response, ServeError> {
    let started = Instant::now();
    let outcome = answer(&predictor, &wish, request).await;
    predictor.note(wish.endpoint.as_deref(), &outcome, started);
    outcome.map(|explained| Json(told(explained, started)).into_response())
}

async fn answer(predictor: &Predictor, wish: &Wish, request: Request) -> Result<Explained, ServeError> {
    let endpoint = wish.endpoint.as_deref();
    let picture = classify::picture(predictor, endpoint, request).await?;
    predictor.explain(endpoint, wish.class.as_deref(), picture).await
}

fn told(explained: Explained, started: Instant) -> Answer {
    let Explained { endpoint, model, probabilities, class, has_evidence, overlay } = explained;
    Answer {
        endpoint,
        model_digest: model.digest().to_owned(),
        class: model.classes()[class].clone(),
        probability: probabilities[class],
        has_evidence,
        overlay_png: BASE64_STANDARD.encode(overlay),
        predictions: classify::sorted(model.classes(), probabilities),
        milliseconds: classify::milliseconds(started),
    }
}
