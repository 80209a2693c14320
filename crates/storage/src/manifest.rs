//! Manifests: what a snapshot is, as Parquet, so that any data tool can read it.
//!
//! Equal snapshots give equal bytes: the digest of a manifest is the digest of the data.

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Row, RowAccessor};
use ursa_domain::split::Side;
use uuid::Uuid;

use crate::{Digest, Key, Storage, StorageError, columns};

const WHAT: &str = "manifest";

/// The columns, in the order rows are read and written.
const SCHEMA: &str = "message manifest {
    required binary image_id (UTF8);
    required int32 class_index;
    required binary side (UTF8);
    required binary content_id (UTF8);
    required binary shard (UTF8);
    required int64 offset;
    required int64 length;
    required int32 width;
    required int32 height;
    required binary sha256 (UTF8);
    required binary source_url (UTF8);
    required binary licence (UTF8);
}";
/// Columns of manifests that say nothing of licences.
const COLUMNS_WITHOUT_LICENCE: usize = 11;

/// An immutable version of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The dataset.
    pub dataset: String,
    /// The snapshot's number.
    pub number: u32,
    /// Seed of the split.
    pub seed: u64,
    /// Share of the validation side, in percent.
    pub valid_percent: u32,
    /// Classes in the order of a model's outputs.
    pub classes: Vec<String>,
    /// The images.
    pub rows: Vec<ManifestRow>,
}

/// One image of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRow {
    /// Its id.
    pub image_id: Uuid,
    /// Its label: an index into [`Manifest::classes`].
    pub class_index: u32,
    /// Its side of the split.
    pub side: Side,
    /// Its duplicate group.
    pub content_id: String,
    /// Key of the shard with the normalised picture.
    pub shard: String,
    /// Of the picture in the shard, in bytes.
    pub offset: u64,
    /// Of the picture in the shard, in bytes.
    pub length: u64,
    /// Of the normalised picture, in pixels.
    pub width: u32,
    /// Of the normalised picture, in pixels.
    pub height: u32,
    /// SHA-256 of the bytes as fetched, hex.
    pub sha256: String,
    /// Where it came from.
    pub source_url: String,
    /// The licence that its file names: an SPDX identifier or an address; empty while unknown.
    pub licence: String,
}

fn malformed(error: impl ToString) -> StorageError {
    StorageError::malformed(WHAT, error)
}

impl Manifest {
    /// Writes the manifest; a row whose class does not exist is refused.
    pub fn to_parquet(&self) -> Result<Bytes, StorageError> {
        let classes = self.classes.len();
        if let Some(row) = self.rows.iter().find(|row| row.class_index as usize >= classes) {
            return Err(malformed(format!("image {} has class {} of {classes}", row.image_id, row.class_index)));
        }
        self.write().map_err(malformed)
    }

    fn write(&self) -> Result<Bytes, ParquetError> {
        columns::write(SCHEMA, self.metadata(), &self.rows, |columns| {
            columns.text(|row| row.image_id.to_string())?;
            columns.int(|row| row.class_index)?;
            columns.text(|row| row.side.to_string())?;
            columns.text(|row| row.content_id.clone())?;
            columns.text(|row| row.shard.clone())?;
            columns.long(|row| row.offset)?;
            columns.long(|row| row.length)?;
            columns.int(|row| row.width)?;
            columns.int(|row| row.height)?;
            columns.text(|row| row.sha256.clone())?;
            columns.text(|row| row.source_url.clone())?;
            columns.text(|row| row.licence.clone())
        })
    }

    fn metadata(&self) -> Vec<KeyValue> {
        let classes = serde_json::Value::from(self.classes.clone()).to_string();
        [
            ("ursa.dataset", self.dataset.clone()),
            ("ursa.number", self.number.to_string()),
            ("ursa.seed", self.seed.to_string()),
            ("ursa.valid_percent", self.valid_percent.to_string()),
            ("ursa.classes", classes),
        ]
        .into_iter()
        .map(|(key, value)| KeyValue::new(key.to_owned(), value))
        .collect()
    }

    /// Reads the manifest with this digest from the store.
    pub async fn download(storage: &Storage, digest: &Digest) -> Result<Self, StorageError> {
        Self::from_parquet(storage.get_verified(&Key::Manifest { digest: *digest }, digest).await?)
    }

