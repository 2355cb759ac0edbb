//! The statements that depend on a read model's columns.
//!
//! Everything else stands in `sql/projections/`. Names come from [`TableSpec`]s, so they are
//! quoted; values are always bound.

use annals_core::{Column, ColumnType, TableSpec, Target};

/// A name as SQL, whatever characters it has.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn target_table(table: &TableSpec, target: Target) -> String {
    format!("main.{}", quoted(&table.name_of(target)))
}

fn list(columns: impl Iterator<Item = &'static Column>) -> String {
    let names: Vec<_> = columns.map(|column| quoted(column.name)).collect();
    names.join(", ")
}

/// `item` so many times, with commas between.
fn repeated(item: &str, count: usize) -> String {
    vec![item; count].join(", ")
}

fn placeholders(count: usize) -> String {
    format!("({})", repeated("?", count))
}

/// Makes the table: strict, so that no value changes its type on the way in.
pub(crate) fn create_table(table: &TableSpec, target: Target) -> String {
    let columns: Vec<_> = table.columns.iter().map(column).collect();
    format!(
        "CREATE TABLE {} ({}, PRIMARY KEY ({})) STRICT{}",
        target_table(table, target),
        columns.join(", "),
        list(table.key_columns()),
        if has_integer_key(table) {
            ""
        } else {
            ", WITHOUT ROWID"
        },
    )
}

/// One integer is what SQLite keys its own tables by; every other key is better off without.
fn has_integer_key(table: &TableSpec) -> bool {
    let mut keys = table.key_columns();
    let first = keys.next();
    keys.next().is_none() && first.is_some_and(|key| key.column_type == ColumnType::Integer)
}

fn column(column: &Column) -> String {
    let column_type = match column.column_type {
        ColumnType::Integer => "INTEGER",
        ColumnType::Real => "REAL",
        ColumnType::Text => "TEXT",
        ColumnType::Blob => "BLOB",
    };
    let null = if column.nullable && !column.key {
        ""
    } else {
        " NOT NULL"
    };
    format!("{} {column_type}{null}", quoted(column.name))
}

/// Drops the table of this bare name.
pub(crate) fn drop_table(name: &str) -> String {
    format!("DROP TABLE IF EXISTS main.{}", quoted(name))
}

pub(crate) fn rename_rebuilt(table: &TableSpec) -> String {
    format!(
        "ALTER TABLE {} RENAME TO {}",
        target_table(table, Target::Rebuild),
        quoted(table.name)
    )
}

pub(crate) fn count_rows(table: &TableSpec, target: Target) -> String {
    format!("SELECT count(*) FROM {}", target_table(table, target))
}

/// Writes so many whole rows, replacing those with the same keys.
pub(crate) fn upsert(table: &TableSpec, target: Target, rows: usize) -> String {
    let replaced: Vec<_> = table
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
        "INSERT INTO {} ({}) VALUES {} ON CONFLICT ({}) DO {on_conflict}",
        target_table(table, target),
        list(table.columns.iter()),
        repeated(&placeholders(table.columns.len()), rows),
        list(table.key_columns()),
    )
}

/// Deletes the rows with so many keys.
pub(crate) fn delete(table: &TableSpec, target: Target, keys: usize) -> String {
    format!(
        "DELETE FROM {} WHERE {}",
        target_table(table, target),
        key_is_one_of(table, keys)
    )
}

/// The rows with so many keys.
pub(crate) fn select_by_keys(table: &TableSpec, target: Target, keys: usize) -> String {
    format!(
        "SELECT {} FROM {} WHERE {}",
        list(table.columns.iter()),
        target_table(table, target),
        key_is_one_of(table, keys)
    )
}

fn key_is_one_of(table: &TableSpec, keys: usize) -> String {
    let width = table.key_columns().count();
    let names = list(table.key_columns());
    if width == 1 {
        format!("{names} IN {}", placeholders(keys))
    } else {
        let values = repeated(&placeholders(width), keys);
        format!("({names}) IN (VALUES {values})")
    }
}

/// Rows in the order of the key, after a key if `after` is set; the last bind is the limit.
pub(crate) fn scan(table: &TableSpec, target: Target, after: bool) -> String {
    let keys = list(table.key_columns());
    let start = if after {
        let width = table.key_columns().count();
        format!(" WHERE ({keys}) > {}", placeholders(width))
    } else {
        String::new()
    };
    format!(
        "SELECT {} FROM {}{start} ORDER BY {keys} LIMIT ? + 0",
        list(table.columns.iter()),
        target_table(table, target),
    )
}

/// The keys of the rows in which the two tables differ; `tail` goes on from there.
///
/// Joins on the key step through both tables; a set operation would hold one of them in memory.
pub(crate) fn differing_keys(table: &TableSpec, select: &str, tail: &str) -> String {
    let live = format!("{} AS live", target_table(table, Target::Live));
    let rebuilt = format!("{} AS rebuilt", target_table(table, Target::Rebuild));
    let keys = |side: &str| columns_of(side, table.key_columns());
    let [live_columns, rebuilt_columns] =
        ["live", "rebuilt"].map(|side| columns_of(side, table.columns.iter()));
    let same_key = format!("({}) = ({})", keys("live"), keys("rebuilt"));
    // A row that the other table lacks is all NULL, and so differs in its key at least.
    let differ = format!("({live_columns}) IS NOT ({rebuilt_columns})");
    let only_rebuilt = format!("({}) IS NOT ({})", keys("live"), keys("rebuilt"));
    format!(
        "SELECT {select} FROM (\
         SELECT {} FROM {live} LEFT JOIN {rebuilt} ON {same_key} WHERE {differ} \
         UNION ALL \
         SELECT {} FROM {rebuilt} LEFT JOIN {live} ON {same_key} WHERE {only_rebuilt}) {tail}",
        keys("live"),
        keys("rebuilt"),
    )
}

fn columns_of(side: &str, columns: impl Iterator<Item = &'static Column>) -> String {
    let names: Vec<_> = columns
        .map(|column| format!("{side}.{}", quoted(column.name)))
        .collect();
    names.join(", ")
}

/// How many keys differ.
pub(crate) fn count_differing(table: &TableSpec) -> String {
    differing_keys(table, "count(*)", "")
}

/// The first of the keys that differ; the bind is how many.
pub(crate) fn sample_differing(table: &TableSpec) -> String {
    let keys = list(table.key_columns());
    differing_keys(table, &keys, &format!("ORDER BY {keys} LIMIT ? + 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: TableSpec = TableSpec {
        name: "order",
        columns: &[
            Column {
                name: "a",
                column_type: ColumnType::Text,
                nullable: false,
                key: true,
            },
            Column {
                name: "b",
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

    #[test]
    fn a_table_is_strict_and_keyed_by_its_key_columns() {
        assert_eq!(
            create_table(&TABLE, Target::Rebuild),
            r#"CREATE TABLE main."order__rebuild" ("a" TEXT NOT NULL, "b" INTEGER NOT NULL, "note" BLOB, PRIMARY KEY ("a", "b")) STRICT, WITHOUT ROWID"#
        );
    }

    #[test]
    fn several_keys_are_compared_as_rows() {
        assert_eq!(
            delete(&TABLE, Target::Live, 2),
            r#"DELETE FROM main."order" WHERE ("a", "b") IN (VALUES (?, ?), (?, ?))"#
        );
        assert_eq!(
            scan(&TABLE, Target::Live, true),
            r#"SELECT "a", "b", "note" FROM main."order" WHERE ("a", "b") > (?, ?) ORDER BY "a", "b" LIMIT ? + 0"#
        );
    }
}
