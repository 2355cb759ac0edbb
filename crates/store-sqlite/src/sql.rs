//! The statements, and how their variable parts are put together.

use std::fmt::Write as _;

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
    INSERT_APPENDS = "insert_appends";
    INSERT_EVENTS = "insert_events";
    INSERT_TAGS = "insert_tags";
    NEWEST_MIGRATION = "newest_migration";
    PAGE = "page";
    PAYLOAD = "payload";
    RECORD_MIGRATION = "record_migration";
    SAVE_SNAPSHOT = "save_snapshot";
    SNAPSHOT = "snapshot";
    STREAM_VERSION = "stream_version";
    TAKEN_NAMES = "taken_names";
    VERSION_AT = "version_at";
}

/// A statement that writes `rows` rows of `width` binds each.
pub(crate) fn rows_of(statement: &str, width: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(", "));
    statement.replace("/*rows*/", &vec![row; rows].join(", "))
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
