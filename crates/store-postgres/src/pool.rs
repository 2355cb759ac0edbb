//! The connections that all work but the appends shares.
//!
//! sqlx has a pool of its own, but one that keeps trying for as long as a caller would wait for
//! its turn, ever less often: a server that came back was noticed seconds later, one that did not
//! answer was taken for a busy one, and a connection that had gone silent kept its place for ever.
//! Here waiting for a turn and waiting for the server are two things, each with its own end.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use annals_core::{StoreError, StoreErrorKind};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    PostgresOptions,
    error::{failed, silent},
    retry::jittered,
    writer::closed,
};

/// A connection that was idle for longer is tried before it is used: after a restart of the server
/// all of them may be broken.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How long an idle connection may take to show that it is alive.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// For how long a server that is away is tried again.
const AWAY: Duration = Duration::from_secs(5);
/// The longest wait before it is tried again.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// What was idle for so long is closed,
const MAX_IDLE: Duration = Duration::from_secs(10 * 60);
/// and so is what has served for so long, as servers keep things for each session.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// Has the server's process keep memory between statements.
///
/// glibc hands what is free at the end of the heap back to the system, once it is more than 128 KiB
/// or twice as much as the largest piece that was ever mapped by itself and freed
/// ([`M_TRIM_THRESHOLD`](https://man7.org/linux/man-pages/man3/mallopt.3.html)). A page of events
/// takes more than that, and a third of the server's time for it went into getting the memory
/// back. So there is such a piece once. Elsewhere this is nothing but a statement.
///
/// Behind a pooler that gives out connections by transaction it would be any process, and connecting
/// would have to wait for one.
pub(crate) async fn keep_memory(conn: &mut PgConnection) {
    const TWO_MEGABYTES: &str = "SELECT octet_length(repeat(repeat(' ', 1000), 2000))";
    if let Err(error) = sqlx::raw_sql(TWO_MEGABYTES).execute(conn).await {
        // As with a time-out of a few milliseconds. What comes next shows whether the connection is well.
        tracing::debug!(%error, "the server's process may not keep its memory");
    }
}

/// Whether a connection that has been idle since then can be used.
pub(crate) async fn is_alive(conn: &mut PgConnection, since: Instant) -> bool {
    since.elapsed() <= TRUSTED_IDLE
        || matches!(timeout(SIGN_OF_LIFE, conn.ping()).await, Ok(Ok(())))
}

/// Reads wait no longer for a lock than for an answer, or what is given up would stay on the server
/// for as long as somebody else holds the lock, and the next try would join it. Transactions that
/// write say for themselves how long they wait.
const WAIT_FOR_NO_LOCK_FOR_EVER: &str = "SET lock_timeout = '9s'";
/// What a client is not there for any more is broken off. Not every platform can tell.
const END_WITH_THE_CLIENT: &str = "SET client_connection_check_interval = '2s'";

/// A bounded number of connections, made when they are needed.
#[derive(Debug)]
pub(crate) struct Pool {
    connect: PgConnectOptions,
    /// Whether a session is a connection's own, so that it may be set up for it.
    own_sessions: bool,
    size: u32,
    /// Whoever has one of these may have a connection; they come in the order of asking.
    turns: Arc<Semaphore>,
    /// How long to wait for a turn.
    patience: Duration,
    /// The connections that nobody has, the one that was used last at the end.
    idle: Mutex<Vec<Idle>>,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Idle {
    conn: PgConnection,
    made: Instant,
    since: Instant,
}

/// A connection that is closed unless it is given back.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) conn: PgConnection,
    made: Instant,
    /// Let go of after the connection.
    _turn: OwnedSemaphorePermit,
}

impl Pool {
    pub(crate) fn new(connect: PgConnectOptions, options: &PostgresOptions) -> Self {
        let size = options.max_connections.max(1);
        Self {
            connect,
            own_sessions: !options.transaction_pooling,
            size,
            turns: Arc::new(Semaphore::new(size as usize)),
            patience: options.acquire_timeout,
            idle: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Waits for a turn, then for a connection.
    ///
    /// # Errors
    /// [`StoreErrorKind::Busy`] when others have all the connections for too long, and
    /// [`StoreErrorKind::Closed`] once the pool is closed. Else what the server says, or
    /// [`StoreErrorKind::Unavailable`] when it says nothing.
    pub(crate) async fn take(&self, doing: &'static str) -> Result<Lent, StoreError> {
        let turn = timeout(self.patience, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| {
            let error = StoreError::new(StoreErrorKind::Busy, doing);
            error.caused_by("all connections to the database are in use")
        })?;
        let turn = turn.map_err(|_| closed(doing))?;
        if self.is_closed() {
            return Err(closed(doing));
        }
        if let Some(mut idle) = self.pop() {
            if is_alive(&mut idle.conn, idle.since).await {
                return Ok(Lent {
                    conn: idle.conn,
                    made: idle.made,
                    _turn: turn,
                });
            }
            // What ended this one has ended the others, and each would take its time to show it.
            self.forget_idle();
        }
        Ok(Lent {
            conn: self.connect(doing).await?,
            made: Instant::now(),
            _turn: turn,
        })
    }

    /// Takes a connection back that is in no transaction, and in the middle of nothing.
    pub(crate) fn give_back(&self, lent: Lent) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < MAX_IDLE);
        if lent.made.elapsed() < MAX_AGE && !self.is_closed() {
            idle.push(Idle {
                conn: lent.conn,
                made: lent.made,
                since: Instant::now(),
            });
        }
    }

