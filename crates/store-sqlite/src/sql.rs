//! The statements, and how their variable parts are put together.

use std::{
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

macro_rules! statements {
    ($($name:ident = $file:literal;)+) => {
        $(pub(crate) const $name: &str = include_str!(concat!("../sql/", $file, ".sql"));)+
    };
}

statements! {
    APPENDS = "appends";
    CHECK_WRITABLE = "check_writable";
    CREATE_MIGRATIONS = "create_migrations";
    EVENT_ID = "event_id";
    FIND_APPENDS = "find_appends";
    FIND_EVENTS = "find_events";
    FIRST_MATCH = "first_match";
    HEAD = "head";
    HEADS = "heads";
    NEWEST_MIGRATION = "newest_migration";
    PAGE = "page";
    PAYLOAD = "payload";
    RECORD_MIGRATION = "record_migration";
    SAVE_SNAPSHOT = "save_snapshot";
    SNAPSHOT = "snapshot";
    STREAM_VERSION = "stream_version";
    TAG_MISMATCHES = "tag_mismatches";
    TAKEN_NAMES = "taken_names";
    VERSION_AT = "version_at";
}

/// Begins a write transaction and reads the heads of its streams.
pub(crate) const BEGIN_WITH_HEADS: &str =
    concat!("BEGIN IMMEDIATE;\n", include_str!("../sql/heads.sql"));

pub(crate) static INSERT_APPENDS: Statement =
    statement(include_str!("../sql/insert_appends.sql"), 4);
pub(crate) static INSERT_EVENTS: Statement =
    statement(include_str!("../sql/insert_events.sql"), 12);
pub(crate) static INSERT_TAGS: Statement = statement(include_str!("../sql/insert_tags.sql"), 1);

/// How many rows one statement writes at most; measured: more gains nothing.
pub(crate) const MAX_ROWS: usize = 64;

/// A statement that writes several rows. Its text for each number of rows is made once.
pub(crate) struct Statement {
    sql: &'static str,
    width: usize,
    texts: [OnceLock<Arc<str>>; MAX_ROWS + 1],
    committing: [OnceLock<Arc<str>>; MAX_ROWS + 1],
}

const fn statement(sql: &'static str, width: usize) -> Statement {
    Statement {
        sql,
        width,
        texts: [const { OnceLock::new() }; MAX_ROWS + 1],
        committing: [const { OnceLock::new() }; MAX_ROWS + 1],
    }
}

impl Statement {
    /// How many binds a row has.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The text that writes so many rows, and then ends the transaction where asked to: what
    /// stands in one text takes one trip to the connection's thread.
    pub(crate) fn text(&self, rows: usize, commit: bool) -> Arc<str> {
        let texts = if commit {
            &self.committing
        } else {
            &self.texts
        };
        let make = || self.make(rows, commit).into();
        match texts.get(rows) {
            Some(text) => Arc::clone(text.get_or_init(make)),
            None => make(),
        }
    }

    fn make(&self, rows: usize, commit: bool) -> String {
        let row = format!("({})", vec!["?"; self.width].join(", "));
        let end = if commit { ";\nCOMMIT" } else { "" };
        let rows = vec![row; rows].join(", ");
        // The header of the file speaks of the place too.
        match self.sql.rsplit_once("/*rows*/") {
            Some((before, after)) => format!("{before}{rows}{after}{end}"),
            None => format!("{}{end}", self.sql),
        }
    }
}

/// A JSON array of ids as hex text, which statements take apart with `json_each`.
pub(crate) fn hex_array<'a>(ids: impl IntoIterator<Item = &'a uuid::Uuid>) -> String {
    let mut json = String::from("[");
    for id in ids {
        let comma = if json.len() > 1 { "," } else { "" };
        // Writing to a string never fails.
        write!(json, "{comma}\"{}\"", id.simple()).ok();
    }
    json.push(']');
    json
}

/// A value to bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    Integer(i64),
    Text(String),
}

/// A `WHERE` clause in the making, with its binds.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) sql: String,
    pub(crate) binds: Vec<Bind>,
}

impl Filter {
    /// Adds SQL in which every `{}` stands for the next of `binds`.
    pub(crate) fn push(&mut self, sql: &str, binds: impl IntoIterator<Item = Bind>) {
        let mut binds = binds.into_iter();
        for (index, part) in sql.split("{}").enumerate() {
            if index > 0 {
                self.binds.extend(binds.next());
                write!(self.sql, "?{}", self.binds.len()).ok();
            }
            self.sql.push_str(part);
        }
    }
}

/// A statement whose SQL was put together from this crate's own parts, with its binds.
pub(crate) fn bound(
    sql: String,
    binds: Vec<Bind>,
) -> sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments> {
    let query = sqlx::query(sqlx::AssertSqlSafe(sql));
    binds.into_iter().fold(query, |query, bind| match bind {
        Bind::Integer(number) => query.bind(number),
        Bind::Text(text) => query.bind(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_its_rows_and_ends_the_transaction_where_asked_to() {
        for rows in [1, 2, MAX_ROWS, MAX_ROWS + 1] {
            let text = INSERT_APPENDS.text(rows, false);
            assert_eq!(text.matches("(?, ?, ?, ?)").count(), rows);
            assert_eq!(*INSERT_APPENDS.text(rows, true), format!("{text};\nCOMMIT"));
        }
        assert_ne!(INSERT_TAGS.text(1, false), INSERT_TAGS.text(1, true));
    }
}
