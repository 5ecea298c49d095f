//! Rows of parquet files, nested lists and structs included.

use super::jsonl::Sink;
use super::rows::Unit;
use crate::error::{Error, Result};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};
use std::fs::File;
use std::path::Path;

/// Reads every row of a parquet file.
pub(super) fn read(path: &Path, sink: &mut Sink) -> Result<()> {
    let file = File::open(path).map_err(|error| Error::io(path, "open", error))?;
    let reader = SerializedFileReader::new(file).map_err(|error| broken(path, &error))?;
    let rows = reader
        .get_row_iter(None)
        .map_err(|error| broken(path, &error))?;
    for (i, row) in rows.enumerate() {
        let row = row.map_err(|error| broken(path, &error))?;
        if sink(Unit::Row, i + 1, object(&row).into())?.is_break() {
            break;
        }
    }
    Ok(())
}

fn object(row: &Row) -> std::result::Result<Value, String> {
    let fields = row.get_column_iter();
    let fields = fields.map(|(name, field)| match value(field) {
        Ok(value) => Ok((name.clone(), value)),
        Err(reason) => Err(format!("`{name}`: {reason}")),
    });
    Ok(Value::Object(
        fields.collect::<std::result::Result<Map<_, _>, _>>()?,
    ))
}

fn value(field: &Field) -> std::result::Result<Value, String> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(*value),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Float16(value) => number(f64::from(*value))?,
        Field::Float(value) => number(f64::from(*value))?,
        Field::Double(value) => number(*value)?,
        Field::Str(text) => Value::String(text.clone()),
        // Text that the writer did not declare as such.
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Value::String(text.to_string()),
            Err(_) => return Err("bytes that are not UTF-8 text".to_string()),
        },
        Field::Group(row) => object(row)?,
        Field::ListInternal(list) => {
            let items = list.elements().iter().map(value);
            Value::Array(items.collect::<std::result::Result<_, _>>()?)
        }
        Field::MapInternal(map) => {
            let entries = map.entries().iter().map(|(key, item)| {
                let key = value(key)?;
                let name = key.as_str().map_or_else(|| key.to_string(), str::to_string);
                Ok((name, value(item)?))
            });
            Value::Object(entries.collect::<std::result::Result<_, String>>()?)
        }
        // Dates, times and decimals: nothing that duel reads, but a row may carry them.
        other => Value::String(other.to_string()),
    })
}

fn number(value: f64) -> std::result::Result<Value, String> {
    Number::from_f64(value)
        .map(Value::Number)
        .ok_or(format!("{value} is not a finite number"))
}

fn broken(path: &Path, error: &parquet::errors::ParquetError) -> Error {
    Error::data(format!("{}: cannot be read as parquet: {error}", path.display())).hint(
        "fetch the file again, or write it anew as jsonl or as parquet with snappy, zstd or gzip compression",
    )
}