    /// Lets nobody have a connection any more, waits until all have been given back, and closes
    /// them.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // Those who wait get their turn before, and are told that it is closed.
        let all = self.turns.acquire_many(self.size).await;
        if all.is_err() {
            return; // closed before
        }
        self.turns.close();
        while let Some(idle) = self.pop() {
            // The server notices as well if it can't be told.
            timeout(SIGN_OF_LIFE, idle.conn.close()).await.ok();
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Closes the connections that nobody has.
    fn forget_idle(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.clear();
    }

    fn pop(&self) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop()
    }

    async fn connect_once(&self) -> Result<PgConnection, sqlx::Error> {
        let mut conn = self.connect.connect().await?;
        if self.own_sessions {
            sqlx::raw_sql(WAIT_FOR_NO_LOCK_FOR_EVER)
                .execute(&mut conn)
                .await?;
            keep_memory(&mut conn).await;
            if let Err(error) = sqlx::raw_sql(END_WITH_THE_CLIENT).execute(&mut conn).await {
                tracing::debug!(%error, "the server can't notice that a client went away");
            }
        }
        Ok(conn)
    }

    /// Makes a connection. A server that is away or starts up is tried again for a while.
    async fn connect(&self, doing: &'static str) -> Result<PgConnection, StoreError> {
        let deadline = Instant::now() + AWAY;
        let mut pause = Duration::from_millis(10);
        loop {
            let connected = timeout_at(deadline, self.connect_once()).await;
            let error = match connected {
                Ok(Ok(conn)) => return Ok(conn),
                Ok(Err(error)) => failed(doing)(error),
                Err(_) => return Err(silent(doing)),
            };
            let passes = matches!(
                error.kind(),
                StoreErrorKind::Unavailable | StoreErrorKind::Busy
            );
            if !passes || Instant::now() + pause >= deadline || self.is_closed() {
                return Err(error);
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgSslMode;
    use tokio::net::TcpListener;

    use super::*;

    const DOING: &str = "read";

    /// A pool of one connection, to somebody on this machine.
    fn pool(port: u16) -> Arc<Pool> {
        let connect = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .ssl_mode(PgSslMode::Disable);
        let options = PostgresOptions {
            max_connections: 1,
            ..PostgresOptions::default()
        };
        Arc::new(Pool::new(connect, &options))
    }

    async fn kind(pool: &Pool) -> StoreErrorKind {
        let taken = pool.take(DOING).await;
        taken.expect_err("there is no server").kind()
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_given_up_and_so_is_the_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = pool(listener.local_addr().unwrap().port());
        for _ in 0..2 {
            assert_eq!(kind(&pool).await, StoreErrorKind::Unavailable);
        }
        assert_eq!(pool.turns.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_away_is_tried_again_for_a_while() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = pool(listener.local_addr().unwrap().port());
        drop(listener);
        let begun = Instant::now();
        assert_eq!(kind(&pool).await, StoreErrorKind::Unavailable);
        let tried = begun.elapsed();
        assert!(tried >= AWAY - LONGEST_PAUSE && tried <= AWAY, "{tried:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_turn_ends_in_time_or_when_the_pool_is_closed() {
        let pool = pool(1);
        let turn = Arc::clone(&pool.turns).acquire_owned().await.unwrap();
        assert_eq!(kind(&pool).await, StoreErrorKind::Busy);

        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { kind(&pool).await }
        });
        tokio::task::yield_now().await;
        let closing = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.close().await }
        });
        tokio::task::yield_now().await;
        assert!(!closing.is_finished(), "somebody has a connection still");
        drop(turn);
        assert_eq!(waiting.await.unwrap(), StoreErrorKind::Closed);
        closing.await.unwrap();
        assert_eq!(kind(&pool).await, StoreErrorKind::Closed);
        pool.close().await;
    }
}
