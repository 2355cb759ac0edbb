//! The moment in which rebuilt tables take the live ones' names.
//!
//! It needs the live tables for itself, as every `ALTER TABLE` does. A statement that waits for
//! a table makes all later ones wait behind it, so each attempt waits for a moment only, and
//! readers pass between the attempts. What people have put on a live table goes over to the new
//! one: indexes, constraints, triggers, grants, comments, row level security being on, its owner,
//! and the views that read it, which stay what they are and read the new table. What can't go over
//! stops the swap.

use std::time::Duration;

use annals_core::{StoreError, StoreErrorKind};
use sqlx::Row as _;
use tokio::time::{Instant, sleep};

use super::{
    statements::{qualified, quoted},
    tables,
};
use crate::{
    error::{failed, kind_of},
    transaction::Session,
};

/// How long one attempt waits for readers, and makes later readers wait.
const ATTEMPT: &str = "SET LOCAL lock_timeout = 200";
/// How long readers get between two attempts.
const PAUSE: Duration = Duration::from_millis(150);
/// When it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A table with its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) schema: String,
    pub(crate) table: String,
}

impl Named {
    pub(crate) fn new(schema: &str, table: impl Into<String>) -> Self {
        Self {
            schema: schema.to_owned(),
            table: table.into(),
        }
    }

    pub(crate) fn sql(&self) -> String {
        qualified(&self.schema, &self.table)
    }
}

/// A rebuilt table and the live one it replaces, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) live: Option<Named>,
    pub(crate) rebuilt: Named,
    /// How the rebuilt table is called from now on.
    pub(crate) new: Named,
}

/// Something that people have put on a live table.
#[derive(Clone, Debug)]
struct Extra {
    stage: i32,
    name: String,
    /// Puts it on the new table.
    statement: String,
}

/// An index that was made on a rebuilt table, under a name of its own for the time being.
#[derive(Clone, Debug)]
struct Index {
    schema: String,
    temporary: String,
    name: String,
}

/// Exchanges the tables, once the caller commits the transaction, which may then no longer touch
/// them. `aside` is a schema for the old tables where they can't stay beside the new ones.
///
/// # Errors
/// [`StoreErrorKind::Busy`] when somebody holds a live table for too long, and
/// [`StoreErrorKind::Invalid`] when something on it can't go over to the new one.
pub(crate) async fn exchange(
    session: &mut Session<'_>,
    projection: &str,
    pairs: &[Pair],
    aside: Option<&str>,
) -> Result<(), StoreError> {
    let mut indexes = Vec::new();
    for pair in pairs {
        tables::execute(session, format!("ANALYZE {}", pair.rebuilt.sql())).await?;
        for extra in extras(session, pair).await? {
            match extra.stage {
                0 => return Err(stays(projection, pair, &extra)),
                1 => indexes.push(make_index(session, pair, &extra, indexes.len()).await?),
                _ => {}
            }
        }
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        tables::execute(session, format!("SAVEPOINT exchange; {ATTEMPT}")).await?;
        match attempt(session, projection, pairs, &indexes, aside).await {
            Ok(()) => return tables::execute(session, "RELEASE exchange".to_owned()).await,
            Err(error) if error.kind() != StoreErrorKind::Busy => return Err(error),
            Err(error) => {
                let undo = "ROLLBACK TO exchange; RELEASE exchange".to_owned();
                tables::execute(session, undo).await?;
                if Instant::now() >= deadline {
                    return Err(held(session, projection, pairs, error).await);
                }
            }
        }
        sleep(PAUSE).await;
    }
}

