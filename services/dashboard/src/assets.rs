//! The script and the style sheet: in the binary, at an address that holds their hash, so that browsers keep them for
//! ever and never show an old one.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header;
use sha2::{Digest, Sha256};

use crate::error::PageError;

/// Something to load beside the page.
pub(crate) struct Asset {
    /// Where it is.
    pub url: String,
    content: &'static str,
    content_type: &'static str,
}

/// Keeps pages fresh.
pub(crate) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("live", "js", include_str!("assets/live.js"), "text/javascript; charset=utf-8"));
/// Makes them readable.
pub(crate) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", include_str!("assets/style.css"), "text/css; charset=utf-8"));
/// The sign in the browser's tab.
pub(crate) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", include_str!("assets/icon.svg"), "image/svg+xml"));

impl Asset {
    fn new(name: &str, extension: &str, content: &'static str, content_type: &'static str) -> Self {
        let hash = hex::encode(&Sha256::digest(content.as_bytes())[..8]);
        Self { url: format!("/assets/{name}.{hash}.{extension}"), content, content_type }
    }
}

/// `GET /assets/{name}`
pub(crate) async fn get(Path(name): Path<String>) -> Result<Response, PageError> {
    let wanted = |asset: &&Asset| asset.url.strip_prefix("/assets/") == Some(name.as_str());
    let asset = [&*SCRIPT, &*STYLE, &*ICON].into_iter().find(wanted);
    let asset = asset.ok_or_else(|| PageError::not_found("asset", &name))?;
    let headers =
        [(header::CONTENT_TYPE, asset.content_type), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, asset.content).into_response())
}
