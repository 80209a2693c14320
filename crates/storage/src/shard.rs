//! Shards: many pictures in one tar, laid out as WebDataset reads them (`{id}.jpg` beside `{id}.json`).
//!
//! Rows in Postgres point into shards by offset and length, so one picture is one range read. Equal content gives equal
//! bytes: headers hold no clock and no owner.

use std::collections::HashSet;

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use crate::StorageError;

const WHAT: &str = "shard";

/// Where one picture lies in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardEntry {
    /// The image.
    pub id: Uuid,
    /// Of its first byte.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

/// Builds a shard in memory.
#[derive(Debug, Default)]
pub struct ShardWriter {
    bytes: Vec<u8>,
    images: HashSet<Uuid>,
}

impl ShardWriter {
    /// An empty shard.
    pub fn new() -> Self {
        Self::default()
    }

    /// Pictures so far.
    pub fn images(&self) -> usize {
        self.images.len()
    }

    /// Adds a picture and what is known of it. `extension` is of lower-case letters and digits, and not `json`.
    ///
    /// # Errors
    /// [`StorageError::Malformed`] for another extension, or an id that is in the shard already.
    pub fn push(
        &mut self,
        id: Uuid,
        extension: &str,
        bytes: &[u8],
        sidecar: &impl Serialize,
    ) -> Result<ShardEntry, StorageError> {
        if !is_extension(extension) {
            return Err(StorageError::malformed(WHAT, format!("{extension:?} is not a picture's extension")));
        }
        if self.images.contains(&id) {
            return Err(StorageError::malformed(WHAT, format!("picture {id} is in it already")));
        }
        let sidecar = serde_json::to_vec(sidecar).map_err(|error| StorageError::malformed(WHAT, error))?;
        let offset = self.append(&format!("{id}.{extension}"), bytes)?;
        self.append(&format!("{id}.json"), &sidecar)?;
        self.images.insert(id);
        Ok(ShardEntry { id, offset, length: bytes.len() as u64 })
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<u64, StorageError> {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).map_err(|error| StorageError::malformed(WHAT, error))?;
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        Ok(offset)
    }

    /// The finished tar.
    pub fn finish(mut self) -> Bytes {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes.into()
    }
}

const BLOCK: usize = 512;

/// One picture read from a shard.
#[derive(Debug, Clone)]
pub struct ShardImage {
    /// The image.
    pub id: Uuid,
    /// Of its file name, without the dot.
    pub extension: String,
    /// The picture; shares the shard's memory.
    pub bytes: Bytes,
    /// What is known of it.
    pub sidecar: serde_json::Value,
}

fn is_extension(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty() && text.bytes().all(is_plain) && text != "json"
}

/// Reads every picture of a shard, in order. A picture without a sidecar, a member that is neither, or a shard without
/// its end is an error.
pub fn read(shard: &Bytes) -> Result<Vec<ShardImage>, StorageError> {
    let malformed = |reason: &dyn ToString| StorageError::malformed(WHAT, reason.to_string());
    let mut archive = tar::Archive::new(shard.as_ref());
    let mut images = Vec::new();
    let mut picture: Option<(Uuid, String, Bytes)> = None;
    let mut end = 0;
    for entry in archive.entries().map_err(|error| malformed(&error))? {
        let entry = entry.map_err(|error| malformed(&error))?;
        let path = entry.path().map_err(|error| malformed(&error))?.to_string_lossy().into_owned();
        let bytes =
            member(shard, entry.raw_file_position(), entry.size()).ok_or_else(|| malformed(&"it is cut short"))?;
        let (stem, extension) =
            path.split_once('.').ok_or_else(|| malformed(&format!("unexpected member {path:?}")))?;
        end = (entry.raw_file_position() + entry.size()).next_multiple_of(BLOCK as u64) as usize;
        let id = Uuid::try_parse(stem).map_err(|_| malformed(&format!("unexpected member {path:?}")))?;
        match picture.take() {
            None if is_extension(extension) => picture = Some((id, extension.to_owned(), bytes)),
            Some((of, kind, data)) if of == id && extension == "json" => {
                let sidecar = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
                images.push(ShardImage { id, extension: kind, bytes: data, sidecar });
            }
            _ => return Err(malformed(&format!("member {path:?} is out of place"))),
        }
    }
    // Without the closing blocks, a shard cut between two pictures would pass for a smaller one.
    let closing = shard.get(end..).unwrap_or_default();
    if closing.len() < 2 * BLOCK || closing.iter().any(|byte| *byte != 0) {
        return Err(malformed(&"it is cut short"));
    }
    match picture {
        None => Ok(images),
        Some((id, ..)) => Err(malformed(&format!("picture {id} has no sidecar"))),
    }
}

fn member(shard: &Bytes, offset: u64, length: u64) -> Option<Bytes> {
    let (start, end) = (usize::try_from(offset).ok()?, usize::try_from(offset.checked_add(length)?).ok()?);
    (end <= shard.len()).then(|| shard.slice(start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard() -> (Vec<ShardEntry>, Bytes) {
        let mut writer = ShardWriter::new();
        let entries = (0..3_u8)
            .map(|i| {
                let bytes = vec![i; 500 + usize::from(i) * 12];
                writer.push(Uuid::from_u128(u128::from(i)), "jpg", &bytes, &serde_json::json!({"n": i})).unwrap()
            })
            .collect();
        (entries, writer.finish())
    }

    #[test]
    fn pictures_read_back_and_offsets_point_at_them() {
        let (entries, shard) = shard();
        let images = read(&shard).unwrap();
        assert_eq!(images.len(), 3);
        for (entry, image) in entries.iter().zip(&images) {
            assert_eq!((entry.id, "jpg"), (image.id, image.extension.as_str()));
            assert_eq!(shard.slice(entry.offset as usize..(entry.offset + entry.length) as usize), image.bytes);
        }
        assert_eq!(images[2].sidecar["n"], 2);
    }

    #[test]
    fn equal_content_gives_equal_bytes() {
        assert_eq!(shard().1, shard().1);
    }

    #[test]
    fn a_cut_shard_is_refused() {
        let (_, shard) = shard();
        for end in 0..shard.len() {
            assert!(read(&shard.slice(..end)).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn an_extension_that_would_not_read_back_is_refused() {
        for extension in ["", "json", "JPG", "tar.gz", "a/b", ".."] {
            let error = ShardWriter::new().push(Uuid::from_u128(1), extension, b"x", &1).unwrap_err();
            assert!(matches!(error, StorageError::Malformed { .. }), "{extension:?}");
        }
    }

    #[test]
    fn a_picture_is_in_a_shard_once() {
        let mut writer = ShardWriter::new();
        writer.push(Uuid::from_u128(1), "jpg", b"x", &1).unwrap();
        assert!(writer.push(Uuid::from_u128(1), "png", b"y", &1).is_err());
        assert_eq!(read(&writer.finish()).unwrap().len(), 1);
    }
}
