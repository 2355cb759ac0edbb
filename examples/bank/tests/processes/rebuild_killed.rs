//! Kills of a rebuild while a server goes on.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use annals_testing::seed::Seed;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    bank::{Bank, Process, Store},
    client::{Connection, Request},
    history,
    log::{Standing, Storage},
};

crate::bank::on_each_store!(
    a_rebuild_killed_at_any_moment_leaves_a_whole_table;
    directly a_damaged_table_is_noticed_and_healed,
);

const KILLS: usize = 24;
const SAVERS: usize = 2_000;
/// Killed, it keeps the next one waiting for a second.
const REBUILD: [&str; 5] = ["projection", "rebuild", "user_balance", "--lease", "1"];
/// It goes no further than the live table; without, it overtakes that.
const VERIFY: [&str; 6] = [
    "projection",
    "rebuild",
    "user_balance",
    "--lease",
    "1",
    "--verify",
];

/// How long the parts of a rebuild take, to kill in each of them.
#[derive(Clone, Copy, Debug)]
struct Pace {
    whole: Duration,
    swap: Duration,
}

/// How many kills hit which part.
#[derive(Debug, Default)]
struct Hits {
    before_begin: usize,
    filling: usize,
    filled: usize,
    swapped: usize,
}

async fn a_rebuild_killed_at_any_moment_leaves_a_whole_table(store: Store) {
    let mut seed = Seed::printed();
    let bank = Bank::on(store).await;
    history::write(&bank, SAVERS).await;
    let server = bank.serve().await;
    let load = Load::begin(server.address, &mut seed);
    let mut storage = Storage::open(&bank).await;

    let pace = measure(&bank, &mut storage).await;
    let mut hits = Hits::default();
    while hits.kills() < store.share(KILLS) {
        let before = storage.standing().await;
        if let Some(after) = kill_one(&bank, &mut storage, &mut seed, pace).await {
            hits.add(&before, &after);
            // What it left behind is taken up.
            if after.rebuild.is_some() {
                rebuild(&bank).await;
                let whole = storage.check_table().await.unwrap();
                assert!(whole.epoch > after.epoch, "{after:?} {whole:?}");
            }
        }
    }
    println!("{pace:?} {hits:?}");
    let (writes, reads) = load.end().await;
    println!("meanwhile {writes} writes and {reads} reads went through");
    assert!(hits.filled + hits.swapped > 0, "no kill came near a swap");

    rebuild(&bank).await;
    let standing = storage.check_table().await.unwrap();
    assert_eq!(
        (standing.rebuild, storage.half_built_tables().await),
        (None, 0)
    );
    server.stop().await;
    bank.json(&["store", "verify"]).await;
}

/// The check that the kills are judged by finds every damage, and a rebuild heals it.
async fn a_damaged_table_is_noticed_and_healed(store: Store) {
    let bank = Bank::on(store).await;
    history::write(&bank, 20).await;
    Storage::open(&bank).await.check_table().await.unwrap();
    for damage in [
        "DELETE FROM user_balance WHERE owner = 'saver-7'",
        "DELETE FROM user_balance WHERE owner > 'saver-2'",
        "DELETE FROM user_balance",
        "UPDATE user_balance SET balance = balance + 1 WHERE owner = 'saver-7'",
        "UPDATE user_balance SET accounts = accounts + 1 WHERE owner = 'saver-7'",
        "UPDATE user_balance SET position = position - 1 WHERE owner = 'saver-7'",
        "INSERT INTO user_balance VALUES ('nobody', 0, 0, 'EUR', 1)",
        "UPDATE annals_projections SET position = position - 1",
        "UPDATE annals_projections SET position = position + 1",
        "DROP TABLE user_balance",
    ] {
        let mut storage = Storage::open(&bank).await;
        storage.run(damage).await;
        let noticed = storage.check_table().await;
        assert!(noticed.is_err(), "{damage}: {noticed:?}");
        bank.json(&VERIFY).await;
        let healed = Storage::open(&bank).await.check_table().await;
        assert!(healed.is_ok(), "{damage}: {healed:?}");
    }
}

/// Runs a rebuild to its end, which must find the live table to be right.
async fn rebuild(bank: &Bank) {
    let summary = bank.json(&VERIFY).await;
    assert_eq!(summary["differences"]["count"], 0, "{summary}");
}

