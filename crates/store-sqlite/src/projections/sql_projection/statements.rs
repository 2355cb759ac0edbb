//! The statements that depend on a SQL projection's tables.

use crate::projections::statements::quoted;

/// How the shadow file is called on the connection that swaps it in.
pub(super) const SHADOW: &str = "annals_shadow_file";

fn list(columns: &[String]) -> String {
    let quoted: Vec<_> = columns.iter().map(|column| quoted(column)).collect();
    quoted.join(", ")
}

/// Copies a rebuilt table into the store.
pub(super) fn copy_table(table: &str, columns: &[String]) -> String {
    let (table, columns) = (quoted(table), list(columns));
    format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM {SHADOW}.{table}")
}

/// How a live table's rows are called that were kept; not like the table, since SQLite finds
/// temporary tables first.
pub(super) fn kept(table: &str) -> String {
    format!("annals_kept_{table}")
}

/// Keeps a live table's rows, to be compared with the rebuilt ones; `columns` are the stored ones,
/// as a generated column would become a stored one.
pub(super) fn keep_table(table: &str, columns: &[String]) -> String {
    let (kept, table) = (quoted(&kept(table)), quoted(table));
    let columns = list(columns);
    format!("CREATE TEMP TABLE {kept} AS SELECT {columns} FROM main.{table}")
}

pub(super) fn count_rows(table: &str) -> String {
    format!("SELECT count(*) FROM main.{}", quoted(table))
}

/// The rows of a table that differ from the kept ones: key, live and rebuilt row as texts.
///
/// A table without `keys` may have a row several times, and so may differ in how often. The bind
/// is how many are wanted; each comes with how many there are.
pub(super) fn differences(table: &str, columns: &[String], keys: &[String]) -> String {
    let (kept, new) = (
        format!("temp.{}", quoted(&kept(table))),
        format!("main.{}", quoted(table)),
    );
    let (key, row, times) = match keys {
        [] => {
            let times = "CASE annals_times WHEN 1 THEN '' \
                         ELSE ' (' || annals_times || ' times)' END";
            (texts(columns), texts(columns), format!(" || {times}"))
        }
        keys => (texts(keys), texts(columns), String::new()),
    };
    // Bytes are compared, whatever a column is sorted by.
    let compared: Vec<_> = columns
        .iter()
        .map(|column| format!("{0} COLLATE BINARY AS {0}", quoted(column)))
        .collect();
    let compared = compared.join(", ");
    let rows = |table: &str| match keys {
        [] => {
            let binary: Vec<_> = columns
                .iter()
                .map(|column| format!("{} COLLATE BINARY", quoted(column)))
                .collect();
            let binary = binary.join(", ");
            format!("SELECT {compared}, count(*) AS annals_times FROM {table} GROUP BY {binary}")
        }
        _ => format!("SELECT {compared} FROM {table}"),
    };
    let only_in = |one: &str, other: &str, live: &str, rebuilt: &str| {
        format!(
            "SELECT {key} AS key, {live} AS live, {rebuilt} AS rebuilt FROM ({} EXCEPT {})",
            rows(one),
            rows(other)
        )
    };
    let row = format!("{row}{times}");
    format!(
        "SELECT key, max(live), max(rebuilt), count(*) OVER () FROM ({} UNION ALL {}) \
         GROUP BY key ORDER BY key LIMIT ? + 0",
        only_in(&kept, &new, &row, "NULL"),
        only_in(&new, &kept, "NULL", &row),
    )
}

/// An expression for columns with their values: `owner='alice', balance=5`.
fn texts(columns: &[String]) -> String {
    let texts: Vec<_> = columns
        .iter()
        .map(|column| {
            let label = format!("{column}=").replace('\'', "''");
            format!("'{label}' || quote({})", quoted(column))
        })
        .collect();
    texts.join(" || ', ' || ")
}
