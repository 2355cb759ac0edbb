//! Values of read models, to and from SQLite.

use annals_core::{Column, ColumnType, Row, Value};
use sqlx::{Arguments, Row as _, sqlite::SqliteArguments, sqlite::SqliteRow};

/// Adds a value to a statement's binds.
pub(crate) fn bind(binds: &mut SqliteArguments, value: Value) -> Result<(), sqlx::Error> {
    let added = match value {
        Value::Null => binds.add(None::<i64>),
        Value::Integer(number) => binds.add(number),
        Value::Real(number) => binds.add(number),
        Value::Text(text) => binds.add(text),
        Value::Blob(bytes) => binds.add(bytes),
    };
    added.map_err(sqlx::Error::Encode)
}

/// Reads a row of these columns, which are selected in this order.
pub(crate) fn read<'c>(
    row: &SqliteRow,
    columns: impl Iterator<Item = &'c Column>,
) -> Result<Row, sqlx::Error> {
    columns
        .enumerate()
        .map(|(index, column)| {
            Ok(match column.column_type {
                ColumnType::Integer => row
                    .try_get::<Option<i64>, _>(index)?
                    .map_or(Value::Null, Value::Integer),
                ColumnType::Real => row
                    .try_get::<Option<f64>, _>(index)?
                    .map_or(Value::Null, Value::Real),
                ColumnType::Text => row
                    .try_get::<Option<String>, _>(index)?
                    .map_or(Value::Null, Value::Text),
                ColumnType::Blob => row
                    .try_get::<Option<Vec<u8>>, _>(index)?
                    .map_or(Value::Null, Value::Blob),
            })
        })
        .collect()
}
