//! `/images/{id}`: the normalised picture of an image. Originals stay where they are: they may be anything.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header;
use ursa_proto::v1;

use super::parse_id;
use crate::app::{App, ask};
use crate::error::PageError;

/// What a normalised picture is; whatever the coordinator says, nothing else is sent under our name.
const CONTENT_TYPE: &str = "image/jpeg";

/// `GET /images/{id}`
pub(crate) async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Response, PageError> {
    let request = v1::GetImageRequest { id: parse_id("image", &id)?, original: false };
    let image = ask(app.client.datasets().get_image(request)).await?;
    let headers = [(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "private, max-age=3600")];
    Ok((headers, image.data).into_response())
}
