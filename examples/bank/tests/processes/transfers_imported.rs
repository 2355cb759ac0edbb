//! Kills of an import amid its transfers.

use std::time::Duration;

use annals_testing::seed::Seed;
use tokio::time::{Instant, sleep};

use crate::{
    bank::{Bank, SOON, Store},
    courses::{Stage, stages},
    log::Storage,
    transfers::{LOOK, NOBODY, Wish, assert_nothing_in_flight, funded},
};

crate::bank::on_each_store!(an_import_killed_amid_its_transfers_carries_each_out_once);

const ROWS: usize = 300;
const KILLS: usize = 5;
/// Each life gets so many transfers further, and is killed within this many milliseconds then.
const PROGRESS: usize = 20;
const LIVES_ON_FOR: usize = 50;

async fn an_import_killed_amid_its_transfers_carries_each_out_once(store: Store) {
    let (bank, mut storage) = funded(store).await;
    let mut seed = Seed::printed();
    let (path, to_nobody) = write(&bank, &mut seed);
    let mut interrupted = 0;
    let kills = store.share(KILLS);
    for _ in 0..kills {
        let wanted = begun(&mut storage).await + PROGRESS;
        let import = bank.start(&["import", &path, "--json"]);
        let late = Instant::now() + SOON;
        while begun(&mut storage).await < wanted {
            assert!(Instant::now() < late, "the import does not get on");
            sleep(LOOK).await;
        }
        let lifetime = u64::try_from(seed.below(LIVES_ON_FOR)).unwrap();
        sleep(Duration::from_millis(lifetime)).await;
        let ended = import.kill().await;
        assert!(ended.is_none(), "the import ended before: {ended:?}");
        let stages = stages(&mut storage).await.unwrap().into_values();
        interrupted += stages.filter(|stage| *stage == Stage::Sent).count();
    }

    let summary = bank.json(&["import", &path]).await;
    assert_eq!(summary["rows"], ROWS, "{summary}");
    let stages = stages(&mut storage).await.unwrap();
    let are = |wanted| stages.values().filter(|stage| **stage == wanted).count();
    assert_eq!(
        (are(Stage::Received), are(Stage::Returned), are(Stage::Sent)),
        (ROWS - to_nobody, to_nobody, 0)
    );
    storage.assert_dense().await;
    assert_nothing_in_flight(&bank).await;

    let again = bank.json(&["import", &path]).await;
    assert_eq!(again["applied"], 0, "{again}");
    assert_eq!(begun(&mut storage).await, ROWS);
    println!("{kills} kills, {ROWS} transfers, {interrupted} in flight at a kill");
}

/// Writes a file of transfers, and answers where it is and how many of them go to nobody.
fn write(bank: &Bank, seed: &mut Seed) -> (String, usize) {
    let mut csv = "time,type,account,owner,counterparty,amount\n".to_owned();
    let mut to_nobody = 0;
    for _ in 0..ROWS {
        let Wish {
            from, to, amount, ..
        } = Wish::invent(String::new(), seed);
        to_nobody += usize::from(to == NOBODY);
        csv.push_str(&format!(
            "2026-03-01T09:00:00Z,transfer,{from},,{to},{amount}\n"
        ));
    }
    (bank.write("transfers.csv", &csv), to_nobody)
}

/// How many transfers have left their account.
async fn begun(storage: &mut Storage) -> usize {
    stages(storage).await.unwrap().len()
}
