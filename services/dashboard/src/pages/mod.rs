//! One file per page. Each asks the coordinator and hands what it heard to `view`; each live page answers at its own
//! address with the whole page and under `/fragments` with the section alone.

mod dataset;
mod datasets;
mod endpoints;
mod images;
mod job;
mod jobs;
mod model;
mod models;
mod nodes;
mod overview;
mod pipeline;
mod queues;
mod schedules;
mod sources;
mod try_it;
mod webhook;
mod webhooks;
mod workers;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{MethodRouter, get, post};
use serde::Deserialize;
use ursa_proto::v1;
use uuid::Uuid;

use crate::app::App;
use crate::error::PageError;
use crate::{assets, events, guard};

/// Largest form besides the one that carries a picture, in bytes.
const MAX_FORM_BYTES: usize = 1 << 20;

/// Every address the dashboard answers.
pub(crate) fn router(app: App) -> Router {
    let pages = [
        ("/", get(overview::show)),
        ("/pipelines/{id}", get(pipeline::show)),
        ("/jobs", get(jobs::show)),
        ("/datasets", get(datasets::show)),
        ("/datasets/{name}", get(dataset::show)),
        ("/datasets/{name}/sources", get(sources::show)),
        ("/models", get(models::show)),
        ("/models/{digest}/images/{image}", get(model::why::show)),
        ("/endpoints", get(endpoints::show)),
        ("/queues", get(queues::show)),
        ("/schedules", get(schedules::show)),
        ("/webhooks", get(webhooks::show)),
        ("/webhooks/{id}", get(webhook::show)),
        ("/workers", get(workers::show)),
        ("/nodes", get(nodes::show)),
    ];
    pages
        .into_iter()
        .fold(Router::new(), |router, (path, handler)| live(router, path, handler))
        .route("/jobs/{id}", get(job::show))
        .route("/fragments/jobs/{id}/{part}", get(job::part))
        .route("/jobs/{id}/cancel", post(job::cancel))
        .route("/jobs/{id}/retry", post(job::retry))
        .route("/jobs/{id}/replay", post(job::replay))
        .route("/projects/{name}/pause", post(queues::pause_project))
        .route("/projects/{name}/resume", post(queues::resume_project))
        .route("/queues/{kind}/pause", post(queues::pause_queue))
        .route("/queues/{kind}/resume", post(queues::resume_queue))
        .route("/schedules/{name}/pause", post(schedules::pause))
        .route("/schedules/{name}/resume", post(schedules::resume))
        .route("/deliveries/{id}/redeliver", post(webhook::redeliver))
        .route("/workers/{id}/drain", post(workers::drain))
        .route("/workers/{id}/resume", post(workers::resume))
        .route("/datasets/{name}/retry", post(sources::retry))
        .route("/models/{digest}", get(model::show))
        .route("/models/{digest}/images/{image}", post(model::why::submit))
        .route("/models/{digest}/images/{image}/heatmap.png", get(model::why::picture))
        .route("/images/{id}", get(images::show))
        .route("/events", get(events::stream))
        .route("/assets/{name}", get(assets::get))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .merge(try_it::router())
        .fallback(nowhere)
        .layer(middleware::from_fn(guard::guard))
        .with_state(app)
}

fn live(router: Router<App>, path: &str, handler: MethodRouter<App>) -> Router<App> {
    router.route(path, handler.clone()).route(&format!("/fragments{path}"), handler)
}

async fn nowhere(uri: http::Uri) -> PageError {
    PageError::not_found("page", uri.path())
}

/// Which part of a long list a page shows.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Paging {
    #[serde(default)]
    page: String,
}

impl Paging {
    /// The same for the coordinator, with `size` rows.
    fn request(&self, size: u32) -> v1::PageRequest {
        v1::PageRequest { size, token: self.page.clone() }
    }
}

/// Reads the id of a `what` in an address. What is no id names nothing.
fn parse_id(what: &str, text: &str) -> Result<String, PageError> {
    Uuid::try_parse(text).map(|id| id.to_string()).map_err(|_| PageError::not_found(what, text))
}
