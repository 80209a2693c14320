//! Reads bodies up to a limit, and lets what is too large run off without keeping it.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use crate::error::ServeError;

/// How much of a refused body is let run off, and for how long, so that its sender gets to read the refusal: closing
/// a connection that still receives makes many clients miss the answer.
const RUN_OFF_BYTES: usize = 1 << 30;
const RUN_OFF_TIME: Duration = Duration::from_secs(30);

/// The whole body, if it is not longer than `limit` bytes.
pub(crate) async fn collect(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, ServeError> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut stream = body.into_data_stream();
    if declared.is_some_and(|length| length > limit as u64) {
        run_off(stream);
        return Err(ServeError::TooLarge { limit });
    }
    let mut bytes = BytesMut::with_capacity(declared.unwrap_or_default() as usize);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| ServeError::Unreadable(error.to_string()))?;
        if bytes.len() + chunk.len() > limit {
            run_off(stream);
            return Err(ServeError::TooLarge { limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn run_off(mut stream: BodyDataStream) {
    tokio::spawn(tokio::time::timeout(RUN_OFF_TIME, async move {
        let mut seen = 0;
        while let Some(Ok(chunk)) = stream.next().await {
            seen += chunk.len();
            if seen > RUN_OFF_BYTES {
                return;
            }
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(length: &str) -> HeaderMap {
        [(header::CONTENT_LENGTH, length.parse().unwrap())].into_iter().collect()
    }

    #[tokio::test]
    async fn a_body_within_the_limit_is_read_whole() {
        assert_eq!(collect(&declared("4"), Body::from("abcd"), 4).await.unwrap(), "abcd");
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused_whether_it_says_so_or_not() {
        for headers in [declared("5"), HeaderMap::new(), declared("4")] {
            let refused = collect(&headers, Body::from("abcde"), 4).await;
            assert!(matches!(refused, Err(ServeError::TooLarge { limit: 4 })), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn an_endless_body_that_declares_its_length_is_not_even_begun() {
        let endless = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        assert!(matches!(collect(&declared("209715200"), endless, 4).await, Err(ServeError::TooLarge { .. })));
    }
}
