//! The node over HTTP: `POST /classify`, `POST /explain`, a page to try it on, metrics, and the Open Inference Protocol beside them.

pub(crate) mod body;
mod classify;
mod explain;
mod page;
mod upload;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header;
use axum::response::{IntoResponse, Json};
use axum::routing::{get, post};
use serde::Serialize;

use crate::metrics;
use crate::open_inference;
use crate::predict::Predictor;

/// Every route of the node.
pub(crate) fn router(predictor: Arc<Predictor>) -> Router {
    Router::new()
        .route("/", get(page::show))
        .route("/endpoints", get(endpoints))
        .route("/classify", post(classify::classify))
        .route("/explain", post(explain::explain))
        .route("/metrics", get(metrics_text))
        .merge(open_inference::router())
        // Bodies are read in `body`, with limits of their own that leave the connection usable.
        .layer(DefaultBodyLimit::disable())
        .with_state(predictor)
}

/// One endpoint, for the page and for people with curl.
#[derive(Debug, Serialize)]
struct Endpoint {
    #[serde(rename = "endpoint")]
    name: String,
    model_digest: String,
    serving_digest: String,
    state: String,
    error: String,
}

async fn endpoints(State(predictor): State<Arc<Predictor>>) -> Json<Vec<Endpoint>> {
    let statuses = predictor.catalog().statuses();
    Json(
        statuses
            .into_iter()
            .map(|status| Endpoint {
                name: status.endpoint,
                model_digest: status.model_digest,
                serving_digest: status.serving_digest,
                state: status.state,
                error: status.error,
            })
            .collect(),
    )
}

async fn metrics_text(State(predictor): State<Arc<Predictor>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], predictor.metrics.text())
}
