//! The statements that depend on a read model's columns.
//!
//! Everything else stands in `sql/projections/`. Names come from [`TableSpec`]s, so they are
//! quoted; values are always bound.

use annals_core::{Column, ColumnType, TableSpec, Target};
use sqlx::{AssertSqlSafe, Postgres, postgres::PgArguments, query::Query};

/// One of these statements with its binds.
pub(crate) fn query(sql: String, binds: PgArguments) -> Query<'static, Postgres, PgArguments> {
    sqlx::query_with(AssertSqlSafe(sql), binds)
}

/// A name as SQL, whatever characters it has.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name with its schema.
pub(crate) fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

fn list(columns: impl Iterator<Item = &'static Column>) -> String {
    let names: Vec<_> = columns.map(|column| quoted(column.name)).collect();
    names.join(", ")
}

fn columns_of(side: &str, columns: impl Iterator<Item = &'static Column>) -> String {
    let names: Vec<_> = columns
        .map(|column| format!("{side}.{}", quoted(column.name)))
        .collect();
    names.join(", ")
}

/// The type of a column; text sorts by its bytes, as on every other store.
fn sql_type(column: &Column) -> &'static str {
    match column.column_type {
        ColumnType::Integer => "bigint",
        ColumnType::Real => "double precision",
        ColumnType::Text => "text COLLATE \"C\"",
        ColumnType::Blob => "bytea",
    }
}

/// How the catalog describes the type of a column.
pub(crate) fn catalog_type(column: &Column) -> &'static str {
    match column.column_type {
        ColumnType::Integer => "bigint",
        ColumnType::Real => "double precision",
        ColumnType::Text => "text",
        ColumnType::Blob => "bytea",
    }
}

fn definition(column: &Column) -> String {
    let null = if column.nullable && !column.key {
        ""
    } else {
        " NOT NULL"
    };
    format!("{} {}{null}", quoted(column.name), sql_type(column))
}

/// The binds of one array a column: `$1::text[], $2::bigint[]`.
fn arrays(columns: impl Iterator<Item = &'static Column>) -> String {
    let arrays: Vec<_> = (1..)
        .zip(columns)
        .map(|(number, column)| format!("${number}::{}[]", catalog_type(column)))
        .collect();
    arrays.join(", ")
}

/// One of a read model's two tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    pub(crate) schema: &'a str,
    pub(crate) spec: &'a TableSpec,
    pub(crate) target: Target,
}

impl Table<'_> {
    fn qualified(&self) -> String {
        qualified(self.schema, &self.spec.name_of(self.target))
    }

    fn is_key(&self) -> String {
        let names = list(self.spec.key_columns());
        let keys = arrays(self.spec.key_columns());
        if self.spec.key_columns().count() == 1 {
            format!("{names} = ANY ({keys})")
        } else {
            format!("({names}) IN (SELECT * FROM unnest({keys}))")
        }
    }

    pub(crate) fn create(&self) -> String {
        let columns: Vec<_> = self.spec.columns.iter().map(definition).collect();
        format!(
            "CREATE TABLE {} ({}, PRIMARY KEY ({}))",
            self.qualified(),
            columns.join(", "),
            list(self.spec.key_columns()),
        )
    }

    /// Writes whole rows, replacing those with the same keys; the binds are one array a column.
    pub(crate) fn upsert(&self) -> String {
        let replaced: Vec<_> = self
            .spec
            .columns
            .iter()
            .filter(|column| !column.key)
            .map(|column| {
                let name = quoted(column.name);
                format!("{name} = excluded.{name}")
            })
            .collect();
        let on_conflict = if replaced.is_empty() {
            "NOTHING".to_owned()
        } else {
            format!("UPDATE SET {}", replaced.join(", "))
        };
        format!(
            "INSERT INTO {} ({}) SELECT * FROM unnest({}) ON CONFLICT ({}) DO {on_conflict}",
            self.qualified(),
            list(self.spec.columns.iter()),
            arrays(self.spec.columns.iter()),
            list(self.spec.key_columns()),
        )
    }

    /// Takes new rows in, as [`super::copy`] writes them.
    pub(crate) fn copy(&self) -> String {
        let columns = list(self.spec.columns.iter());
        format!(
            "COPY {} ({columns}) FROM STDIN (FORMAT binary)",
            self.qualified()
        )
    }

    /// Takes the primary key away, which has this name.
    pub(crate) fn drop_key(&self, name: &str) -> String {
        let table = self.qualified();
        format!("ALTER TABLE {table} DROP CONSTRAINT {}", quoted(name))
    }

    /// Gives the primary key back.
    pub(crate) fn add_key(&self, name: &str) -> String {
        format!(
            "ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY ({})",
            self.qualified(),
            quoted(name),
            list(self.spec.key_columns()),
        )
    }

    pub(crate) fn is_empty(&self) -> String {
        format!("SELECT NOT EXISTS (SELECT FROM {})", self.qualified())
    }

    /// Deletes rows; the binds are one array a key column.
    pub(crate) fn delete(&self) -> String {
        format!("DELETE FROM {} WHERE {}", self.qualified(), self.is_key())
    }

    /// The rows with these keys; the binds are one array a key column.
    pub(crate) fn select_by_keys(&self) -> String {
        format!(
            "SELECT {} FROM {} WHERE {}",
            list(self.spec.columns.iter()),
            self.qualified(),
            self.is_key()
        )
    }

    /// Rows in the order of the key, after a key if `after` is set; the last bind is the limit.
    pub(crate) fn scan(&self, after: bool) -> String {
        let keys = list(self.spec.key_columns());
        let width = if after {
            self.spec.key_columns().count()
        } else {
            0
        };
        let start = if after {
            let binds: Vec<_> = (1..=width).map(|number| format!("${number}")).collect();
            format!(" WHERE ({keys}) > ({})", binds.join(", "))
        } else {
            String::new()
        };
        format!(
            "SELECT {} FROM {}{start} ORDER BY {keys} LIMIT ${}",
            list(self.spec.columns.iter()),
            self.qualified(),
            width + 1,
        )
    }

    pub(crate) fn count(&self) -> String {
        format!("SELECT count(*) FROM {}", self.qualified())
    }
}

