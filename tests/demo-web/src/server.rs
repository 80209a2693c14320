//! Answers over HTTP, properly or as badly as the page says.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{StatusCode, header};
use tokio::task::JoinError;

use crate::files::{self, File};
use crate::site::{Page, Site};
use crate::{Class, lists, page};

/// What too large bodies have, in bytes; more than any default allows.
const FLOOD_BYTES: usize = 40 << 20;
const FLOOD_PIECE: usize = 64 << 10;

/// A running web's pages and its memory.
pub(crate) struct Server {
    pub(crate) site: Site,
    /// Where it is, without a slash at the end.
    pub(crate) base: String,
    hits: Mutex<HashMap<String, u64>>,
}

impl Server {
    pub(crate) fn new(site: Site, base: String) -> Self {
        Self { site, base, hits: Mutex::default() }
    }

    /// Requests for `path` so far.
    pub(crate) fn hits(&self, path: &str) -> u64 {
        self.hits.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied().unwrap_or(0)
    }

    /// Counts a request; the how-manyth it is, from 1.
    fn count(&self, path: &str) -> u64 {
        let mut hits = self.hits.lock().unwrap_or_else(PoisonError::into_inner);
        let count = hits.entry(path.to_owned()).or_default();
        *count += 1;
        *count
    }
}

/// Answers any request: what is found is decided by the path alone, and by how often it was asked for.
pub(crate) async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let path = request.uri().path();
    let nth = server.count(path);
    if path == "/" {
        return Html(page::contact_sheet(&server.site).into_string()).into_response();
    }
    if let Some(class) = Class::ALL.into_iter().find(|class| path.strip_prefix('/') == Some(class.list_name())) {
        return lists::text(server.site.list(class), &server.base).into_response();
    }
    match server.site.page(path) {
        Some(page) => respond(page, nth).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn respond(page: Page, nth: u64) -> Response {
    match page {
        Page::File(file) => whole(file).await,
        Page::Status(status) => error(status, None),
        Page::Failing { status, retry_after, times, .. } if nth <= times => error(status, retry_after),
        Page::Failing { then, .. } => whole(then).await,
        Page::Redirect { status, to } => (code(status), [(header::LOCATION, to)]).into_response(),
        Page::Silence => std::future::pending().await,
        Page::Slow { file, pause, pieces } => slow(file, pause, pieces).await,
        Page::CutShort(file) => cut_short(file).await,
        Page::Flood { announced } => flood(announced),
    }
}

async fn whole(file: File) -> Response {
    let content_type = file.content_type();
    ([(header::CONTENT_TYPE, content_type)], drawn(file).await).into_response()
}

/// Drawing keeps a processor busy for a while: not on the threads that answer.
async fn drawn(file: File) -> Bytes {
    let drawing = tokio::task::spawn_blocking(move || file.bytes());
    match drawing.await.map_err(JoinError::try_into_panic) {
        Ok(bytes) => bytes.into(),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is going away, and the connection with it.
        Err(Err(_)) => std::future::pending().await,
    }
}

fn error(status: u16, retry_after: Option<u32>) -> Response {
    let mut response = (code(status), format!("{status}: no bear today\n")).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A body of which `length` bytes are announced, whatever comes.
fn announced(
    length: usize,
    content_type: &'static str,
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Response {
    let headers = [(header::CONTENT_TYPE, content_type.to_owned()), (header::CONTENT_LENGTH, length.to_string())];
    (headers, Body::from_stream(body)).into_response()
}

async fn slow(file: File, pause: Duration, pieces: usize) -> Response {
    let content_type = file.content_type();
    let bytes = drawn(file).await;
    let length = bytes.len();
    let cuts = (0..pieces).map(move |nth| bytes.slice(nth * length / pieces..(nth + 1) * length / pieces));
    let paused = stream::iter(cuts).then(move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok(piece)
    });
    announced(length, content_type, paused)
}

async fn cut_short(file: File) -> Response {
    let content_type = file.content_type();
    let bytes = drawn(file).await;
    let length = bytes.len();
    let first = Bytes::from(files::half(bytes.to_vec()));
    let broken = io::Error::new(io::ErrorKind::ConnectionAborted, "cut short on purpose");
    announced(length, content_type, stream::iter([Ok(first), Err(broken)]))
}

/// As much as anybody takes of it: nothing is made before it is sent.
fn flood(is_announced: bool) -> Response {
    let piece = Bytes::from(vec![0x5a; FLOOD_PIECE]);
    let pieces = stream::iter(std::iter::repeat_n(piece, FLOOD_BYTES / FLOOD_PIECE)).map(Ok);
    if is_announced {
        return announced(FLOOD_BYTES, "image/jpeg", pieces);
    }
    ([(header::CONTENT_TYPE, "image/jpeg")], Body::from_stream(pieces)).into_response()
}
