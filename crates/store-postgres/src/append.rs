//! Appending in a transaction of the user's own.

use annals_core::{
    Append, AppendError, Appended, Position, StoreError, StoreErrorKind, admission::decide,
};
use chrono::Datelike as _;
use sqlx::{PgConnection, Row};

use crate::{
    PostgresStore,
    error::failed,
    facts,
    insert::{NewRow, insert, recorded},
    lock::lock_log,
    log,
    projections::inline::{self, Installed},
    pulse::UNWATCHED,
    transaction::Session,
    writer::{DOING, refusal},
};

/// The first year that PostgreSQL's timestamps reach.
const FIRST_YEAR: i32 = -4712;
/// How often an append waits for inline projections that have missed much.
pub(crate) const ROUNDS: usize = 5;
const SAVEPOINT: &str = "SAVEPOINT annals_append";
const RELEASE: &str = "RELEASE SAVEPOINT annals_append";
const ROLL_BACK: &str = "ROLLBACK TO SAVEPOINT annals_append; RELEASE SAVEPOINT annals_append";

/// Checks what this store does not accept.
pub(crate) fn check(append: &Append) -> Result<(), AppendError> {
    append.validate()?;
    if append.recorded_at.year() < FIRST_YEAR {
        let problem = format!("it is recorded before the year {FIRST_YEAR}");
        return Err(AppendError::Invalid { problem });
    }
    Ok(())
}

impl PostgresStore {
    /// Appends events within a transaction of your own: they are in the log exactly if it
    /// commits, together with whatever else it writes. For applications whose business tables are
    /// ordinary tables (a transactional outbox).
    ///
    /// `conn` is in a transaction of the database that the store is in, at isolation level
    /// `READ COMMITTED`. After an error the transaction goes on as if this had not been called;
    /// a future that is dropped half-way may have written already, so roll back then.
    ///
    /// **Its cost**: positions are given out in commit order, so from here to the end of your
    /// transaction nobody else appends to this log, in any process. Call it last, and commit at
    /// once. How long it waits for others that do is up to your `lock_timeout`, and durability is
    /// up to your `synchronous_commit`. Set an `idle_in_transaction_session_timeout`, so that a
    /// process that stalls in between does not hold up all others.
    ///
    /// # Errors
    /// As [`EventStore::append`](annals_core::EventStore::append), and
    /// [`StoreErrorKind::Invalid`] outside a transaction or at another isolation level.
    pub async fn append_in(
        &self,
        conn: &mut PgConnection,
        append: Append,
    ) -> Result<Appended, AppendError> {
        check(&append)?;
        for _ in 0..ROUNDS {
            match self.append_once(conn, &append).await {
                Ok(appended) => return Ok(appended),
                Err(Undone::Refused(error)) => return Err(error),
                // The append lock is free meanwhile.
                Err(Undone::Behind(projection)) => inline::catch_up(self, &projection).await?,
            }
        }
        Err(never_caught_up(DOING).into())
    }

    /// Appends, or leaves the transaction as it was.
    async fn append_once(
        &self,
        conn: &mut PgConnection,
        append: &Append,
    ) -> Result<Appended, Undone> {
        run(conn, SAVEPOINT).await.map_err(not_in_transaction)?;
        let mut session = Session {
            conn,
            sql: &self.shared.connections.sql,
            pulse: &UNWATCHED,
        };
        let appended = self.append_at_savepoint(&mut session, append).await;
        let end = match appended {
            Ok(_) => RELEASE,
            // Lets go of the append lock as well, if it was taken.
            Err(_) => ROLL_BACK,
        };
        let ended = run(session.conn, end).await.map_err(failed(DOING));
        let appended = appended?;
        ended?;
        Ok(appended)
    }

    async fn append_at_savepoint(
        &self,
        session: &mut Session<'_>,
        append: &Append,
    ) -> Result<Appended, Undone> {
        check_isolation(session.conn).await?;
        lock_log(session, DOING).await?;
        let before = log::head(session).await?;
        let facts = facts::all(session, &[append], before).await?;
        let mut decided = decide(&facts, &[append]);
        if decided.writes() {
            let rows = decided.placed.iter().map(NewRow::from);
            let appends = recorded(&decided.recorded);
            let written = insert(session, rows, &appends, self.shared.notify).await;
            written.map_err(failed(DOING))?;
            self.fold(session, before, &decided.placed).await?;
        }
        let outcome = decided.outcomes.pop().unwrap_or_else(|| {
            let error = StoreError::new(StoreErrorKind::Other, DOING);
            Err(error.caused_by("the append was not decided").into())
        });
        outcome.map_err(Undone::Refused)
    }

    async fn fold(
        &self,
        session: &mut Session<'_>,
        before: Position,
        placed: &[annals_core::admission::Placed<'_>],
    ) -> Result<(), Undone> {
        let installed = self.shared.installed();
        if installed.is_empty() || placed.is_empty() {
            return Ok(());
        }
        let events: Vec<_> = placed.iter().map(|row| row.stored()).collect();
        let folded = inline::fold_inline(session, &installed, before, &events).await;
        match folded.map_err(|error| Undone::Refused(refusal(error)))? {
            None => Ok(()),
            Some(behind) => Err(Undone::Behind(behind)),
        }
    }
}

/// Why an append was not made.
enum Undone {
    /// This inline projection has to catch up first.
    Behind(Installed),
    /// It is refused, or the store failed.
    Refused(AppendError),
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

/// What is read after the lock was taken must be what is there then.
async fn check_isolation(conn: &mut PgConnection) -> Result<(), StoreError> {
    let row = sqlx::raw_sql("SHOW transaction_isolation")
        .fetch_one(conn)
        .await
        .map_err(failed(DOING))?;
    let level: &str = row.try_get(0).map_err(failed(DOING))?;
    if level == "read committed" {
        return Ok(());
    }
    let error = StoreError::new(StoreErrorKind::Invalid, DOING);
    Err(error.caused_by(format!(
        "the transaction has isolation level {level}, which does not see what was committed while \
         it waited for the append lock: begin it with ISOLATION LEVEL READ COMMITTED"
    )))
}

fn not_in_transaction(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|error| error.code());
    if code.as_deref() != Some("25P01") {
        return failed(DOING)(error);
    }
    StoreError::new(StoreErrorKind::Invalid, DOING)
        .caused_by("the connection is not in a transaction: begin one, and commit it afterwards")
}

async fn run(conn: &mut PgConnection, text: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(text).execute(conn).await.map(drop)
}

/// An inline projection that is behind again and again.
pub(crate) fn never_caught_up(doing: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Busy, doing)
        .caused_by("others append faster than an inline projection catches up here")
}
