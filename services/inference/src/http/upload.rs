//! The three ways to hand over a picture: as the body, as `file` of a form, or as a URL in JSON.

use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde::Deserialize;

use super::body;
use crate::error::{MAX_PICTURE_BYTES, ServeError};

/// What a form may add to its picture.
const FORM_OVERHEAD: usize = 64 << 10;

/// What was handed over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// A picture.
    Picture(Bytes),
    /// Where a picture is.
    Url(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ByUrl {
    url: String,
}

/// Reads a request to classify.
pub(super) async fn read(request: Request) -> Result<Upload, ServeError> {
    let (head, body) = request.into_parts();
    match media_type(&head.headers).as_str() {
        "application/json" => {
            let json = body::collect(&head.headers, body, FORM_OVERHEAD).await?;
            let ByUrl { url } = serde_json::from_slice(&json)
                .map_err(|error| ServeError::Invalid(format!("expected {{\"url\": \"https://…\"}}: {error}")))?;
            Ok(Upload::Url(url))
        }
        "multipart/form-data" => {
            let form = body::collect(&head.headers, body, MAX_PICTURE_BYTES + FORM_OVERHEAD).await?;
            file_of(Request::from_parts(head, Body::from(form))).await.map(Upload::Picture)
        }
        // Whatever else it calls itself: the bytes decide whether it is a picture.
        _ => body::collect(&head.headers, body, MAX_PICTURE_BYTES).await.map(Upload::Picture),
    }
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

async fn file_of(request: Request) -> Result<Bytes, ServeError> {
    let broken = |reason: String| ServeError::Invalid(format!("the form cannot be read: {reason}"));
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| broken(error.body_text()))?;
    while let Some(field) = form.next_field().await.map_err(|error| broken(error.body_text()))? {
        if field.name() == Some("file") {
            let bytes = field.bytes().await.map_err(|error| broken(error.body_text()))?;
            return if bytes.len() > MAX_PICTURE_BYTES {
                Err(ServeError::TooLarge { limit: MAX_PICTURE_BYTES })
            } else {
                Ok(bytes)
            };
        }
    }
    Err(ServeError::Invalid("the form has no field called file".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn upload(media_type: &str, body: &'static str) -> Result<Upload, ServeError> {
        let request = Request::builder().header(header::CONTENT_TYPE, media_type);
        read(request.body(Body::from(body)).unwrap()).await
    }

    #[tokio::test]
    async fn bytes_of_any_type_are_a_picture() {
        for kind in ["image/jpeg", "application/octet-stream", "text/html; charset=utf-8"] {
            assert_eq!(upload(kind, "abc").await.unwrap(), Upload::Picture(Bytes::from_static(b"abc")));
        }
    }

    #[tokio::test]
    async fn json_names_a_url_and_nothing_else() {
        let url = upload("application/json; charset=utf-8", r#"{"url": "http://h/p.jpg"}"#).await.unwrap();
        assert_eq!(url, Upload::Url("http://h/p.jpg".into()));
        let refused = upload("application/json", r#"{"uri": "http://h/p.jpg"}"#).await.unwrap_err();
        assert!(refused.to_string().contains("uri"), "{refused}");
    }

    #[tokio::test]
    async fn a_form_holds_the_picture_in_file() {
        let form = "--x\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhi\r\n--x\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"b.jpg\"\r\n\r\nabc\r\n--x--\r\n";
        let picture = upload("multipart/form-data; boundary=x", form).await.unwrap();
        assert_eq!(picture, Upload::Picture(Bytes::from_static(b"abc")));
        assert!(upload("multipart/form-data; boundary=y", form).await.is_err());
        let empty = upload("multipart/form-data; boundary=x", "--x--\r\n").await.unwrap_err().to_string();
        assert!(empty.contains("field called file"), "{empty}");
    }
}
