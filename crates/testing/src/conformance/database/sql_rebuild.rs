//! Projections written in SQL, built anew beside their live tables.

use annals_core::{Position, RebuildError};

use super::{Bank, Database, deposited};
use crate::conformance::table::assert_fenced;

pub async fn a_rebuild_fills_new_tables_and_swaps_them_in<D: Database>(bank: Bank<D>) {
    bank.forge_totals().await;
    let factory = D::totals(false);
    let mut rebuild = bank.rebuild(&*factory).await;
    rebuild.run(&bank, 6).await.unwrap();
    rebuild.run(&bank, 4).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|99", "bob|5"], "until the swap");
    let swapped = rebuild.swap(&*factory, None).await.unwrap();
    assert_eq!((swapped.rows, swapped.checkpoint), (12, rebuild.checkpoint));
    assert_eq!(bank.totals().await, ["alice|15", "bob|5"]);
    assert_eq!(bank.database.rebuilds_left().await, 0);
    let indexes = bank.query(D::INDEXES).await;
    let mine = (indexes.iter()).filter(|name| *name == "movements_by_owner");
    assert_eq!(mine.count(), 1);
    bank.append("account-1", &[deposited("bob", 10)]).await;
    bank.live(&*factory).await.run(&bank, 1).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|15", "bob|15"]);
}

pub async fn a_swap_takes_in_what_the_new_tables_lack_and_reports_what_differs<D: Database>(
    bank: Bank<D>,
) {
    bank.forge_totals().await;
    let factory = D::totals(false);
    let mut rebuild = bank.rebuild(&*factory).await;
    rebuild.run(&bank, 7).await.unwrap();
    let swapped = rebuild.swap(&*factory, Some(5)).await.unwrap();
    assert_eq!(swapped.checkpoint.position, Position::new(10));
    assert_eq!(bank.totals().await, ["alice|15", "bob|5"]);
    let found = swapped.differences.expect("they were compared");
    assert_eq!(found.count, 1);
    let sample = &found.samples[0];
    assert_eq!(sample.key, "owner='alice'");
    assert_eq!(sample.live.as_deref(), Some("owner='alice', total=99"));
    assert_eq!(sample.rebuilt.as_deref(), Some("owner='alice', total=15"));
}

pub async fn a_rebuild_is_resumed_where_it_stands<D: Database>(bank: Bank<D>) {
    bank.forge_totals().await;
    let factory = D::totals(false);
    let mut first = bank.rebuild(&*factory).await;
    first.run(&bank, 4).await.unwrap();
    let kept = bank.store.abandon_rebuild("totals", first.epoch, true);
    kept.await.unwrap();
    let mut second = bank.rebuild(&*factory).await;
    assert_eq!(second.checkpoint, first.checkpoint);
    assert_fenced(first.run(&bank, 2).await);
    second.run(&bank, 6).await.unwrap();
    second.swap(&*factory, None).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|15", "bob|5"]);
}

pub async fn a_rebuild_that_is_given_up_leaves_nothing<D: Database>(bank: Bank<D>) {
    bank.forge_totals().await;
    let mut rebuild = bank.rebuild(&*D::totals(false)).await;
    rebuild.run(&bank, 4).await.unwrap();
    assert_eq!(bank.database.rebuilds_left().await, 1);
    let given_up = bank.store.abandon_rebuild("totals", rebuild.epoch, false);
    given_up.await.unwrap();
    assert_eq!(bank.database.rebuilds_left().await, 0);
}

pub async fn a_rebuild_whose_tables_are_lost_begins_again<D: Database>(bank: Bank<D>) {
    bank.forge_totals().await;
    let factory = D::totals(false);
    let mut rebuild = bank.rebuild(&*factory).await;
    rebuild.run(&bank, 4).await.unwrap();
    drop(rebuild);
    bank.database.lose_rebuild().await;
    let mut rebuild = bank.reopen_rebuild(0).await;
    rebuild.run(&bank, 10).await.unwrap();
    rebuild.swap(&*factory, None).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|15", "bob|5"]);
}

pub async fn a_swap_that_was_overtaken_changes_nothing<D: Database>(bank: Bank<D>) {
    bank.forge_totals().await;
    let factory = D::totals(false);
    let mut rebuild = bank.rebuild(&*factory).await;
    rebuild.run(&bank, 10).await.unwrap();
    rebuild.epoch += 1;
    let refused = rebuild.swap(&*factory, None).await;
    assert!(
        matches!(refused, Err(RebuildError::Fenced { .. })),
        "{refused:?}"
    );
    assert_eq!(bank.totals().await, ["alice|99", "bob|5"]);
}

pub async fn an_inline_projection_is_rebuilt_up_to_the_head<D: Database>(bank: Bank<D>) {
    let factory = D::totals(true);
    bank.install(&*factory).await;
    bank.append("account-1", &[deposited("alice", 1), deposited("alice", 2)])
        .await;
    bank.execute("UPDATE totals SET total = 99").await;
    let mut rebuild = bank.rebuild(&*factory).await;
    rebuild.run(&bank, 1).await.unwrap();
    bank.append("account-1", &[deposited("alice", 3)]).await;
    let swapped = rebuild.swap(&*factory, None).await.unwrap();
    assert_eq!(swapped.checkpoint.position, Position::new(3));
    bank.append("account-1", &[deposited("alice", 4)]).await;
    assert_eq!(bank.totals().await, ["alice|10"]);
}