async fn attempt(
    session: &mut Session<'_>,
    projection: &str,
    pairs: &[Pair],
    indexes: &[Index],
    aside: Option<&str>,
) -> Result<(), StoreError> {
    let mut all = Vec::new();
    for pair in pairs {
        if let Some(live) = &pair.live {
            let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", live.sql());
            tables::execute(session, lock).await?;
        }
        // Again, since they may have changed until now.
        let extras = extras(session, pair).await?;
        if let Some(extra) = extras.iter().find(|extra| extra.stage == 0) {
            return Err(stays(projection, pair, extra));
        }
        all.push(extras);
    }
    let mut old = Vec::new();
    for live in pairs.iter().filter_map(|pair| pair.live.as_ref()) {
        old.push(move_aside(session, live, aside).await?);
    }
    for pair in pairs {
        give_name(session, &pair.rebuilt, &pair.new).await?;
    }
    carry_over(session, pairs, &all, 2).await?;
    if !old.is_empty() {
        drop_old(session, &old).await?;
    }
    for pair in pairs {
        rename_key(session, pair).await?;
    }
    for index in indexes {
        let from = qualified(&index.schema, &index.temporary);
        let rename = format!("ALTER INDEX {from} RENAME TO {}", quoted(&index.name));
        tables::execute(session, rename).await?;
    }
    for stage in [3, 4] {
        carry_over(session, pairs, &all, stage).await?;
    }
    Ok(())
}

async fn extras(session: &mut Session<'_>, pair: &Pair) -> Result<Vec<Extra>, StoreError> {
    let doing = || failed("read what is on a live table");
    let Some(live) = &pair.live else {
        return Ok(Vec::new());
    };
    let rows = session
        .sql
        .query(include_str!("../../sql/projections/select_extras.sql"))
        .bind(&live.schema)
        .bind(&live.table)
        .bind(&pair.rebuilt.schema)
        .bind(&pair.rebuilt.table)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(doing())?;
    rows.iter()
        .map(|row| {
            Ok(Extra {
                stage: row.try_get(0).map_err(doing())?,
                name: row.try_get(1).map_err(doing())?,
                statement: row.try_get(2).map_err(doing())?,
            })
        })
        .collect()
}

/// Makes an index while nobody has to wait for it.
async fn make_index(
    session: &mut Session<'_>,
    pair: &Pair,
    extra: &Extra,
    number: usize,
) -> Result<Index, StoreError> {
    let temporary = format!("annals_rebuilt_index_{number}");
    let statement = extra
        .statement
        .replacen("%1$s", &quoted(&temporary), 1)
        .replacen("%2$s", &pair.rebuilt.sql(), 1)
        .replace("%%", "%");
    put_on(session, &extra.name, pair, statement).await?;
    Ok(Index {
        schema: pair.new.schema.clone(),
        temporary,
        name: extra.name.clone(),
    })
}

async fn carry_over(
    session: &mut Session<'_>,
    pairs: &[Pair],
    extras: &[Vec<Extra>],
    stage: i32,
) -> Result<(), StoreError> {
    for (pair, extras) in pairs.iter().zip(extras) {
        for extra in extras.iter().filter(|extra| extra.stage == stage) {
            put_on(session, &extra.name, pair, extra.statement.clone()).await?;
        }
    }
    Ok(())
}

async fn put_on(
    session: &mut Session<'_>,
    name: &str,
    pair: &Pair,
    statement: String,
) -> Result<(), StoreError> {
    let done = tables::run(session, statement).await;
    done.map_err(|error| {
        let table = &pair.new.table;
        let doing = format!(
            "put `{name}` on the rebuilt table `{table}`, as it is on the live one; drop it first"
        );
        refusal(doing, error)
    })
}

/// A lock that is not free in time stays what it is; anything else is for people to mend.
fn refusal(doing: String, error: sqlx::Error) -> StoreError {
    let kind = match kind_of(&error) {
        StoreErrorKind::Busy => StoreErrorKind::Busy,
        StoreErrorKind::Unavailable => StoreErrorKind::Unavailable,
        StoreErrorKind::StorageFull => StoreErrorKind::StorageFull,
        _ => StoreErrorKind::Invalid,
    };
    StoreError::new(kind, doing).caused_by(error)
}

