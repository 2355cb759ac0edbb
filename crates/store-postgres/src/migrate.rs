//! Forward-only migrations, in a table of the store's own.

use annals_core::{Migrated, StoreError, StoreErrorKind};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::{
    error::failed,
    sql::{self, Sql},
};

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal;)+) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../migrations/", $name, ".sql")),
        }),+]
    };
}

/// Every migration, oldest first. One that has been released never changes.
const MIGRATIONS: &[Migration] = migrations! {
    1 "0001_log";
    2 "0002_projections";
    3 "0003_append_at_once";
};

const DOING: &str = "bring the store's tables up to date";

/// Brings the schema up to date, and tells from what; `begin` begins a write transaction. Where
/// there is no store yet, one is made if `create` says so.
///
/// A store that is up to date is only looked at, so that it can be opened where nothing can be
/// written, and by a role that may only use it.
///
/// # Errors
/// [`StoreErrorKind::NewerSchema`] when a newer release has been here, and
/// [`StoreErrorKind::NotFound`] when there is no store and none is to be made.
pub(crate) async fn migrate(
    conn: &mut PgConnection,
    sql: &Sql,
    begin: &str,
    create: bool,
) -> Result<Migrated, StoreError> {
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    // In a transaction, because a pooler may give each statement another server otherwise.
    run(conn, begin).await?;
    let mut newest = found(conn, sql, known).await?;
    if newest == 0 && !create {
        return Err(missing(sql));
    }
    if newest < known {
        sql.query(sql::LOCK_MIGRATIONS)
            .execute(&mut *conn)
            .await
            .map_err(failed(DOING))?;
        // Somebody else may have done it all before the lock was free.
        newest = found(conn, sql, known).await?;
        if newest < known {
            run_missing(conn, sql).await?;
        }
    }
    run(conn, "COMMIT").await?;
    let count = |version| u32::try_from(version).unwrap_or_default();
    Ok(Migrated {
        from: count(newest),
        to: count(known),
    })
}

fn missing(sql: &Sql) -> StoreError {
    let schema = sql.schema().name();
    let problem = format!("schema `{schema}` holds no store, and none is to be made");
    StoreError::new(StoreErrorKind::NotFound, "open the store").caused_by(problem)
}

/// The newest migration that has run, 0 when none has; one beyond `known` is refused.
async fn found(conn: &mut PgConnection, sql: &Sql, known: i64) -> Result<i64, StoreError> {
    let (_, listed) = existing(conn, sql).await?;
    if !listed {
        return Ok(0);
    }
    let newest = newest(conn, sql).await?;
    if newest > known {
        return Err(
            StoreError::new(StoreErrorKind::NewerSchema, DOING).caused_by(format!(
                "schema `{}` has migration {newest}, but this program knows migrations up to \
                 {known}: a newer release wrote it, so run that one",
                sql.schema().name()
            )),
        );
    }
    Ok(newest)
}

async fn run_missing(conn: &mut PgConnection, sql: &Sql) -> Result<(), StoreError> {
    let (schema_exists, _) = existing(conn, sql).await?;
    if !schema_exists {
        run(conn, &sql.text(sql::CREATE_SCHEMA)).await?;
    }
    run(conn, &sql.text(sql::CREATE_MIGRATIONS)).await?;
    let newest = newest(conn, sql).await?;
    if newest == 0 {
        refuse_strangers(conn, sql).await?;
    }
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version > newest)
    {
        sqlx::raw_sql(AssertSqlSafe(sql.text(migration.sql)))
            .execute(&mut *conn)
            .await
            .map_err(failed(format!("run migration {}", migration.name)))?;
        sql.query(sql::RECORD_MIGRATION)
            .bind(migration.version)
            .bind(migration.name)
            .execute(&mut *conn)
            .await
            .map_err(failed(format!("record migration {}", migration.name)))?;
        tracing::info!(migration = migration.name, "migration has run");
    }
    Ok(())
}

/// Whether the schema is there, and the list of migrations.
async fn existing(conn: &mut PgConnection, sql: &Sql) -> Result<(bool, bool), StoreError> {
    let row = sql
        .query(sql::STORE_EXISTS)
        .fetch_one(conn)
        .await
        .map_err(failed(DOING))?;
    let schema = row.try_get(0).map_err(failed(DOING))?;
    let listed = row.try_get(1).map_err(failed(DOING))?;
    Ok((schema, listed))
}

async fn newest(conn: &mut PgConnection, sql: &Sql) -> Result<i64, StoreError> {
    let row = sql
        .query(sql::NEWEST_MIGRATION)
        .fetch_one(conn)
        .await
        .map_err(failed(DOING))?;
    row.try_get(0).map_err(failed(DOING))
}

/// A schema of another application may well have a table of one of our names: it stays as it is.
async fn refuse_strangers(conn: &mut PgConnection, sql: &Sql) -> Result<(), StoreError> {
    let names: Option<String> = sql
        .query(sql::TAKEN_NAMES)
        .fetch_one(conn)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed(DOING))?;
    names.map_or(Ok(()), |names| {
        let schema = sql.schema().name();
        let problem = format!(
            "schema `{schema}` belongs to another application: it already has {names}; name \
             another schema with `?schema=NAME`"
        );
        Err(StoreError::new(StoreErrorKind::Invalid, DOING).caused_by(problem))
    })
}

async fn run(conn: &mut PgConnection, text: &str) -> Result<(), StoreError> {
    sqlx::raw_sql(AssertSqlSafe(text))
        .execute(conn)
        .await
        .map(drop)
        .map_err(failed(DOING))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_holes_and_named_by_their_number() {
        for (expected, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, expected);
            assert!(migration.name.starts_with(&format!("{expected:04}_")));
        }
    }
}