    /// Reads a manifest whose digest was checked: Parquet has no checksum of its own, and a flipped byte may pass as
    /// another value or panic in the reader. [`Manifest::download`] checks it.
    pub fn from_parquet(bytes: Bytes) -> Result<Self, StorageError> {
        let reader = SerializedFileReader::new(bytes).map_err(malformed)?;
        let metadata = reader.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let value = |name: &str| {
            let found = metadata.iter().find(|pair| pair.key == name).and_then(|pair| pair.value.clone());
            found.ok_or_else(|| malformed(format!("{name} is missing")))
        };
        let classes: Vec<String> = serde_json::from_str(&value("ursa.classes")?).map_err(malformed)?;
        let rows = reader
            .get_row_iter(None)
            .map_err(malformed)?
            .map(|row| read_row(&row.map_err(malformed)?, classes.len()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            dataset: value("ursa.dataset")?,
            number: value("ursa.number")?.parse().map_err(malformed)?,
            seed: value("ursa.seed")?.parse().map_err(malformed)?,
            valid_percent: value("ursa.valid_percent")?.parse().map_err(malformed)?,
            classes,
            rows,
        })
    }
}

fn read_row(row: &Row, classes: usize) -> Result<ManifestRow, StorageError> {
    let text = |column| row.get_string(column).map(String::as_str).map_err(malformed);
    let int = |column| row.get_int(column).map(|value| value as u32).map_err(malformed);
    let long = |column| row.get_long(column).map(|value| value as u64).map_err(malformed);
    let class_index = int(1)?;
    if class_index as usize >= classes {
        return Err(malformed(format!("class {class_index} of {classes}")));
    }
    Ok(ManifestRow {
        image_id: Uuid::try_parse(text(0)?).map_err(malformed)?,
        class_index,
        side: text(2)?.parse().map_err(malformed)?,
        content_id: text(3)?.to_owned(),
        shard: text(4)?.to_owned(),
        offset: long(5)?,
        length: long(6)?,
        width: int(7)?,
        height: int(8)?,
        sha256: text(9)?.to_owned(),
        source_url: text(10)?.to_owned(),
        licence: if row.len() > COLUMNS_WITHOUT_LICENCE { text(11)?.to_owned() } else { String::new() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(rows: u32) -> Manifest {
        let row = |index: u32| ManifestRow {
            image_id: Uuid::from_u128(u128::from(index)),
            class_index: index % 2,
            side: if index.is_multiple_of(5) { Side::Valid } else { Side::Train },
            content_id: format!("content {index}"),
            shard: "shards/normal/x/1.tar".into(),
            offset: 512 + u64::from(index) * 4096,
            length: 4000,
            width: 512,
            height: 384,
            sha256: "00".repeat(32),
            source_url: format!("http://example.org/{index}.jpg?ü"),
            licence: if index.is_multiple_of(2) { "CC0-1.0".into() } else { String::new() },
        };
        Manifest {
            dataset: "bears".into(),
            number: 3,
            seed: u64::MAX,
            valid_percent: 20,
            classes: vec!["teddy".into(), "grizzly \"bear\"".into()],
            rows: (0..rows).map(row).collect(),
        }
    }

    #[test]
    fn a_manifest_reads_back() {
        for rows in [0, 1, 1000] {
            let manifest = manifest(rows);
            assert_eq!(Manifest::from_parquet(manifest.to_parquet().unwrap()).unwrap(), manifest);
        }
    }

    #[test]
    fn a_manifest_that_says_nothing_of_licences_is_read() {
        let mut manifest = manifest(3);
        let schema = SCHEMA.replace("    required binary licence (UTF8);\n", "");
        let bytes = columns::write(&schema, manifest.metadata(), &manifest.rows, |columns| {
            columns.text(|row| row.image_id.to_string())?;
            columns.int(|row| row.class_index)?;
            columns.text(|row| row.side.to_string())?;
            columns.text(|row| row.content_id.clone())?;
            columns.text(|row| row.shard.clone())?;
            columns.long(|row| row.offset)?;
            columns.long(|row| row.length)?;
            columns.int(|row| row.width)?;
            columns.int(|row| row.height)?;
            columns.text(|row| row.sha256.clone())?;
            columns.text(|row| row.source_url.clone())
        });
        manifest.rows.iter_mut().for_each(|row| row.licence.clear());
        assert_eq!(Manifest::from_parquet(bytes.unwrap()).unwrap(), manifest);
    }

    #[test]
    fn a_class_that_does_not_exist_is_refused_before_it_is_written() {
        let mut manifest = manifest(2);
        manifest.classes.pop();
        assert!(manifest.to_parquet().unwrap_err().to_string().contains("class 1 of 1"));
    }

    #[test]
    fn equal_manifests_have_equal_bytes() {
        assert_eq!(manifest(50).to_parquet().unwrap(), manifest(50).to_parquet().unwrap());
    }

    #[test]
    fn nonsense_and_cut_files_are_refused() {
        let bytes = manifest(50).to_parquet().unwrap();
        assert!(Manifest::from_parquet(Bytes::from_static(b"PAR1 but not really")).is_err());
        assert!(Manifest::from_parquet(bytes.slice(..bytes.len() / 2)).is_err());
    }
}