/// The rows in which a read model's two tables differ: how many there are, the live row's columns
/// and the rebuilt row's. A row that is missing is all NULL. The bind is how many are wanted.
pub(crate) fn differences(schema: &str, spec: &TableSpec) -> String {
    let [live, rebuilt] = [Target::Live, Target::Rebuild].map(|target| {
        Table {
            schema,
            spec,
            target,
        }
        .qualified()
    });
    let all = |side: &str| columns_of(side, spec.columns.iter());
    let keys = |side: &str| columns_of(side, spec.key_columns());
    let same: Vec<_> = spec
        .key_columns()
        .map(|key| format!("live.{0} = rebuilt.{0}", quoted(key.name)))
        .collect();
    format!(
        "SELECT count(*) OVER (), {}, {} FROM {live} AS live FULL JOIN {rebuilt} AS rebuilt ON {} \
         WHERE ROW({}) IS DISTINCT FROM ROW({}) ORDER BY {}, {} LIMIT $1",
        all("live"),
        all("rebuilt"),
        same.join(" AND "),
        all("live"),
        all("rebuilt"),
        keys("live"),
        keys("rebuilt"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: TableSpec = TableSpec {
        name: "order",
        columns: &[
            Column {
                name: "a",
                column_type: ColumnType::Text,
                nullable: false,
                key: true,
            },
            Column {
                name: "b\"",
                column_type: ColumnType::Integer,
                nullable: false,
                key: true,
            },
            Column {
                name: "note",
                column_type: ColumnType::Blob,
                nullable: true,
                key: false,
            },
        ],
    };

    fn table(target: Target) -> Table<'static> {
        Table {
            schema: "bank",
            spec: &SPEC,
            target,
        }
    }

    #[test]
    fn text_sorts_by_its_bytes_and_the_key_is_the_primary_key() {
        assert_eq!(
            table(Target::Rebuild).create(),
            r#"CREATE TABLE "bank"."order__rebuild" ("a" text COLLATE "C" NOT NULL, "b""" bigint NOT NULL, "note" bytea, PRIMARY KEY ("a", "b"""))"#
        );
    }

    #[test]
    fn several_keys_are_compared_as_rows() {
        assert_eq!(
            table(Target::Live).delete(),
            r#"DELETE FROM "bank"."order" WHERE ("a", "b""") IN (SELECT * FROM unnest($1::text[], $2::bigint[]))"#
        );
        assert_eq!(
            table(Target::Live).scan(true),
            r#"SELECT "a", "b""", "note" FROM "bank"."order" WHERE ("a", "b""") > ($1, $2) ORDER BY "a", "b""" LIMIT $3"#
        );
    }
}
