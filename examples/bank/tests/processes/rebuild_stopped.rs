//! One rebuild at a time, and Ctrl-C.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::{
    bank::{Bank, SOON, Store},
    history,
    log::{Standing, Storage},
};

crate::bank::on_each_store!(
    a_second_rebuild_is_refused_and_told_who_is_at_it,
    an_interrupted_rebuild_keeps_what_it_has_built_and_is_resumed,
);

/// Enough for several pages, after each of which a rebuild looks whether it should stop.
const SAVERS: usize = 4_000;

async fn a_second_rebuild_is_refused_and_told_who_is_at_it(store: Store) {
    let bank = Bank::on(store).await;
    history::write(&bank, SAVERS).await;
    let mut storage = Storage::open(&bank).await;
    let rebuild = ["projection", "rebuild", "user_balance", "--lease"];
    let first = bank.start(&[&rebuild[..], &["600"]].concat());
    let begun = begun(&mut storage).await;
    // Frozen, it neither gets any further nor renews its lease; the lock sees to it that it has
    // not ended by then.
    storage.database.lock_projections().await;
    first.signal("STOP").await;
    storage.run("ROLLBACK").await;

    let second = bank.start(&[&rebuild[..], &["1"]].concat()).end().await;
    let error = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{error}");
    let owner = begun.rebuilder.unwrap();
    let expected = format!("projection `user_balance` is being rebuilt by {owner} since ");
    assert!(error.contains(&expected), "{error}");
    assert_eq!(storage.standing().await.epoch, begun.epoch);

    first.signal("CONT").await;
    let output = first.end().await;
    assert!(output.status.success(), "{output:?}");
    let whole = storage.check_table().await.unwrap();
    assert!(whole.epoch > begun.epoch);
    assert_eq!(
        (whole.rebuild, storage.half_built_tables().await),
        (None, 0)
    );
}

async fn an_interrupted_rebuild_keeps_what_it_has_built_and_is_resumed(store: Store) {
    let bank = Bank::on(store).await;
    history::write(&bank, SAVERS).await;
    let mut storage = Storage::open(&bank).await;
    let rebuild = ["projection", "rebuild", "user_balance", "--verify"];
    let process = bank.start(&rebuild);
    let begun = begun(&mut storage).await;
    process.signal("INT").await;
    let output = process.end().await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("run it again to go on from there"), "{said}");

    let kept = storage.check_table().await.unwrap();
    let reached = kept.rebuild.expect("the rebuild is kept");
    let events = storage.head().await;
    assert!(0 < reached && reached < events, "{reached} of {events}");
    assert_eq!(
        (kept.epoch, storage.half_built_tables().await),
        (begun.epoch, 1)
    );

    let resumed = bank.json(&rebuild).await;
    assert_eq!(resumed["resumed"], true, "{resumed}");
    assert_eq!(resumed["events"], events - reached, "{resumed}");
    assert_eq!(resumed["differences"]["count"], 0, "{resumed}");
    let whole = storage.check_table().await.unwrap();
    assert_eq!(
        (whole.rebuild, storage.half_built_tables().await),
        (None, 0)
    );
}

/// Waits until a rebuild has begun.
async fn begun(storage: &mut Storage) -> Standing {
    let begun = async {
        loop {
            let standing = storage.standing().await;
            if standing.rebuild.is_some() {
                return standing;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, begun).await.expect("the rebuild begins soon")
}
