//! What a model says of every image of a snapshot, as Parquet, so that any data tool can read it: for reviews of what is
//! wrong, for duplicates and outliers.

use bytes::Bytes;
use parquet::file::metadata::KeyValue;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{List, ListAccessor, Row, RowAccessor};
use parquet::schema::parser::parse_message_type;
use ursa_domain::interpret::Prediction;
use ursa_domain::split::Side;
use uuid::Uuid;

use crate::{StorageError, columns};

const WHAT: &str = "predictions";

/// The metadata that holds the names of the classes.
const CLASSES: &str = "ursa.classes";

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

/// The columns without the embeddings, which are nearly all of a file.
const PREDICTIONS: &str = "message predictions {
    required binary image_id (UTF8);
    required binary side (UTF8);
    required int32 actual;
    required int32 predicted;
    required double loss;
    repeated float probabilities;
}";

/// What a model says of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionRow {
    /// Its side of the split.
    pub side: Side,
    /// What the model says.
    pub prediction: Prediction,
    /// What the body makes of it: the pooled features that the head looks at.
    pub embedding: Vec<f32>,
}

/// What a model says of images, without what its body makes of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// In the order of the probabilities.
    pub classes: Vec<String>,
    /// Of each image, every one of these classes.
    pub predictions: Vec<Prediction>,
}

fn malformed(error: impl ToString) -> StorageError {
    StorageError::malformed(WHAT, error)
}

/// Writes `rows`, with the names of the classes in the metadata under `ursa.classes`. Every row speaks of these classes and
/// has an embedding.
pub fn to_parquet(classes: &[String], rows: &[PredictionRow]) -> Result<Bytes, StorageError> {
    for row in rows {
        check(&row.prediction, classes)?;
        if row.embedding.is_empty() {
            return Err(malformed(format!("image {} has no embedding", row.prediction.id)));
        }
    }
    let names = serde_json::Value::from(classes.to_vec()).to_string();
    let metadata = vec![KeyValue::new(CLASSES.to_owned(), names)];
    columns::write(SCHEMA, metadata, rows, |columns| {
        columns.text(|row| row.prediction.id.to_string())?;
        columns.text(|row| row.side.to_string())?;
        columns.int(|row| row.prediction.actual)?;
        columns.int(|row| row.prediction.predicted)?;
        columns.double(|row| row.prediction.loss)?;
        columns.floats(|row| &row.prediction.probabilities)?;
        columns.floats(|row| &row.embedding)
    })
    .map_err(malformed)
}

/// Reads rows whose digest was checked.
pub fn from_parquet(bytes: Bytes) -> Result<Vec<PredictionRow>, StorageError> {
    let reader = SerializedFileReader::new(bytes).map_err(malformed)?;
    let classes = classes_of(&reader)?;
    let rows = reader.get_row_iter(None).map_err(malformed)?;
    rows.map(|row| {
        let row = row.map_err(malformed)?;
        let embedding = floats(row.get_list(6).map_err(malformed)?)?;
        Ok(PredictionRow { side: side_of(&row)?, prediction: read(&row, &classes)?, embedding })
    })
    .collect()
}

/// Reads what is said of the images of one `side`, or of both, without their embeddings. The digest of `bytes` was checked.
pub fn without_embeddings(bytes: Bytes, side: Option<Side>) -> Result<Predictions, StorageError> {
    let reader = SerializedFileReader::new(bytes).map_err(malformed)?;
    let classes = classes_of(&reader)?;
    let wanted = parse_message_type(PREDICTIONS).map_err(malformed)?;
    let mut predictions = Vec::new();
    for row in reader.get_row_iter(Some(wanted)).map_err(malformed)? {
        let row = row.map_err(malformed)?;
        let found = side_of(&row)?;
        if side.is_none_or(|wanted| wanted == found) {
            predictions.push(read(&row, &classes)?);
        }
    }
    Ok(Predictions { classes, predictions })
}

