//! Several processes that append to one log.

use std::{
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use annals::{Annals, App, postgres::PostgresOptions, postgres::PostgresStore};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{
    rounds::{Random, Rounds},
    server::Server,
};
use crate::{
    Extent, Outcome,
    account::{Account, AccountCommand, AccountId},
    fill,
    measure::{median, per_second, quantile, ratio},
    report::{Bound, Contestant, Section, Target},
};

const ACCOUNTS: u64 = 1_000;
const NODES: u64 = 4;
/// How many callers each node has.
const CALLERS: u64 = 64;
const AMOUNT: i64 = 100;

/// What a node did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Share {
    per_second: f64,
    p50: f64,
    p99: f64,
}

/// A node that waits to be told to begin.
struct Node {
    _child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// Lets one node and several take turns.
pub(crate) async fn measure(server: &Server, extent: &Extent) -> Outcome<Section> {
    let millis = if extent.quick { 500 } else { 3_000 };
    let schema = "nodes".to_owned();
    let store = server.store(&schema).await?;
    fill::events(&store, ACCOUNTS, ACCOUNTS).await?;
    annals::EventStore::close(&store).await;
    server.vacuum(&schema).await?;
    let url = server.store_url(&schema);
    let (mut one, mut several) = (Rounds::default(), Rounds::default());
    let mut each = vec![Vec::new(); usize::try_from(NODES)?];
    together(&url, 1, millis / 2).await?;
    for _ in 0..extent.rounds {
        let alone = together(&url, 1, millis).await?;
        add(&mut one, &alone);
        let shares = together(&url, NODES, millis).await?;
        add(&mut several, &shares);
        for (p99, share) in each.iter_mut().zip(&shares) {
            p99.push(share.p99);
        }
    }
    server.remove(&[schema]).await?;
    let each: Vec<_> = each
        .iter()
        .map(|p99| format!("{:.1}", median(p99)))
        .collect();
    let notes = format!("p99 {} ms", each.join(", "));
    Ok(Section {
        name: "postgres nodes",
        about: format!("deposits by {CALLERS} callers in each process, to accounts of its own"),
        unit: "events/s",
        targets: vec![Target::new(
            "four processes : one",
            ratio(&several.rates, &one.rates),
            "x",
            Bound::AtLeast(1.0),
        )],
        contestants: vec![
            one.contestant("one process"),
            Contestant::new("four processes", several.rates, notes),
        ],
    })
}

fn add(rounds: &mut Rounds, shares: &[Share]) {
    let rates = shares.iter().map(|share| share.per_second);
    rounds.rates.push(rates.sum());
    let worst = |of: fn(&Share) -> f64| shares.iter().map(of).fold(0.0, f64::max);
    rounds.p50.push(worst(|share| share.p50));
    rounds.p99.push(worst(|share| share.p99));
}

/// Lets so many processes append at the same time.
async fn together(url: &str, nodes: u64, millis: u64) -> Outcome<Vec<Share>> {
    let mut running = Vec::new();
    for node in 0..nodes {
        running.push(Node::start(url, [node, nodes, millis]).await?);
    }
    for node in &mut running {
        node.stdin.write_all(b"go\n").await?;
    }
    let mut shares = Vec::new();
    for mut node in running {
        let mut answer = String::new();
        node.stdout.read_to_string(&mut answer).await?;
        shares.push(serde_json::from_str(&answer)?);
    }
    Ok(shares)
}

impl Node {
    /// Starts a process and waits until it is ready.
    async fn start(url: &str, share: [u64; 3]) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["postgres", "--node", url, "--share"])
            .args(share.map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().ok_or("no standard input")?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut ready = String::new();
        stdout.read_line(&mut ready).await?;
        if ready != "ready\n" {
            return Err("a node did not start".into());
        }
        Ok(Self {
            _child: child,
            stdin,
            stdout,
        })
    }
}

/// What a node does: warms up, waits for a line, appends, and prints what came of it.
pub(crate) async fn run(url: &str, node: u64, nodes: u64, millis: u64) -> Outcome<()> {
    let store = PostgresStore::open(url, PostgresOptions::default()).await?;
    let app = Annals::on(Arc::new(store)).start().await?;
    let range = Range {
        first: node * ACCOUNTS / nodes,
        count: ACCOUNTS / nodes,
    };
    for account in 0..range.count {
        let id = AccountId::numbered(range.first + account)?;
        app.load::<Account>(&id).await?;
    }
    // Its first appends wait for a connection, and the server for its catalogue.
    appends(&app, range, Duration::from_millis(millis / 10)).await?;
    println!("ready");
    let mut line = String::new();
    BufReader::new(tokio::io::stdin())
        .read_line(&mut line)
        .await?;
    let (elapsed, latencies) = appends(&app, range, Duration::from_millis(millis)).await?;
    let share = Share {
        per_second: per_second(u64::try_from(latencies.len())?, elapsed),
        p50: quantile(&latencies, 0.5),
        p99: quantile(&latencies, 0.99),
    };
    println!("{}", serde_json::to_string(&share)?);
    app.shutdown().await;
    Ok(())
}

/// Lets all callers append for a while; answers how long each append took, in milliseconds.
async fn appends(app: &App, range: Range, length: Duration) -> Outcome<(Duration, Vec<f64>)> {
    let started = Instant::now();
    let end = started + length;
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| tokio::spawn(call(app.clone(), caller, range, end)))
        .collect();
    let mut latencies = Vec::new();
    for caller in callers {
        latencies.extend(caller.await??);
    }
    Ok((started.elapsed(), latencies))
}

/// The accounts that one node deposits to.
#[derive(Clone, Copy, Debug)]
struct Range {
    first: u64,
    count: u64,
}

async fn call(app: App, caller: u64, range: Range, end: Instant) -> Outcome<Vec<f64>> {
    let mut latencies = Vec::new();
    let mut random = Random::of(caller);
    while Instant::now() < end {
        let id = AccountId::numbered(range.first + random.below(range.count))?;
        let started = Instant::now();
        let command = AccountCommand::Deposit { amount: AMOUNT };
        app.execute::<Account>(&id, command).await?;
        latencies.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(latencies)
}
