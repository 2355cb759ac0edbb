//! The statements, and how they are fitted to a schema.
//!
//! The files in `sql/` and `migrations/` are written for the schema `annals`, so that they run in
//! `psql` as they stand. For another schema the word `annals` is replaced wherever it stands
//! alone, as in `annals.events` or `'annals.events'::regclass`; in `annals_projections` it does not.
//! It is replaced in double quotes, but for `'annals'`, which is the name as a value.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, PoisonError, RwLock},
};

use annals_core::{StoreError, StoreErrorKind};
use sqlx::{
    AssertSqlSafe, FromRow, Postgres,
    postgres::{PgArguments, PgRow},
    query::{Query, QueryScalar},
};

macro_rules! statements {
    ($($name:ident = $file:literal;)+) => {
        $(pub(crate) const $name: &str = include_str!(concat!("../sql/", $file, ".sql"));)+
    };
}

statements! {
    APPEND_AT_ONCE = "append_at_once";
    CREATE_MIGRATIONS = "create_migrations";
    CREATE_SCHEMA = "create_schema";
    FIND_APPENDS = "find_appends";
    FIND_EVENTS = "find_events";
    FIRST_MATCHES = "first_matches";
    HEAD = "head";
    HEADS = "heads";
    INSERT = "insert";
    IS_COMMITTED = "is_committed";
    LIST_APPENDS = "list_appends";
    LOCK_LOG = "lock_log";
    LOCK_MIGRATIONS = "lock_migrations";
    LOOK_AT_HEAD = "look_at_head";
    NEWEST_MIGRATION = "newest_migration";
    PAGE = "page";
    PAYLOAD = "payload";
    RECORD_MIGRATION = "record_migration";
    SAVE_SNAPSHOT = "save_snapshot";
    SNAPSHOT = "snapshot";
    STORE_EXISTS = "store_exists";
    STREAM_VERSION = "stream_version";
    TABLE_SIZES = "table_sizes";
    TAG_MISMATCHES = "tag_mismatches";
    TAKEN_NAMES = "taken_names";
    VERSIONS_AT = "versions_at";
}

/// The schema that the files are written for.
const WRITTEN_FOR: &str = "annals";
/// PostgreSQL cuts longer names off.
const MAX_SCHEMA_BYTES: usize = 63;

/// The name of a schema, in which nothing needs escaping wherever it is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schema(Arc<str>);

impl Schema {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is not 1 to 63 lower-case letters, digits and `_`, or is a name of the system.
    pub(crate) fn new(name: &str) -> Result<Self, StoreError> {
        let first = |c: char| c.is_ascii_lowercase() || c == '_';
        let rest = |c: char| first(c) || c.is_ascii_digit();
        let fits = name.starts_with(first)
            && name.chars().all(rest)
            && name.len() <= MAX_SCHEMA_BYTES
            && !name.starts_with("pg_")
            && name != "information_schema";
        if fits {
            return Ok(Self(name.into()));
        }
        let shown: String = name.chars().take(MAX_SCHEMA_BYTES + 1).collect();
        let error = StoreError::new(StoreErrorKind::Invalid, "open the store");
        Err(error.caused_by(format!(
            "{shown:?} can't be its schema: write 1 to {MAX_SCHEMA_BYTES} lower-case letters, \
             digits and `_`, not starting with a digit or `pg_`"
        )))
    }

    /// The name as it is.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

/// A store's statements: cheap to clone, shared by everybody who works on it.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    schema: Schema,
    fitted: Arc<RwLock<HashMap<&'static str, Arc<str>>>>,
}

impl Sql {
    pub(crate) fn new(schema: Schema) -> Self {
        Self {
            schema,
            fitted: Arc::default(),
        }
    }

    /// The schema that statements are fitted to.
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// One of this crate's statements, fitted to the schema once and then remembered.
    pub(crate) fn text(&self, statement: &'static str) -> Arc<str> {
        let known = self.fitted.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = known.get(statement) {
            return Arc::clone(text);
        }
        drop(known);
        let text: Arc<str> = fit(statement, &self.schema).into();
        let mut known = self.fitted.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(statement, Arc::clone(&text));
        text
    }

    /// One of this crate's statements, ready for its binds.
    pub(crate) fn query(&self, statement: &'static str) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(self.text(statement)))
    }

    /// Like [`query`](Self::query), for the first column of the first row alone.
    pub(crate) fn query_scalar<T>(
        &self,
        statement: &'static str,
    ) -> QueryScalar<'static, Postgres, T, PgArguments>
    where
        (T,): for<'r> FromRow<'r, PgRow>,
    {
        sqlx::query_scalar(AssertSqlSafe(self.text(statement)))
    }

    /// A statement put together from this crate's own parts, whose names are checked, fitted to
    /// the schema and ready for its binds.
    pub(crate) fn composed(&self, statement: &str) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(fit(statement, &self.schema)))
    }
}

/// Replaces the word `annals` by the schema, and leaves lines of comment out.
fn fit(statement: &str, schema: &Schema) -> String {
    let mut fitted = String::with_capacity(statement.len());
    let lines = statement
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"));
    for line in lines {
        if !fitted.is_empty() {
            fitted.push('\n');
        }
        let mut rest = line;
        while let Some(at) = rest.find(WRITTEN_FOR) {
            let (before, from) = rest.split_at(at);
            let after = from.get(WRITTEN_FOR.len()..).unwrap_or_default();
            let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            fitted.push_str(before);
            // Writing to a string never fails.
            if before.ends_with(in_word) || after.starts_with(in_word) {
                fitted.push_str(WRITTEN_FOR);
            } else if before.ends_with('\'') && after.starts_with('\'') {
                fitted.push_str(schema.name());
            } else {
                // Quoted, as the name may be a word of SQL.
                write!(fitted, "\"{}\"", schema.name()).ok();
            }
            rest = after;
        }
        fitted.push_str(rest);
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_fitted_to_the_schema() {
        let schema = Schema::new("user").unwrap();
        let cases = [
            (
                "SELECT 1 FROM annals.events",
                "SELECT 1 FROM \"user\".events",
            ),
            ("'annals.events'::regclass", "'\"user\".events'::regclass"),
            ("annals.annals_parked", "\"user\".annals_parked"),
            ("CREATE SCHEMA annals", "CREATE SCHEMA \"user\""),
            ("nspname = 'annals'", "nspname = 'user'"),
            ("-- about annals\nSELECT 1", "SELECT 1"),
            ("xannals.y annals$z", "xannals.y annals$z"),
        ];
        for (statement, expected) in cases {
            assert_eq!(fit(statement, &schema), expected);
        }
    }

    #[test]
    fn only_names_without_quotes_are_schemas() {
        for name in ["annals", "_x9", &"s".repeat(63)] {
            assert!(Schema::new(name).is_ok(), "{name}");
        }
        let refused = [
            "",
            "Annals",
            "9a",
            "pg_temp",
            "a\"b",
            "a b",
            "a;",
            "é",
            "information_schema",
            &"s".repeat(64),
        ];
        for name in refused {
            let error = Schema::new(name).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Invalid, "{name}");
        }
    }
}