fn classes_of(reader: &SerializedFileReader<Bytes>) -> Result<Vec<String>, StorageError> {
    let metadata = reader.metadata().file_metadata().key_value_metadata().into_iter().flatten();
    let names = metadata.filter(|pair| pair.key == CLASSES).find_map(|pair| pair.value.as_deref());
    serde_json::from_str(names.ok_or_else(|| malformed(format!("{CLASSES} is missing")))?).map_err(malformed)
}

fn side_of(row: &Row) -> Result<Side, StorageError> {
    row.get_string(1).map_err(malformed)?.parse().map_err(malformed)
}

fn read(row: &Row, classes: &[String]) -> Result<Prediction, StorageError> {
    let int = |column| row.get_int(column).map(|value| value as u32).map_err(malformed);
    let prediction = Prediction {
        id: Uuid::try_parse(row.get_string(0).map_err(malformed)?).map_err(malformed)?,
        actual: int(2)?,
        predicted: int(3)?,
        loss: row.get_double(4).map_err(malformed)?,
        probabilities: floats(row.get_list(5).map_err(malformed)?)?,
    };
    check(&prediction, classes)?;
    Ok(prediction)
}

fn check(prediction: &Prediction, classes: &[String]) -> Result<(), StorageError> {
    if prediction.fits(classes.len()) {
        return Ok(());
    }
    let Prediction { id, actual, predicted, probabilities, .. } = prediction;
    let (found, wanted) = (probabilities.len(), classes.len());
    let reason = format!("image {id} has {found} probabilities and classes {actual} and {predicted} of {wanted}");
    Err(malformed(reason))
}

fn floats(list: &List) -> Result<Vec<f32>, StorageError> {
    (0..list.len()).map(|place| list.get_float(place).map_err(malformed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: u32) -> Vec<PredictionRow> {
        let row = |index: u32| PredictionRow {
            side: if index.is_multiple_of(3) { Side::Valid } else { Side::Train },
            prediction: Prediction {
                id: Uuid::from_u128(u128::from(index)),
                actual: index % 2,
                predicted: 0,
                loss: f64::from(index) / 7.0,
                probabilities: vec![0.25, 0.75],
            },
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
    fn one_side_or_both_are_read_without_their_embeddings() {
        let rows = rows(50);
        for (side, count) in [(Some(Side::Train), 33), (Some(Side::Valid), 17), (None, 50)] {
            let wanted = rows.iter().filter(|row| side.is_none_or(|side| side == row.side));
            let expected: Vec<_> = wanted.map(|row| row.prediction.clone()).collect();
            assert_eq!(expected.len(), count);
            let found = without_embeddings(to_parquet(&classes(), &rows).unwrap(), side).unwrap();
            assert_eq!(found, Predictions { classes: classes(), predictions: expected });
        }
    }

    #[test]
    fn equal_predictions_have_equal_bytes() {
        assert_eq!(to_parquet(&classes(), &rows(9)).unwrap(), to_parquet(&classes(), &rows(9)).unwrap());
    }

    #[test]
    fn rows_of_other_classes_and_nonsense_are_refused() {
        let refused = |classes: &[String], rows: &[PredictionRow]| to_parquet(classes, rows).unwrap_err().to_string();
        assert!(refused(&classes()[..1], &rows(2)).contains("2 probabilities and classes 0 and 0 of 1"));
        let mut beyond = rows(1);
        beyond[0].prediction.predicted = 2;
        assert!(refused(&classes(), &beyond).contains("classes 0 and 2 of 2"));
        beyond[0] = PredictionRow { embedding: Vec::new(), ..rows(1).remove(0) };
        assert!(refused(&classes(), &beyond).contains("no embedding"));
        assert!(from_parquet(Bytes::from_static(b"PAR1 but not really")).is_err());
        assert!(without_embeddings(Bytes::from_static(b"PAR1 but not really"), None).is_err());
    }
}
