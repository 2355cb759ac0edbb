//! SQL projections built anew beside their live tables.

use annals_core::{CommitError, Position, ProjectorFactory, RebuildError, Target};
use annals_postgres::{inline_sql_projection, sql_projection};

use crate::accounts::{Bank, Driver, Totals, deposited, now};

/// Ten deposits that the live tables have taken in, with one total forged since.
async fn forged() -> (Bank, Driver) {
    let bank = Bank::open().await;
    for amount in 1..=5 {
        let events = [deposited("alice", amount), deposited("bob", 1)];
        bank.append("account-1", &events).await;
    }
    let mut live = bank.live(&sql_projection::<Totals>()).await;
    live.run(&bank, 10).await.unwrap();
    bank.sql("UPDATE totals SET total = 99 WHERE owner = 'alice'")
        .await;
    (bank, live)
}

#[tokio::test]
async fn a_rebuild_fills_new_tables_and_swaps_them_in() {
    let (bank, _) = forged().await;
    let factory = sql_projection::<Totals>();
    let mut rebuild = bank.rebuild(&factory).await;
    rebuild.run(&bank, 6).await.unwrap();
    rebuild.run(&bank, 4).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|99", "bob|5"], "until the swap");
    let swapped = rebuild.swap(&factory, None).await.unwrap();
    assert_eq!((swapped.rows, swapped.checkpoint), (12, rebuild.checkpoint));
    assert_eq!(bank.totals().await, ["alice|15", "bob|5"]);
    assert_eq!(bank.rebuild_schemas().await, [""; 0]);
    let indexes = "SELECT indexname::text FROM pg_indexes
                   WHERE schemaname = current_schema() AND indexname = 'movements_by_owner'";
    assert_eq!(bank.query(indexes).await.len(), 1);
    bank.append("account-1", &[deposited("bob", 10)]).await;
    bank.live(&factory).await.run(&bank, 1).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|15", "bob|15"]);
}

#[tokio::test]
async fn a_swap_takes_in_what_the_new_tables_lack_and_reports_what_differs() {
    let (bank, _) = forged().await;
    let factory = sql_projection::<Totals>();
    let mut rebuild = bank.rebuild(&factory).await;
    rebuild.run(&bank, 7).await.unwrap();
    let swapped = rebuild.swap(&factory, Some(5)).await.unwrap();
    assert_eq!(swapped.checkpoint.position, Position::new(10));
    assert_eq!(bank.totals().await, ["alice|15", "bob|5"]);
    let found = swapped.differences.unwrap();
    assert_eq!(found.count, 1);
    let sample = found.samples.first().unwrap();
    assert_eq!(sample.key, "owner='alice'");
    assert_eq!(sample.live.as_deref(), Some("owner='alice', total=99"));
    assert_eq!(sample.rebuilt.as_deref(), Some("owner='alice', total=15"));
}

#[tokio::test]
async fn a_rebuild_is_resumed_where_it_stands() {
    let (bank, _) = forged().await;
    let factory = sql_projection::<Totals>();
    let mut first = bank.rebuild(&factory).await;
    first.run(&bank, 4).await.unwrap();
    let kept = bank.store.abandon_rebuild("totals", first.epoch, true);
    kept.await.unwrap();
    let mut second = bank.rebuild(&factory).await;
    assert_eq!(second.checkpoint, first.checkpoint);
    let late = first.run(&bank, 2).await;
    assert!(matches!(late, Err(CommitError::Fenced { .. })), "{late:?}");
    second.run(&bank, 6).await.unwrap();
    second.swap(&factory, None).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|15", "bob|5"]);
}

#[tokio::test]
async fn a_rebuild_that_is_given_up_leaves_nothing() {
    let (bank, _) = forged().await;
    let mut rebuild = bank.rebuild(&sql_projection::<Totals>()).await;
    rebuild.run(&bank, 4).await.unwrap();
    assert_eq!(bank.rebuild_schemas().await.len(), 1);
    let given_up = bank.store.abandon_rebuild("totals", rebuild.epoch, false);
    given_up.await.unwrap();
    assert_eq!(bank.rebuild_schemas().await, [""; 0]);
}

/// Opens the rebuild's tables, which says once that the record was put right.
async fn reopened(bank: &Bank, expected: u64) -> Driver {
    let factory = sql_projection::<Totals>();
    let error = factory
        .open(&bank.store, Target::Rebuild)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let record = bank.store.projection("totals").await.unwrap().unwrap();
    let rebuild = record.rebuild.unwrap();
    assert_eq!(rebuild.checkpoint.position, Position::new(expected));
    Driver {
        projector: factory.open(&bank.store, Target::Rebuild).await.unwrap(),
        epoch: rebuild.epoch,
        checkpoint: rebuild.checkpoint,
    }
}

#[tokio::test]
async fn a_rebuild_whose_tables_are_lost_begins_again() {
    let (bank, _) = forged().await;
    let mut rebuild = bank.rebuild(&sql_projection::<Totals>()).await;
    rebuild.run(&bank, 4).await.unwrap();
    drop(rebuild);
    let lost = format!("DROP SCHEMA {}_rebuild_totals CASCADE", bank.schema.name());
    let mut conn = bank.connection().await;
    let lost = sqlx::raw_sql(sqlx::AssertSqlSafe(lost));
    lost.execute(&mut conn).await.unwrap();
    let mut rebuild = reopened(&bank, 0).await;
    rebuild.run(&bank, 10).await.unwrap();
    rebuild
        .swap(&sql_projection::<Totals>(), None)
        .await
        .unwrap();
    assert_eq!(bank.totals().await, ["alice|15", "bob|5"]);
}

#[tokio::test]
async fn a_swap_that_was_overtaken_changes_nothing() {
    let (bank, _) = forged().await;
    let factory = sql_projection::<Totals>();
    let mut rebuild = bank.rebuild(&factory).await;
    rebuild.run(&bank, 10).await.unwrap();
    rebuild.epoch += 1;
    let refused = rebuild.swap(&factory, None).await;
    assert!(
        matches!(refused, Err(RebuildError::Fenced { .. })),
        "{refused:?}"
    );
    assert_eq!(bank.totals().await, ["alice|99", "bob|5"]);
}

#[tokio::test]
async fn an_inline_projection_is_rebuilt_up_to_the_head() {
    let bank = Bank::open().await;
    let factory = inline_sql_projection::<Totals>();
    bank.store.register(factory.spec(), now()).await.unwrap();
    factory.install_inline(&bank.store).await.unwrap();
    bank.append("account-1", &[deposited("alice", 1), deposited("alice", 2)])
        .await;
    bank.sql("UPDATE totals SET total = 99").await;
    let mut rebuild = bank.rebuild(&factory).await;
    rebuild.run(&bank, 1).await.unwrap();
    bank.append("account-1", &[deposited("alice", 3)]).await;
    let swapped = rebuild.swap(&factory, None).await.unwrap();
    assert_eq!(swapped.checkpoint.position, Position::new(3));
    bank.append("account-1", &[deposited("alice", 4)]).await;
    assert_eq!(bank.totals().await, ["alice|10"]);
}