/// Starts a rebuild, kills it, and looks at the table at once. `None` when it had ended before.
async fn kill_one(
    bank: &Bank,
    storage: &mut Storage,
    seed: &mut Seed,
    pace: Pace,
) -> Option<Standing> {
    let mut process = match seed.below(2) {
        0 => bank.start(&VERIFY),
        _ => bank.start(&REBUILD),
    };
    // Every other kill aims at the swap: it is short, and most is at stake.
    let within = if seed.below(2) == 0 {
        pace.whole
    } else {
        filled(storage, &mut process).await;
        pace.swap * 2
    };
    let micros = usize::try_from(within.as_micros()).unwrap();
    sleep(Duration::from_micros(
        u64::try_from(seed.below(micros)).unwrap(),
    ))
    .await;
    let ended = process.kill().await;
    let standing = storage.check_table().await.unwrap();
    match ended {
        None => Some(standing),
        Some(output) => {
            assert!(output.status.success(), "{output:?}");
            None
        }
    }
}

/// Waits until the new table is filled and about to be swapped in, or the rebuild has ended.
async fn filled(storage: &mut Storage, process: &mut Process) {
    while process.runs() && storage.standing().await.rebuild.unwrap_or(0) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

async fn measure(bank: &Bank, storage: &mut Storage) -> Pace {
    let started = Instant::now();
    let mut process = bank.start(&REBUILD);
    filled(storage, &mut process).await;
    let filled = started.elapsed();
    let output = process.end().await;
    assert!(output.status.success(), "{output:?}");
    let whole = started.elapsed();
    let swap = (whole - filled).max(Duration::from_millis(1));
    Pace { whole, swap }
}

impl Hits {
    fn add(&mut self, before: &Standing, after: &Standing) {
        *match after.rebuild {
            _ if after.epoch > before.epoch => &mut self.swapped,
            None => &mut self.before_begin,
            Some(0) => &mut self.filling,
            Some(_) => &mut self.filled,
        } += 1;
    }

    fn kills(&self) -> usize {
        self.before_begin + self.filling + self.filled + self.swapped
    }
}

/// Clients that write and read, and do not put up with anything but the right answer.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<(usize, usize)>,
}

impl Load {
    fn begin(address: SocketAddr, seed: &mut Seed) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..2 {
            clients.spawn(write(address, number, Arc::clone(&stop)));
        }
        clients.spawn(read(address, Seed::new(seed.number()), Arc::clone(&stop)));
        Self { stop, clients }
    }

    /// How many writes and reads there were.
    async fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let counts = self.clients.join_all().await.into_iter();
        counts.fold((0, 0), |(w, r), (writes, reads)| (w + writes, r + reads))
    }
}

/// Deposits for a user of its own, who must see each deposit at once.
async fn write(address: SocketAddr, number: usize, stop: Arc<AtomicBool>) -> (usize, usize) {
    let name = format!("writer-{number}");
    let mut connection = Connection::to(address).await.unwrap();
    let open = Request::post("/accounts", &name, &json!({ "owner": name, "id": name }));
    connection.send(&open).await.unwrap().ok(201);
    let mut balance = 0;
    while !stop.load(Ordering::Relaxed) {
        balance += 1;
        let deposit = Request::deposit(&name, 1, &format!("{name}/{balance}"));
        let position = connection.send(&deposit).await.unwrap();
        let position = position.position();
        let path = format!("/users/{name}/balance?at_least={position}");
        let view = connection.send(&Request::get(&path)).await.unwrap().ok(200);
        let expected = json!({
            "owner": name, "balance": balance, "accounts": 1, "position": position,
        });
        assert_eq!(view, expected);
    }
    (
        usize::try_from(balance).unwrap(),
        usize::try_from(balance).unwrap(),
    )
}

/// Reads what nobody changes.
async fn read(address: SocketAddr, mut seed: Seed, stop: Arc<AtomicBool>) -> (usize, usize) {
    let mut connection = Connection::to(address).await.unwrap();
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let path = format!("/users/saver-{}/balance", seed.below(SAVERS));
        let view = connection.send(&Request::get(&path)).await.unwrap().ok(200);
        assert_eq!(
            (&view["balance"], &view["accounts"]),
            (&history::BALANCE.into(), &1.into())
        );
        reads += 1;
        // The rebuild needs some of the machine, too.
        sleep(Duration::from_millis(2)).await;
    }
    (0, reads)
}
