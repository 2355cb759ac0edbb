//! A database with a store, the application's own table, and what a test does with both.

use std::{sync::Arc, time::Duration};

use annals_core::{
    Append, CausationId, CorrelationId, EventId, Expected, Metadata, NewEvent, Position,
    ProjectionRecord, ProjectionSpec, Projector, ProjectorFactory, RebuildError, RebuildRecord,
    Store, Target,
};

use super::{AccountEvent, Database, Driver, deposited};
use crate::conformance::{sample, table};

/// Longer than any test.
const LEASE: Duration = Duration::from_secs(600);

/// A database with an open store in it.
#[derive(Debug)]
pub struct Bank<D> {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The database.
    pub database: D,
}

impl<D: Database> Bank<D> {
    /// A fresh database.
    pub async fn open() -> Self {
        Self::on(D::create().await).await
    }

    /// The store of this database, with the application's own table beside it.
    pub async fn on(database: D) -> Self {
        let store = database.open().await;
        let bank = Self { store, database };
        bank.execute("CREATE TABLE factors (factor bigint NOT NULL)")
            .await;
        bank.execute("INSERT INTO factors VALUES (1)").await;
        bank
    }

    /// Executes statements on a connection of its own.
    pub async fn execute(&self, statements: &'static str) {
        let mut connection = self.database.connect().await;
        D::execute(&mut connection, statements).await;
    }

    /// The first column of a query, which is text, on a connection of its own.
    pub async fn query(&self, statement: &'static str) -> Vec<String> {
        let mut connection = self.database.connect().await;
        D::query(&mut connection, statement).await
    }

    /// The rows of the live table `totals`.
    pub async fn totals(&self) -> Vec<String> {
        self.query("SELECT owner || '|' || total FROM totals ORDER BY owner")
            .await
    }

    /// The projection's record.
    ///
    /// # Panics
    /// When there is none.
    pub async fn record(&self, projection: &str) -> ProjectionRecord {
        table::record(&*self.store, projection).await
    }

    /// Appends to the end of a stream.
    ///
    /// # Panics
    /// When the store refuses.
    pub async fn append(&self, stream: &str, events: &[AccountEvent]) -> Position {
        let appended = self.store.append(append_to(stream, events)).await;
        appended.expect("an append succeeds").position
    }

    /// Drives the live tables of a projection from where they stand.
    ///
    /// # Panics
    /// When it can't be registered or opened.
    pub async fn live(&self, factory: &dyn ProjectorFactory) -> Driver {
        let record = self.store.register(factory.spec(), sample::now()).await;
        let record = record.expect("it is registered");
        Driver {
            projector: opened(&self.store, factory, Target::Live).await,
            epoch: record.epoch,
            checkpoint: record.checkpoint,
        }
    }

    /// Makes a projection part of every append.
    ///
    /// # Panics
    /// When it can't be.
    pub async fn install(&self, factory: &dyn ProjectorFactory) {
        let record = self.store.register(factory.spec(), sample::now()).await;
        record.expect("it is registered");
        let installed = factory.install_inline(&self.store).await;
        installed.expect("it takes in what it missed");
    }

    /// Begins or resumes a rebuild.
    ///
    /// # Errors
    /// What the store says.
    pub async fn begin(&self, spec: &ProjectionSpec) -> Result<RebuildRecord, RebuildError> {
        let now = sample::now();
        self.store
            .begin_rebuild(spec, "me", LEASE, false, now)
            .await
    }

    /// Drives the new tables of a projection, which is rebuilt.
    ///
    /// # Panics
    /// When the rebuild can't begin.
    pub async fn rebuild(&self, factory: &dyn ProjectorFactory) -> Driver {
        let rebuild = self.begin(factory.spec()).await.expect("a rebuild begins");
        Driver {
            projector: opened(&self.store, factory, Target::Rebuild).await,
            epoch: rebuild.epoch,
            checkpoint: rebuild.checkpoint,
        }
    }

    /// Drives the new tables of `totals` again, which says once that its record, now at
    /// `expected`, was put right.
    ///
    /// # Panics
    /// When nothing was to be put right, or it was done otherwise.
    pub async fn reopen_rebuild(&self, expected: u64) -> Driver {
        let factory = D::totals(false);
        let refused = factory.open(&self.store, Target::Rebuild).await;
        let error = refused.expect_err("it is to be tried again");
        assert!(error.is_transient(), "{error:?}");
        let rebuild = self.record("totals").await.rebuild;
        let rebuild = rebuild.expect("the rebuild goes on");
        assert_eq!(rebuild.checkpoint.position, Position::new(expected));
        Driver {
            projector: opened(&self.store, &*factory, Target::Rebuild).await,
            epoch: rebuild.epoch,
            checkpoint: rebuild.checkpoint,
        }
    }

    /// Ten deposits, which are taken in by the live tables of `totals`; a total forged since.
    pub async fn forge_totals(&self) {
        for amount in 1..=5 {
            let events = [deposited("alice", amount), deposited("bob", 1)];
            self.append("account-1", &events).await;
        }
        let mut live = self.live(&*D::totals(false)).await;
        live.run(self, 10).await.expect("ten deposits are taken in");
        self.execute("UPDATE totals SET total = 99 WHERE owner = 'alice'")
            .await;
    }
}

/// An append of these events to the end of a stream.
///
/// # Panics
/// When the stream's name is not valid.
#[must_use]
pub fn append_to(stream: &str, events: &[AccountEvent]) -> Append {
    let events = events.iter().map(|event| {
        let cause = sample::uuid();
        let metadata = Metadata::caused_by(CausationId::new(cause), CorrelationId::new(cause));
        let id = EventId::new(sample::uuid());
        NewEvent::encode(event, id, metadata).expect("it can be encoded")
    });
    sample::append(stream, Expected::Any, events.collect())
}

async fn opened(
    store: &Arc<dyn Store>,
    factory: &dyn ProjectorFactory,
    target: Target,
) -> Box<dyn Projector> {
    factory.open(store, target).await.expect("it opens")
}
