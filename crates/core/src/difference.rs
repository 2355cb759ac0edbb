//! Rows that differ between two tables, put in words; the same on every store.

use crate::{
    projection_store::RowDifference,
    read_model::TableSpec,
    value::{Row, Value},
};

impl RowDifference {
    /// Describes a live and a rebuilt row of one key as `column=value` texts; `None` when there
    /// is neither.
    ///
    /// ```
    /// use annals_core::{Column, ColumnType, RowDifference, TableSpec, Value};
    ///
    /// const COLUMNS: &[Column] = &[
    ///     Column { name: "owner", column_type: ColumnType::Text, nullable: false, key: true },
    ///     Column { name: "balance", column_type: ColumnType::Integer, nullable: false, key: false },
    /// ];
    /// let table = TableSpec { name: "user_balance", columns: COLUMNS };
    /// let live = vec![Value::Text("alice".into()), Value::Integer(5)];
    ///
    /// let gone = RowDifference::between(&table, Some(&live), None).unwrap();
    /// assert_eq!(gone.key, "owner=alice");
    /// assert_eq!(gone.live.as_deref(), Some("owner=alice, balance=5"));
    /// assert_eq!(gone.rebuilt, None);
    /// ```
    #[must_use]
    pub fn between(table: &TableSpec, live: Option<&Row>, rebuilt: Option<&Row>) -> Option<Self> {
        let key = table.key_of(live.or(rebuilt)?);
        let all = |row: &Row| readable(table.columns.iter().map(|column| column.name).zip(row));
        Some(Self {
            key: readable(table.key_columns().map(|column| column.name).zip(&key)),
            live: live.map(all),
            rebuilt: rebuilt.map(all),
        })
    }
}

fn readable<'a>(fields: impl Iterator<Item = (&'static str, &'a Value)>) -> String {
    let texts = fields.map(|(name, value)| match value {
        Value::Null => format!("{name}=NULL"),
        Value::Integer(number) => format!("{name}={number}"),
        Value::Real(number) => format!("{name}={number:?}"),
        Value::Text(text) => format!("{name}={text}"),
        Value::Blob(bytes) => format!("{name}=0x{}", hex(bytes)),
    });
    texts.collect::<Vec<String>>().join(", ")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
