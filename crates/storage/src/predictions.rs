//! What a model says of every image of its snapshot, as Parquet, so that any data tool can read it: for reviews of what is
//! wrong, for duplicates and outliers.

use bytes::Bytes;
use parquet::file::metadata::KeyValue;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{List, ListAccessor, Row, RowAccessor};
use ursa_domain::split::Side;
use uuid::Uuid;

use crate::{StorageError, columns};

const WHAT: &str = "predictions";

/// The columns, in the order rows are read and written.
const SCHEMA: &str = "message predictions {
    required binary image_id (UTF8);
    required binary side (UTF8);
    required int32 actual;
    required int32 predicted;
    required double loss;
    repeated float probabilities;
    repeated float embedding;
}";

/// What a model says of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionRow {
    /// The image's id.
    pub image_id: Uuid,
    /// Its side of the split.
    pub side: Side,
    /// Its class by its label: an index.
    pub actual: u32,
    /// Its class by the model.
    pub predicted: u32,
    /// Cross-entropy with the label, in nats.
    pub loss: f64,
    /// Of each class, in order.
    pub probabilities: Vec<f32>,
    /// What the body makes of it: the pooled features that the head looks at.
    pub embedding: Vec<f32>,
}

fn malformed(error: impl ToString) -> StorageError {
    StorageError::malformed(WHAT, error)
}

/// Writes `rows`, with the names of the classes in the metadata under `ursa.classes`. Every row has a probability for each
/// class and an embedding.
pub fn to_parquet(classes: &[String], rows: &[PredictionRow]) -> Result<Bytes, StorageError> {
    let odd = rows.iter().find(|row| row.probabilities.len() != classes.len() || row.embedding.is_empty());
    if let Some(row) = odd {
        let (found, wanted) = (row.probabilities.len(), classes.len());
        return Err(malformed(format!("image {} has {found} probabilities for {wanted} classes", row.image_id)));
    }
    let names = serde_json::Value::from(classes.to_vec()).to_string();
    let metadata = vec![KeyValue::new("ursa.classes".to_owned(), names)];
    columns::write(SCHEMA, metadata, rows, |columns| {
        columns.text(|row| row.image_id.to_string())?;
        columns.text(|row| row.side.to_string())?;
        columns.int(|row| row.actual)?;
        columns.int(|row| row.predicted)?;
        columns.double(|row| row.loss)?;
        columns.floats(|row| &row.probabilities)?;
        columns.floats(|row| &row.embedding)
    })
    .map_err(malformed)
}

/// Reads rows whose digest was checked.
pub fn from_parquet(bytes: Bytes) -> Result<Vec<PredictionRow>, StorageError> {
    let reader = SerializedFileReader::new(bytes).map_err(malformed)?;
    let rows = reader.get_row_iter(None).map_err(malformed)?;
    rows.map(|row| read(&row.map_err(malformed)?)).collect()
}

fn read(row: &Row) -> Result<PredictionRow, StorageError> {
    let text = |column| row.get_string(column).map(String::as_str).map_err(malformed);
    let int = |column| row.get_int(column).map(|value| value as u32).map_err(malformed);
    Ok(PredictionRow {
        image_id: Uuid::try_parse(text(0)?).map_err(malformed)?,
        side: text(1)?.parse().map_err(malformed)?,
        actual: int(2)?,
        predicted: int(3)?,
        loss: row.get_double(4).map_err(malformed)?,
        probabilities: floats(row.get_list(5).map_err(malformed)?)?,
        embedding: floats(row.get_list(6).map_err(malformed)?)?,
    })
}

fn floats(list: &List) -> Result<Vec<f32>, StorageError> {
    (0..list.len()).map(|place| list.get_float(place).map_err(malformed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: u32) -> Vec<PredictionRow> {
        let row = |index: u32| PredictionRow {
            image_id: Uuid::from_u128(u128::from(index)),
            side: if index.is_multiple_of(3) { Side::Valid } else { Side::Train },
            actual: index % 2,
            predicted: 0,
            loss: f64::from(index) / 7.0,
            probabilities: vec![0.25, 0.75],
            embedding: (0..5).map(|place| (index * 10 + place) as f32).collect(),
        };
        (0..count).map(row).collect()
    }

    fn classes() -> Vec<String> {
        vec!["teddy".into(), "grizzly".into()]
    }

    #[test]
    fn predictions_read_back() {
        for count in [0, 1, 500] {
            let rows = rows(count);
            assert_eq!(from_parquet(to_parquet(&classes(), &rows).unwrap()).unwrap(), rows);
        }
    }

    #[test]
    fn equal_predictions_have_equal_bytes() {
        assert_eq!(to_parquet(&classes(), &rows(9)).unwrap(), to_parquet(&classes(), &rows(9)).unwrap());
    }

    #[test]
    fn rows_of_other_classes_and_nonsense_are_refused() {
        assert!(to_parquet(&classes()[..1], &rows(2)).unwrap_err().to_string().contains("2 probabilities for 1"));
        assert!(from_parquet(Bytes::from_static(b"PAR1 but not really")).is_err());
    }
}
