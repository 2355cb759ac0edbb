//! Conditional appends: of those that exclude each other exactly one commits, others all do.

use std::{sync::Arc, time::Instant};

use annals_core::{
    Append, AppendError, EventStore as _, Expected, LogRead, Position, Query, QueryItem, Tag,
};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::{
    postgres::TestSchema,
    processes::{event, to},
    seed::Seed,
};
use tokio::{sync::Barrier, task::JoinSet};

const RACERS: usize = 16;
/// Handles of their own, as different processes have; the racers of one share its commits.
const STORES: usize = 4;

#[derive(Clone, Copy)]
enum Way {
    /// The condition is part of the append.
    Condition,
    /// First looks, then appends.
    LookFirst,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_racers_for_a_tag_exactly_one_commits() {
    const ROUNDS: usize = 1_000;
    let started = Instant::now();
    let winners = race(ROUNDS, Way::Condition, |round, _| round.to_string()).await;
    assert_eq!(winners, vec![1; ROUNDS]);
    println!(
        "{RACERS} racers x {ROUNDS} rounds in {:.1?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racers_for_different_tags_all_commit() {
    const ROUNDS: usize = 100;
    let own_tag = |round, racer| format!("{round}-{racer}");
    let winners = race(ROUNDS, Way::Condition, own_tag).await;
    assert_eq!(winners, vec![RACERS; ROUNDS]);
}

/// A control for the tests above.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn looking_before_appending_lets_several_win() {
    let winners = race(30, Way::LookFirst, |round, _| round.to_string()).await;
    assert!(winners.iter().any(|winners| *winners > 1), "{winners:?}");
}

/// How many racers commit in each round; checks that the log has as many.
async fn race(rounds: usize, way: Way, tag: fn(usize, usize) -> String) -> Vec<usize> {
    let schema = TestSchema::create().await;
    let mut stores = Vec::new();
    for _ in 0..STORES {
        let store = PostgresStore::open(&schema.url(), PostgresOptions::default()).await;
        stores.push(store.expect("the store opens"));
    }
    let mut seed = Seed::printed();
    let start = Arc::new(Barrier::new(RACERS));
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let store = stores[racer % STORES].clone();
        let start = Arc::clone(&start);
        let mut seed = Seed::new(seed.number());
        racers.spawn(async move {
            let mut won = Vec::with_capacity(rounds);
            for round in 0..rounds {
                let tag = Tag::new("key", tag(round, racer)).expect("a valid tag");
                let stream = format!("racer-{racer}");
                let event = event(&mut seed, std::slice::from_ref(&tag));
                let append = to(&stream, Expected::Any, vec![event]);
                start.wait().await;
                won.push(wins(&store, way, append, tag).await);
            }
            won
        });
    }
    let outcomes = racers.join_all().await;
    let winners: Vec<_> = (0..rounds)
        .map(|round| outcomes.iter().filter(|won| won[round]).count())
        .collect();
    let head = stores[0].head().await.expect("the log can be read");
    assert_eq!(head.get(), winners.iter().sum::<usize>() as u64);
    for store in stores {
        store.close().await;
    }
    winners
}

async fn wins(store: &PostgresStore, way: Way, append: Append, tag: Tag) -> bool {
    let taken = Query::from(QueryItem::default().tag(tag));
    let append = match way {
        Way::Condition => append.unless(taken, Position::START),
        Way::LookFirst => {
            let read = LogRead::after(Position::START, 1).matching(taken);
            let page = store.read_log(read).await.expect("the log can be read");
            if !page.events.is_empty() {
                return false;
            }
            append
        }
    };
    match store.append(append).await {
        Ok(_) => true,
        Err(AppendError::ConditionFailed { .. }) => false,
        Err(error) => panic!("an append failed: {error:?}"),
    }
}
