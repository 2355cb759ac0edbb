//! Values of read models, to and from PostgreSQL.

use annals_core::{
    Column, ColumnType, Row, RowError, StoreError, StoreErrorKind, TableSpec, Value,
};
use sqlx::{
    Arguments as _, Row as _,
    postgres::{PgArguments, PgRow},
};

use crate::error::failed;

/// The values of one column of many rows, for `unnest`.
#[derive(Debug)]
enum Values {
    Integer(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
    Blob(Vec<Option<Vec<u8>>>),
}

impl Values {
    fn of(column: &Column, rows: usize) -> Self {
        match column.column_type {
            ColumnType::Integer => Self::Integer(Vec::with_capacity(rows)),
            ColumnType::Real => Self::Real(Vec::with_capacity(rows)),
            ColumnType::Text => Self::Text(Vec::with_capacity(rows)),
            ColumnType::Blob => Self::Blob(Vec::with_capacity(rows)),
        }
    }

    /// Adds a value that fits the column.
    fn push(&mut self, value: Value) {
        match (self, value) {
            (Self::Integer(values), Value::Integer(value)) => values.push(Some(value)),
            (Self::Real(values), Value::Real(value)) => values.push(Some(value)),
            (Self::Text(values), Value::Text(value)) => values.push(Some(value)),
            (Self::Blob(values), Value::Blob(value)) => values.push(Some(value)),
            (Self::Integer(values), _) => values.push(None),
            (Self::Real(values), _) => values.push(None),
            (Self::Text(values), _) => values.push(None),
            (Self::Blob(values), _) => values.push(None),
        }
    }

    fn bind(self, binds: &mut PgArguments) -> Result<(), sqlx::Error> {
        let added = match self {
            Self::Integer(values) => binds.add(values),
            Self::Real(values) => binds.add(values),
            Self::Text(values) => binds.add(values),
            Self::Blob(values) => binds.add(values),
        };
        added.map_err(sqlx::Error::Encode)
    }
}

/// The values of rows as one array a column.
///
/// # Errors
/// When a row does not fit the columns.
pub(crate) fn arrays(
    table: &TableSpec,
    columns: &[&Column],
    rows: Vec<Row>,
) -> Result<PgArguments, StoreError> {
    let count = rows.len();
    let mut arrays: Vec<Values> = columns
        .iter()
        .map(|column| Values::of(column, count))
        .collect();
    for row in rows {
        check(table, columns, &row)?;
        for (array, value) in arrays.iter_mut().zip(row) {
            array.push(value);
        }
    }
    let mut binds = PgArguments::default();
    for array in arrays {
        array.bind(&mut binds).map_err(failed("bind rows"))?;
    }
    Ok(binds)
}

/// The values of one key as one bind each.
///
/// # Errors
/// When the key does not fit the key's columns.
pub(crate) fn key(table: &TableSpec, key: &[Value]) -> Result<PgArguments, StoreError> {
    let columns: Vec<_> = table.key_columns().collect();
    check(table, &columns, key)?;
    let mut binds = PgArguments::default();
    for value in key {
        let added = match value {
            Value::Null => binds.add(None::<i64>),
            Value::Integer(number) => binds.add(number),
            Value::Real(number) => binds.add(number),
            Value::Text(text) => binds.add(text),
            Value::Blob(bytes) => binds.add(bytes),
        };
        added.map_err(|error| failed("bind a key")(sqlx::Error::Encode(error)))?;
    }
    Ok(binds)
}

/// Refuses a row that does not fit, before the server sees it.
///
/// # Errors
/// [`StoreErrorKind::Invalid`], naming the column.
pub(crate) fn check(
    table: &TableSpec,
    columns: &[&Column],
    row: &[Value],
) -> Result<(), StoreError> {
    let misfit = if row.len() == columns.len() {
        let mut pairs = columns.iter().zip(row);
        pairs.find_map(|(column, value)| {
            let problem = problem(column, value)?;
            Some(RowError::new(problem).in_column(column.name))
        })
    } else {
        Some(RowError::wrong_width(table.name, columns.len(), row.len()))
    };
    misfit.map_or(Ok(()), |error| {
        let doing = format!("write a row of `{}`", table.name);
        Err(StoreError::new(StoreErrorKind::Invalid, doing).caused_by(error))
    })
}

/// Whether PostgreSQL can store these values at all.
pub(crate) fn storable(values: &[Value]) -> bool {
    !values.iter().any(has_nul)
}

fn has_nul(value: &Value) -> bool {
    matches!(value, Value::Text(text) if text.contains('\0'))
}

fn problem(column: &Column, value: &Value) -> Option<String> {
    let fits = match value {
        Value::Null => column.nullable && !column.key,
        Value::Integer(_) => column.column_type == ColumnType::Integer,
        Value::Real(_) => column.column_type == ColumnType::Real,
        Value::Text(_) => column.column_type == ColumnType::Text,
        Value::Blob(_) => column.column_type == ColumnType::Blob,
    };
    match value {
        _ if !fits => Some(format!("{value:?} is not a value of this column")),
        text if has_nul(text) => Some(format!(
            "{text:?} contains the character NUL, which PostgreSQL can't store in text; \
             keep it as bytes (`Vec<u8>`), or leave the character out"
        )),
        _ => None,
    }
}

/// Reads columns of a row, which are selected in this order from index `first` on.
pub(crate) fn read<'c>(
    row: &PgRow,
    first: usize,
    columns: impl Iterator<Item = &'c Column>,
) -> Result<Row, sqlx::Error> {
    (first..)
        .zip(columns)
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
