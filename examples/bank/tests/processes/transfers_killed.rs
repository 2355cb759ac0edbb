//! Kills of a server that carries out transfers, at random under load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use annals_testing::seed::Seed;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    bank::{Bank, SOON, Server, Store},
    client::Connection,
    courses::{Stage, stages, timers},
    log::Storage,
    transfers::{
        Client, Ends, FROZEN, LOOK, NOBODY, Wish, account, assert_nothing_in_flight, ended, freeze,
        funded, settle,
    },
};

crate::bank::on_each_store!(
    every_transfer_ends_well_however_often_the_server_is_killed;
    directly a_doubled_compensation_is_noticed,
    a_deadline_that_fires_twice_or_never_is_noticed,
);

const CLIENTS: usize = 64;
/// What happens in each round: so many transfers are asked for, and begun long before they are carried
/// out, each of which may take so many seconds; less than all that are begun take, and more.
const ROUNDS: [(usize, u64); 5] = [
    (4_096, 45),
    (1_024, 6),
    (1_024, 45),
    (1_024, 6),
    (1_024, 45),
];
/// So many are under way at once, before one of the kills.
const THOUSANDS: usize = 2_000;
/// The server is killed once a random share of them is begun, within this time, in milliseconds.
const LIVES_ON_FOR: usize = 2_000;

async fn every_transfer_ends_well_however_often_the_server_is_killed(store: Store) {
    let (bank, mut storage) = funded(store).await;
    freeze(&bank).await;
    let mut seed = Seed::printed();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|name| Client::new(name, &mut seed))
        .collect();
    let mut at_kills = Standing::default();
    let rounds = match store {
        Store::Sqlite | Store::Postgres => &ROUNDS[..],
        Store::ThroughPgBouncer | Store::OneConnection => &ROUNDS[1..3],
    };
    for &(burst, deadline) in rounds {
        let server = bank.serve_within(deadline).await;
        clients = strike(server, burst, clients, &mut seed).await;
        at_kills.add(&mut storage).await;
    }
    let ends = settle(&bank, &mut storage, clients).await;
    let asked: usize = rounds.iter().map(|(burst, _)| burst).sum();
    let thousands = rounds.iter().any(|(burst, _)| *burst > THOUSANDS);
    let rounds = rounds.len();
    println!("{rounds} kills, {ends:?}, at the kills {at_kills:?}");
    let Ends {
        transfers,
        completed,
        late,
    } = ends;
    assert!(transfers >= asked / 2, "{transfers} transfers");
    assert!(completed >= transfers / 20, "{completed} completed");
    assert!(
        late >= transfers / 10,
        "{late} of {transfers} ended by their deadline"
    );
    let Standing {
        under_way,
        in_flight,
        pending,
        most_under_way,
    } = at_kills;
    assert!(
        !thousands || most_under_way >= THOUSANDS,
        "{most_under_way} at once"
    );
    assert!(under_way >= 100 * rounds, "{under_way} under way at a kill");
    assert!(in_flight >= 2 * rounds, "{in_flight} in flight at a kill");
    assert!(
        pending >= 100 * rounds,
        "{pending} deadlines pending at a kill"
    );
}

/// Sends a server a burst of transfers, and kills it at some point.
async fn strike(
    server: Server,
    burst: usize,
    clients: Vec<Client>,
    seed: &mut Seed,
) -> Vec<Client> {
    let taken = Arc::new(AtomicUsize::new(0));
    let mut running = JoinSet::new();
    for mut client in clients {
        let taken = Arc::clone(&taken);
        running.spawn(async move {
            let sent = client.burst(server.address, burst / CLIENTS, &taken);
            sent.await;
            client
        });
    }
    // The largest burst nearly to its end, so that thousands are under way.
    let least = if burst > THOUSANDS {
        7 * burst / 8
    } else {
        burst / 4
    };
    let wanted = least + seed.below(burst - least);
    let (mut seen, mut late) = (0, Instant::now() + SOON);
    while seen < wanted {
        let now = taken.load(Ordering::SeqCst);
        if now > seen {
            (seen, late) = (now, Instant::now() + SOON);
        }
        assert!(Instant::now() < late, "no transfers are taken any more");
        sleep(LOOK).await;
    }
    let lives_on = u64::try_from(seed.below(LIVES_ON_FOR)).unwrap();
    sleep(Duration::from_millis(lives_on)).await;
    server.kill().await;
    running.join_all().await
}

/// What the kills hit.
#[derive(Debug, Default)]
struct Standing {
    /// Transfers that had not ended.
    under_way: usize,
    /// Those whose money had left one account and not arrived anywhere.
    in_flight: usize,
    /// Those whose deadline was yet to come.
    pending: usize,
    /// How many had not ended at the kill that hit the most.
    most_under_way: usize,
}

impl Standing {
    async fn add(&mut self, storage: &mut Storage) {
        let timers = timers(storage).await.unwrap();
        let under_way = timers.values().filter(|timer| !timer.ended).count();
        self.under_way += under_way;
        self.most_under_way = self.most_under_way.max(under_way);
        self.pending += timers.values().filter(|timer| timer.pending()).count();
        let stages = stages(storage).await.unwrap().into_values();
        self.in_flight += stages.filter(|stage| *stage == Stage::Sent).count();
    }
}

/// A transfer that has ended as it must, on a server that has stopped.
async fn carried_out(bank: &Bank, to: &str) {
    let server = bank.serve_within(1).await;
    let wish = Wish {
        id: "t".to_owned(),
        from: account(0),
        to: to.to_owned(),
        amount: 7,
    };
    let mut connection = Connection::to(server.address).await.unwrap();
    connection.send(&wish.request()).await.unwrap().ok(202);
    assert_eq!(ended(&server, "t").await, "compensated");
    server.stop().await;
    assert_nothing_in_flight(bank).await;
}

/// The checks that the kills are judged by find money that comes back twice.
async fn a_doubled_compensation_is_noticed(store: Store) {
    let (bank, mut storage) = funded(store).await;
    carried_out(&bank, NOBODY).await;
    assert_eq!(stages(&mut storage).await.unwrap()["t"], Stage::Returned);

    storage.double_last_event("account.transfer_returned").await;
    let noticed = stages(&mut storage).await.unwrap_err();
    assert!(noticed.contains("Returned"), "{noticed}");
    let verified = bank.start(&["store", "verify", "--json"]).end().await;
    assert!(!verified.status.success());
    let report = String::from_utf8_lossy(&verified.stdout);
    let wrong = "transfer `t` is returned, but was returned before";
    assert!(report.contains(wrong), "{report}");
}

/// And a deadline that is reached twice, or not at all though its transfer has ended.
async fn a_deadline_that_fires_twice_or_never_is_noticed(store: Store) {
    let (bank, mut storage) = funded(store).await;
    freeze(&bank).await;
    carried_out(&bank, FROZEN).await;
    assert!(timers(&mut storage).await.unwrap()["t"].fired());

    storage.double_last_event("saga.fired").await;
    let noticed = timers(&mut storage).await.unwrap_err();
    assert!(noticed.starts_with("saga.fired of transfer t"), "{noticed}");
    storage
        .run("DELETE FROM events WHERE type = 'saga.fired'")
        .await;
    let noticed = timers(&mut storage).await.unwrap_err();
    assert!(
        noticed.starts_with("saga.compensated of transfer t"),
        "{noticed}"
    );
}
