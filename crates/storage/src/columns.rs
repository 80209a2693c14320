//! Columns of Parquet files, in the order of their schema.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

type Group<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;
type Result<T> = std::result::Result<T, ParquetError>;

/// Writes the columns of one group of rows.
pub(crate) struct Columns<'a, 'b, R> {
    group: &'a mut Group<'b>,
    rows: &'a [R],
}

/// A file of `rows`; `fill` writes every column of `schema`. Equal rows and metadata give equal bytes.
pub(crate) fn write<R>(
    schema: &str,
    metadata: Vec<KeyValue>,
    rows: &[R],
    fill: impl FnOnce(&mut Columns<'_, '_, R>) -> Result<()>,
) -> Result<Bytes> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by("ursa".into())
        .set_key_value_metadata(Some(metadata))
        .build();
    let schema = Arc::new(parse_message_type(schema)?);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    fill(&mut Columns { group: &mut group, rows })?;
    group.close()?;
    Ok(writer.into_inner()?.into())
}

impl<R> Columns<'_, '_, R> {
    pub(crate) fn text(&mut self, pick: impl Fn(&R) -> String) -> Result<()> {
        self.plain::<ByteArrayType>(|row| ByteArray::from(pick(row).into_bytes()))
    }

    pub(crate) fn int(&mut self, pick: impl Fn(&R) -> u32) -> Result<()> {
        self.plain::<Int32Type>(|row| pick(row) as i32)
    }

    pub(crate) fn long(&mut self, pick: impl Fn(&R) -> u64) -> Result<()> {
        self.plain::<Int64Type>(|row| pick(row) as i64)
    }

    pub(crate) fn double(&mut self, pick: impl Fn(&R) -> f64) -> Result<()> {
        self.plain::<DoubleType>(pick)
    }

    /// A repeated column: a list in each row, which has one value at least.
    pub(crate) fn floats<'r>(&'r mut self, pick: impl Fn(&'r R) -> &'r [f32]) -> Result<()> {
        let rows = self.rows;
        let values: Vec<f32> = rows.iter().flat_map(|row| pick(row).iter().copied()).collect();
        let begins = |row: &'r R| (0..pick(row).len()).map(|place| i16::from(place > 0)).collect::<Vec<_>>();
        let repetitions: Vec<i16> = rows.iter().flat_map(begins).collect();
        let definitions = vec![1; values.len()];
        self.write::<FloatType>(&values, Some((&definitions, &repetitions)))
    }

    fn plain<T: DataType>(&mut self, pick: impl Fn(&R) -> T::T) -> Result<()> {
        let values: Vec<T::T> = self.rows.iter().map(pick).collect();
        self.write::<T>(&values, None)
    }

    fn write<T: DataType>(&mut self, values: &[T::T], levels: Option<(&[i16], &[i16])>) -> Result<()> {
        let missing = || ParquetError::General("the schema has fewer columns than the writer".into());
        let mut column = self.group.next_column()?.ok_or_else(missing)?;
        let (definitions, repetitions) = levels.unzip();
        column.typed::<T>().write_batch(values, definitions, repetitions)?;
        column.close()
    }
}