async fn move_aside(
    session: &mut Session<'_>,
    live: &Named,
    aside: Option<&str>,
) -> Result<Named, StoreError> {
    let (old, how) = match aside {
        Some(schema) => (
            Named::new(schema, &live.table),
            format!("SET SCHEMA {}", quoted(schema)),
        ),
        None => {
            let name = "annals_replaced_table";
            let how = format!("RENAME TO {}", quoted(name));
            (Named::new(&live.schema, name), how)
        }
    };
    tables::execute(session, format!("ALTER TABLE {} {how}", live.sql())).await?;
    Ok(old)
}

async fn give_name(
    session: &mut Session<'_>,
    rebuilt: &Named,
    new: &Named,
) -> Result<(), StoreError> {
    let how = if rebuilt.schema == new.schema {
        format!("RENAME TO {}", quoted(&new.table))
    } else {
        format!("SET SCHEMA {}", quoted(&new.schema))
    };
    tables::execute(session, format!("ALTER TABLE {} {how}", rebuilt.sql())).await
}

async fn drop_old(session: &mut Session<'_>, old: &[Named]) -> Result<(), StoreError> {
    let names: Vec<_> = old.iter().map(Named::sql).collect();
    let dropped = tables::run(session, format!("DROP TABLE {}", names.join(", "))).await;
    dropped.map_err(|error| {
        let detail = error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>())
            .and_then(|error| error.detail())
            .map(str::to_owned);
        let refused = refusal("drop a replaced table".to_owned(), error);
        match detail {
            Some(detail) if refused.kind() == StoreErrorKind::Invalid => {
                StoreError::new(StoreErrorKind::Invalid, "drop a replaced table").caused_by(
                    format!("what depends on it can't be carried over, so drop it first: {detail}"),
                )
            }
            _ => refused,
        }
    })
}

/// The primary key is called after its table, as PostgreSQL would have done.
async fn rename_key(session: &mut Session<'_>, pair: &Pair) -> Result<(), StoreError> {
    if pair.rebuilt.table == pair.new.table {
        return Ok(());
    }
    let key = |table: &str| quoted(&format!("{table}_pkey"));
    let rename = format!(
        "ALTER INDEX IF EXISTS {}.{} RENAME TO {}",
        quoted(&pair.new.schema),
        key(&pair.rebuilt.table),
        key(&pair.new.table),
    );
    tables::execute(session, rename).await
}

fn stays(projection: &str, pair: &Pair, extra: &Extra) -> StoreError {
    let doing = format!("swap the table of projection `{projection}`");
    StoreError::new(StoreErrorKind::Invalid, doing).caused_by(format!(
        "the {} `{}` on `{}` can't be carried over to the rebuilt table; drop it first, and make \
         it again afterwards",
        extra.statement, extra.name, pair.new.table
    ))
}

/// Says who holds the tables.
async fn held(
    session: &mut Session<'_>,
    projection: &str,
    pairs: &[Pair],
    error: StoreError,
) -> StoreError {
    let mut holders = Vec::new();
    for live in pairs.iter().filter_map(|pair| pair.live.as_ref()) {
        let found = session
            .sql
            .query(include_str!("../../sql/projections/select_holders.sql"))
            .bind(&live.schema)
            .bind(&live.table)
            .fetch_one(&mut *session.conn)
            .await
            .and_then(|row| row.try_get::<Option<String>, _>(0));
        if let Ok(Some(pids)) = found {
            holders.push(format!("`{}` by process {pids} of the server", live.table));
        }
    }
    let doing = format!("swap the table of projection `{projection}`");
    let problem = match holders.is_empty() {
        true => format!("others hold it ({error:?})"),
        false => format!(
            "long transactions hold {}; end them, and try again",
            holders.join(" and ")
        ),
    };
    StoreError::new(StoreErrorKind::Busy, doing).caused_by(problem)
}
