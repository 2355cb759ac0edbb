//! Kills of a server that carries out transfers: at random under load, and at each of their steps.

use std::time::Duration;

use annals_testing::seed::Seed;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    bank::{SOON, Store},
    client::Connection,
    database::Database,
    log::Storage,
    transfers::{
        Client, LOOK, NOBODY, Stage, Wish, account, assert_nothing_in_flight, ended, funded,
        settle, stages,
    },
};

crate::bank::on_each_store!(
    every_transfer_ends_well_however_often_the_server_is_killed,
    a_transfer_ends_well_when_the_server_is_killed_at_any_of_its_steps,
    a_doubled_compensation_is_noticed,
);

const ROUNDS: usize = 8;
const CLIENTS: usize = 64;
/// There are at least so many transfers.
const TRANSFERS: usize = 2_000;
/// The server is killed within this time, in milliseconds.
const LIVES_FOR: usize = 1_000;
/// A server that is so slow that this many lives are not enough is broken.
const LIVES: usize = 100;

async fn every_transfer_ends_well_however_often_the_server_is_killed(store: Store) {
    let (bank, mut storage) = funded(store).await;
    let mut seed = Seed::printed();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|name| Client::new(name, &mut seed))
        .collect();
    let (mut interrupted, mut kills, mut asked) = (0, 0, 0);
    // A slow machine may need some more rounds before one hits a transfer.
    while kills < ROUNDS || interrupted == 0 || asked < TRANSFERS {
        assert!(
            kills < LIVES,
            "{kills} servers took {asked} transfers, {interrupted} of them in flight at a kill"
        );
        kills += 1;
        let server = bank.serve().await;
        let mut running = JoinSet::new();
        for mut client in clients.drain(..) {
            running.spawn(async move {
                client.run(server.address).await;
                client
            });
        }
        let lifetime = u64::try_from(seed.below(LIVES_FOR)).unwrap();
        sleep(Duration::from_millis(lifetime)).await;
        server.kill().await;
        clients = running.join_all().await;
        asked = clients.iter().map(|client| client.acknowledged.len()).sum();
        let stages = stages(&mut storage).await.unwrap().into_values();
        interrupted += stages.filter(|stage| *stage == Stage::Sent).count();
    }
    let transfers = settle(&bank, &mut storage, clients).await;
    println!("{kills} kills, {transfers} transfers, {interrupted} in flight at a kill");
}

/// An instant of a transfer: right before an append, while another event stands in the log for
/// the so-manieth time.
struct Step {
    before: &'static str,
    after: (&'static str, i64),
    to: usize,
}

const SOMEBODY: usize = 1;
const NONE: usize = usize::MAX;

const fn step(before: &'static str, after: &'static str, times: i64, to: usize) -> Step {
    Step {
        before,
        after: (after, times),
        to,
    }
}

/// Between two of its appends nothing is kept of a transfer but the log, so these are all the
/// instants at which a kill can make a difference.
const STEPS: [Step; 7] = [
    step("account.transfer_sent", "saga.sent", 1, SOMEBODY),
    step("saga.succeeded", "account.transfer_sent", 1, SOMEBODY),
    step("account.transfer_received", "saga.sent", 2, SOMEBODY),
    step("saga.completed", "account.transfer_received", 1, SOMEBODY),
    step("saga.rejected", "saga.sent", 2, NONE),
    step("account.transfer_returned", "saga.compensating", 1, NONE),
    step("saga.compensated", "account.transfer_returned", 1, NONE),
];

async fn a_transfer_ends_well_when_the_server_is_killed_at_any_of_its_steps(store: Store) {
    let (bank, mut storage) = funded(store).await;
    for (number, step) in STEPS.iter().enumerate() {
        let wish = Wish {
            id: format!("step-{number}"),
            from: account(0),
            to: match step.to {
                NONE => NOBODY.to_owned(),
                to => account(to),
            },
            amount: 7,
        };
        let wanted = count(&mut storage, step.after.0).await + step.after.1;
        refuse(&mut storage, step.before).await;
        let server = bank.serve().await;
        let mut connection = Connection::to(server.address).await.unwrap();
        connection.send(&wish.request()).await.unwrap().ok(202);
        let late = Instant::now() + SOON;
        while count(&mut storage, step.after.0).await < wanted {
            assert!(Instant::now() < late, "{} does not come", step.after.0);
            sleep(LOOK).await;
        }
        server.kill().await;
        accept(&mut storage).await;
        let left = stages(&mut storage).await.unwrap().remove(&wish.id);

        let server = bank.serve().await;
        let (status, stage) = wish.end();
        assert_eq!(ended(&server, &wish.id).await, status, "{}", step.before);
        server.stop().await;
        let stages = stages(&mut storage).await.unwrap();
        assert_eq!(stages[&wish.id], stage, "left as {left:?}");
        assert_nothing_in_flight(&bank).await;
    }
}

/// Has the store refuse each append with an event of this type.
async fn refuse(storage: &mut Storage, event_type: &str) {
    let trigger = match storage.database {
        Database::Sqlite(_) => format!(
            "CREATE TRIGGER step BEFORE INSERT ON events WHEN NEW.type = '{event_type}' \
             BEGIN SELECT RAISE(ABORT, 'not now'); END"
        ),
        Database::Postgres(_) => format!(
            "CREATE FUNCTION not_now() RETURNS trigger LANGUAGE plpgsql \
             AS $$ BEGIN RAISE 'not now'; END $$; \
             CREATE TRIGGER step BEFORE INSERT ON events FOR EACH ROW \
             WHEN (NEW.type = '{event_type}') EXECUTE FUNCTION not_now()"
        ),
    };
    storage.run(trigger).await;
}

/// Has the store take all appends again.
async fn accept(storage: &mut Storage) {
    let drop = match storage.database {
        Database::Sqlite(_) => "DROP TRIGGER step",
        Database::Postgres(_) => "DROP FUNCTION not_now CASCADE",
    };
    storage.run(drop).await;
}

async fn count(storage: &mut Storage, event_type: &str) -> i64 {
    let types: Vec<(String,)> = storage
        .database
        .rows("SELECT type FROM events", &[])
        .await
        .unwrap();
    let count = types.iter().filter(|(found,)| found == event_type).count();
    i64::try_from(count).unwrap()
}

/// The checks that the kills are judged by find money that comes back twice.
async fn a_doubled_compensation_is_noticed(store: Store) {
    let (bank, mut storage) = funded(store).await;
    let server = bank.serve().await;
    let wish = Wish {
        id: "t".to_owned(),
        from: account(0),
        to: NOBODY.to_owned(),
        amount: 7,
    };
    let mut connection = Connection::to(server.address).await.unwrap();
    connection.send(&wish.request()).await.unwrap().ok(202);
    assert_eq!(ended(&server, "t").await, "compensated");
    server.stop().await;
    assert_eq!(stages(&mut storage).await.unwrap()["t"], Stage::Returned);
    assert_nothing_in_flight(&bank).await;

    storage.double_last_event("account.transfer_returned").await;
    let noticed = stages(&mut storage).await.unwrap_err();
    assert!(noticed.contains("Returned"), "{noticed}");
    let verified = bank.start(&["store", "verify", "--json"]).end().await;
    assert!(!verified.status.success());
    let report = String::from_utf8_lossy(&verified.stdout);
    let wrong = "transfer `t` is returned, but was returned before";
    assert!(report.contains(wrong), "{report}");
}
