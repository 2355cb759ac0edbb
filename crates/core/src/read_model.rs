//! Read models: typed rows of a real table.

use std::{fmt::Debug, hash::Hash};

use crate::value::{Column, Row, Value};

/// A table that a projection fills and queries read.
///
/// Derive it on a struct; `#[key]` marks the field (or fields) that identify a row. The table is
/// called like the struct in snake case, or what `#[read_model(table = "...")]` says.
///
/// ```
/// use annals_core::{Position, ReadModel};
///
/// #[derive(ReadModel, Clone, Debug, PartialEq)]
/// #[read_model(crate = annals_core)]
/// struct UserBalance {
///     #[key]
///     owner: String,
///     balance: i64,
///     position: Position,
/// }
///
/// assert_eq!(UserBalance::TABLE.name, "user_balance");
/// let row = UserBalance { owner: "alice".into(), balance: 5, position: Position::new(1) };
/// assert_eq!(row.key(), "alice");
/// assert_eq!(UserBalance::from_row(row.to_row())?, row);
/// # Ok::<_, annals_core::RowError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a read model",
    note = "write `#[derive(ReadModel)]` and mark the field that identifies a row with `#[key]`"
)]
pub trait ReadModel: Sized + Send + Sync + 'static {
    /// What identifies a row: the key field's type, or a tuple of several.
    type Key: Clone + Debug + Eq + Hash + Send + Sync + 'static;

    /// The table.
    const TABLE: TableSpec;

    /// This row's key.
    fn key(&self) -> Self::Key;

    /// A key's values, in the order of the key columns.
    fn key_values(key: &Self::Key) -> Vec<Value>;

    /// The values in the order of the columns.
    fn to_row(&self) -> Row;

    /// Reads a row.
    ///
    /// # Errors
    /// When a value is not of its field's type.
    fn from_row(row: Row) -> Result<Self, RowError>;
}

/// The shape of a read model's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// Its name: lower-case ASCII letters, digits and `_`.
    pub name: &'static str,
    /// Its columns; at least one is a key.
    pub columns: &'static [Column],
}

impl TableSpec {
    /// The columns that identify a row.
    pub fn key_columns(&self) -> impl Iterator<Item = &'static Column> {
        self.columns.iter().filter(|column| column.key)
    }

    /// The values of a row's key columns.
    #[must_use]
    pub fn key_of(&self, row: &Row) -> Vec<Value> {
        let keyed = self
            .columns
            .iter()
            .zip(row)
            .filter(|(column, _)| column.key);
        keyed.map(|(_, value)| value.clone()).collect()
    }
}

/// A stored row that does not fit its read model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RowError(String);

impl RowError {
    /// An error with this message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// The row has another number of values than the table has columns.
    #[must_use]
    pub fn wrong_width(table: &str, expected: usize, found: usize) -> Self {
        Self(format!(
            "a row of `{table}` has {found} values instead of {expected}"
        ))
    }

    /// The error with the column it is about.
    #[must_use]
    pub fn in_column(self, column: &str) -> Self {
        Self(format!("column `{column}`: {}", self.0))
    }

    pub(crate) fn wrong_type(expected: &str, found: &Value) -> Self {
        Self(format!("{found:?} is not {expected}"))
    }

    pub(crate) fn out_of_range(number: i64) -> Self {
        Self(format!("{number} is out of range"))
    }
}
