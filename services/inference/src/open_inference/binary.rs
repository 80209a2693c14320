//! The binary tensor extension of the JSON wire: tensors' raw values follow the JSON, in the order of the tensors.
//!
//! Triton's clients use it unless told otherwise.

use axum::http::HeaderMap;
use bytes::Bytes;

use crate::error::ServeError;

/// Header that says where the JSON ends; its absence means that there is nothing else.
pub(super) const JSON_LENGTH: &str = "inference-header-content-length";
/// Parameter of a tensor: how many bytes of the binary part are its.
pub(super) const SIZE: &str = "binary_data_size";

/// A request's body in its two parts.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) json: Bytes,
    rest: Bytes,
}

impl Parts {
    /// Cuts a body where its headers say.
    pub(super) fn cut(headers: &HeaderMap, mut body: Bytes) -> Result<Self, ServeError> {
        let Some(value) = headers.get(JSON_LENGTH) else { return Ok(Self { json: body, rest: Bytes::new() }) };
        let length = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|length| *length <= body.len());
        let length = length.ok_or_else(|| {
            ServeError::Invalid(format!("{JSON_LENGTH} must be a number of bytes within the body ({})", body.len()))
        })?;
        let json = body.split_to(length);
        Ok(Self { json, rest: body })
    }

    /// The next `size` bytes of the binary part.
    pub(super) fn take(&mut self, size: u64) -> Result<Bytes, ServeError> {
        let size = usize::try_from(size).ok().filter(|size| *size <= self.rest.len()).ok_or_else(|| {
            ServeError::Invalid(format!("{SIZE} is {size}, but {} bytes follow the JSON", self.rest.len()))
        })?;
        Ok(self.rest.split_to(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(length: &str, body: &'static str) -> Result<Parts, ServeError> {
        let headers = [(JSON_LENGTH.parse().unwrap(), length.parse().unwrap())].into_iter().collect();
        Parts::cut(&headers, Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn the_body_is_cut_where_the_header_says() {
        let mut parts = cut("2", "{}abcd").unwrap();
        assert_eq!(parts.json, "{}");
        assert_eq!(parts.take(3).unwrap(), "abc");
        assert!(parts.take(2).unwrap_err().to_string().contains("1 bytes follow"));
        assert!(parts.take(u64::MAX).is_err());
    }

    #[test]
    fn without_the_header_all_is_json() {
        assert_eq!(Parts::cut(&HeaderMap::new(), Bytes::from_static(b"{}")).unwrap().json, "{}");
    }

    #[test]
    fn a_header_beyond_the_body_is_refused() {
        assert!(cut("9", "{}").is_err());
        assert!(cut("-1", "{}").is_err());
    }
}
