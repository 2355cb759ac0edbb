//! Statements that fail without telling: the right event is named all the same.

use annals_core::{CommitError, EventSet, FoldError, Position, ProjectionError, Recorded};
use annals_postgres::{SqlProjection, sql_projection};
use annals_testing::conformance::database::{AccountEvent, cursed, deposited};
use sqlx::PgConnection;

use crate::schema::{Bank, Totals};

/// Makes sure of its tables as [`Totals`] does, and swallows the error of a cursed event.
struct Careless;

impl SqlProjection for Careless {
    type Event = AccountEvent;
    const NAME: &'static str = "totals";
    const TABLES: &'static [&'static str] = Totals::TABLES;
    const SCHEMA: &'static str = Totals::SCHEMA;

    async fn apply(
        event: &Recorded<AccountEvent>,
        db: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        if let AccountEvent::Cursed { .. } = &event.event {
            let failed = sqlx::query("SELECT 1 / 0").execute(db).await;
            drop(failed);
            return Ok(());
        }
        Totals::apply(event, db).await
    }
}

/// Leaves a movement without the total that it refers to, which shows when the batch ends.
struct Dangling;

impl SqlProjection for Dangling {
    type Event = AccountEvent;
    const NAME: &'static str = "totals";
    const TABLES: &'static [&'static str] = Totals::TABLES;
    const SCHEMA: &'static str = Totals::SCHEMA;

    async fn apply(
        event: &Recorded<AccountEvent>,
        db: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        if let AccountEvent::Cursed { owner } = &event.event {
            sqlx::query("INSERT INTO movements (owner) VALUES ($1)")
                .bind(owner)
                .execute(db)
                .await?;
            return Ok(());
        }
        Totals::apply(event, db).await
    }
}

async fn named<P: SqlProjection>(wanted: &str)
where
    P::Event: EventSet,
{
    let bank = Bank::open().await;
    let mut events = vec![deposited("alice", 1); 12];
    events.push(cursed("nobody"));
    events.extend(vec![deposited("bob", 1); 7]);
    bank.append("account-1", &events).await;
    let factory = sql_projection::<P>();
    let mut live = bank.live(&factory).await;
    match live.run(&bank, 20).await {
        Err(CommitError::Fold(FoldError::Event {
            position, message, ..
        })) => {
            assert_eq!(position, Position::new(13));
            assert!(message.contains(wanted), "{message}");
        }
        other => panic!("expected the event to be named, got {other:?}"),
    }
    assert_eq!(bank.totals().await, [""; 0]);
    live.run(&bank, 12).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|12"]);
}

#[tokio::test]
async fn the_event_whose_error_was_swallowed_is_named() {
    named::<Careless>("return its error").await;
}

#[tokio::test]
async fn the_event_that_breaks_a_deferred_constraint_is_named() {
    named::<Dangling>("foreign key").await;
}
