//! `POST /classify`: one picture in, sorted class probabilities out.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::upload::{self, Upload};
use crate::error::ServeError;
use crate::predict::{Answer, Pictures, Predictor};

#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    /// May be left out where there is exactly one.
    endpoint: Option<String>,
}

#[derive(Debug, Serialize)]
struct Classified {
    endpoint: String,
    model_digest: String,
    /// The most probable first.
    predictions: Vec<Prediction>,
    /// From the request's arrival to this answer.
    milliseconds: f64,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Prediction {
    class: String,
    probability: f32,
}

impl IntoResponse for ServeError {
    fn into_response(self) -> Response {
        let error = json!({ "error": { "code": self.code(), "message": self.to_string() } });
        (self.http(), Json(error)).into_response()
    }
}

pub(super) async fn classify(
    State(predictor): State<Arc<Predictor>>,
    Query(wish): Query<Wish>,
    request: Request,
) -> Result<Response, ServeError> {
    let started = Instant::now();
    let endpoint = wish.endpoint.as_deref();
    let outcome = answer(&predictor, endpoint, request).await;
    predictor.note(endpoint, &outcome, started);
    outcome.map(|answer| Json(classified(answer, started)).into_response())
}

async fn answer(predictor: &Predictor, endpoint: Option<&str>, request: Request) -> Result<Answer, ServeError> {
    let picture = picture(predictor, endpoint, request).await?;
    predictor.classify(endpoint, None, Pictures::Encoded(vec![picture])).await
}

/// The picture that was handed over, or the one that lies where the request says.
pub(super) async fn picture(
    predictor: &Predictor,
    endpoint: Option<&str>,
    request: Request,
) -> Result<Bytes, ServeError> {
    match upload::read(request).await? {
        Upload::Picture(bytes) => Ok(bytes),
        Upload::Url(url) => {
            // Nobody's server is asked for a picture that no model waits for.
            predictor.model(endpoint, None)?;
            predictor.fetch(&url).await
        }
    }
}

fn classified(answer: Answer, started: Instant) -> Classified {
    let row = answer.probabilities.into_iter().next().unwrap_or_default();
    Classified {
        endpoint: answer.endpoint,
        model_digest: answer.model.digest().to_owned(),
        predictions: sorted(answer.model.classes(), row),
        milliseconds: milliseconds(started),
    }
}

/// How long it took until now, to the hundredth.
pub(super) fn milliseconds(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 1e5).round() / 100.0
}

/// A class each, the most probable first.
pub(super) fn sorted(classes: &[String], row: Vec<f32>) -> Vec<Prediction> {
    let prediction = |(class, probability): (&String, f32)| Prediction { class: class.clone(), probability };
    let mut predictions: Vec<_> = classes.iter().zip(row).map(prediction).collect();
    predictions.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    predictions
}
