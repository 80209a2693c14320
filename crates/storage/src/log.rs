//! Logs: what one attempt said, as one JSON object per line, compressed: `zstdcat` shows it.

use std::io::Read;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::StorageError;

const WHAT: &str = "log";
/// The level at which text gets small fast.
const LEVEL: i32 = 3;
/// A log of more bytes than this, uncompressed, is refused: whoever writes one cuts it before.
const MAX_BYTES: u64 = 64 << 20;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Grows along the log.
    pub id: i64,
    /// When the worker wrote it, by the worker's clock.
    pub at: DateTime<Utc>,
    /// `info`, `warn` or `error`.
    pub level: String,
    /// What it says.
    pub message: String,
}

/// Lines as they are stored.
///
/// # Errors
/// [`StorageError::Malformed`] when they are too many to be read back.
pub fn pack(lines: &[LogLine]) -> Result<Bytes, StorageError> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).map_err(|error| StorageError::malformed(WHAT, error))?;
        text.push(b'\n');
    }
    if text.len() as u64 > MAX_BYTES {
        return Err(StorageError::malformed(WHAT, format!("{} bytes are too many for one", text.len())));
    }
    let packed = zstd::encode_all(text.as_slice(), LEVEL).map_err(|error| StorageError::malformed(WHAT, error))?;
    Ok(packed.into())
}

/// Reads lines back.
///
/// # Errors
/// [`StorageError::Malformed`] for everything that [`pack`] does not write.
pub fn unpack(bytes: &[u8]) -> Result<Vec<LogLine>, StorageError> {
    let failed = |error: std::io::Error| StorageError::malformed(WHAT, error);
    let mut text = String::new();
    let decoder = zstd::Decoder::with_buffer(bytes).map_err(failed)?;
    decoder.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(StorageError::malformed(WHAT, "it does not end"));
    }
    text.lines().map(|line| serde_json::from_str(line).map_err(|error| StorageError::malformed(WHAT, error))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: i64, message: &str) -> LogLine {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        LogLine { id, at, level: "info".into(), message: message.into() }
    }

    #[test]
    fn lines_read_back_as_they_were_whatever_they_say() {
        let lines = vec![line(1, "epoch 1"), line(7, "two\nlines, \"quotes\" and ü\u{1}"), line(9, "")];
        assert_eq!(unpack(&pack(&lines).unwrap()).unwrap(), lines);
        assert_eq!(unpack(&pack(&[]).unwrap()).unwrap(), []);
    }

    #[test]
    fn many_alike_get_small() {
        let lines: Vec<_> = (0..5000).map(|id| line(id, "fetched a picture of a bear")).collect();
        assert!(pack(&lines).unwrap().len() < 5000 * 10);
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let whole = pack(&[line(1, "epoch 1")]).unwrap();
        let cut = &whole[..whole.len() - 3];
        let other = zstd::encode_all(&b"{\"id\": 1}\n"[..], LEVEL).unwrap();
        let endless = zstd::encode_all(std::io::repeat(b' ').take(MAX_BYTES + 1), LEVEL).unwrap();
        for bytes in [&b"no zstd"[..], cut, &other, &endless] {
            assert!(matches!(unpack(bytes), Err(StorageError::Malformed { .. })));
        }
    }
}
