//! Many writers at once: of the conflicting ones exactly one wins.

use std::{collections::HashMap, sync::Arc};

use annals_core::{Append, AppendError, Appended, Store, Version};
use tokio::{sync::Barrier, task::JoinSet};

use super::{Subject, check::*, sample::*};

const RACERS: usize = 16;

/// Starts all appends at the same moment, on two handles in turn.
pub(super) async fn race(
    subject: &Subject,
    appends: Vec<Append>,
) -> Vec<Result<Appended, AppendError>> {
    let handles = [Arc::clone(&subject.store), subject.open_again().await];
    race_on(&handles, appends).await
}

pub(super) async fn race_on(
    handles: &[Arc<dyn Store>; 2],
    appends: Vec<Append>,
) -> Vec<Result<Appended, AppendError>> {
    let start = Arc::new(Barrier::new(appends.len()));
    let mut racers = JoinSet::new();
    for (index, append) in appends.into_iter().enumerate() {
        let store = Arc::clone(&handles[index % 2]);
        let start = Arc::clone(&start);
        racers.spawn(async move {
            start.wait().await;
            store.append(append).await
        });
    }
    racers.join_all().await
}

pub async fn of_writers_that_expect_the_same_version_exactly_one_wins(subject: Subject) {
    let handles = [Arc::clone(&subject.store), subject.open_again().await];
    let contested = stream("thing-1");
    for round in 0..subject.effort.rounds {
        let round = u64::try_from(round).unwrap();
        let appends = (0..RACERS)
            .map(|_| append("thing-1", exact(round), events(1)))
            .collect();
        let mut winners = 0;
        for result in race_on(&handles, appends).await {
            match result {
                Ok(appended) => {
                    winners += 1;
                    assert_eq!(appended.versions, versions(&[round + 1]));
                }
                lost => assert_conflict(lost, &contested, Version::new(round + 1)),
            }
        }
        assert_eq!(winners, 1, "one winner in round {round}");
    }
    let log = whole_log(&*subject.store).await;
    assert_eq!(
        log.len(),
        subject.effort.rounds,
        "the losers left nothing behind"
    );
}

pub async fn of_writers_that_create_a_stream_exactly_one_wins(subject: Subject) {
    let handles = [Arc::clone(&subject.store), subject.open_again().await];
    for round in 0..subject.effort.rounds.min(20) {
        let name = format!("thing-{round}");
        let appends = (0..RACERS)
            .map(|_| append(&name, annals_core::Expected::NoStream, events(2)))
            .collect();
        let results = race_on(&handles, appends).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for lost in results.into_iter().filter(Result::is_err) {
            assert_conflict(lost, &stream(&name), Version::new(2));
        }
    }
    whole_log(&*subject.store).await;
}

pub async fn writers_of_different_streams_all_win(subject: Subject) {
    let handles = [Arc::clone(&subject.store), subject.open_again().await];
    for round in 0..5 {
        let appends = (0..RACERS)
            .map(|racer| append(&format!("thing-{racer}"), exact(round * 3), events(3)))
            .collect();
        for result in race_on(&handles, appends).await {
            assert_eq!(
                result.expect("nobody is in the way").versions,
                versions(&[round * 3 + 3])
            );
        }
    }
    let log = whole_log(&*subject.store).await;
    assert_eq!(log.len(), RACERS * 15);
    for append in log.chunks(3) {
        assert!(
            append.iter().all(|event| event.stream == append[0].stream),
            "an append's events stand together"
        );
    }
}

pub async fn writers_that_expect_nothing_share_a_stream(subject: Subject) {
    let appends = (0..RACERS).map(|_| any("thing-1", 2)).collect();
    let mut reached: Vec<u64> = race(&subject, appends)
        .await
        .into_iter()
        .map(|result| result.expect("any version will do").versions[0].get())
        .collect();
    reached.sort_unstable();
    let each: Vec<u64> = (1..=16).map(|racer| racer * 2).collect();
    assert_eq!(reached, each, "each append answers its own version");
    assert_eq!(whole_log(&*subject.store).await.len(), RACERS * 2);
}

/// Transfers over pairs of streams in a ring: each stream is in two appends, in either order.
pub async fn overlapping_appends_over_several_streams_never_mix(subject: Subject) {
    let handles = [Arc::clone(&subject.store), subject.open_again().await];
    let mut committed = HashMap::<String, u64>::new();
    for _ in 0..subject.effort.rounds.min(20) {
        let mut appends = Vec::new();
        for racer in 0..8 {
            let (a, b) = (
                format!("thing-{racer}"),
                format!("thing-{}", (racer + 1) % 8),
            );
            let at = |name: &String| exact(committed.get(name).copied().unwrap_or(0));
            appends.push(append(&a, at(&a), events(1)).and(stream(&b), at(&b), events(1)));
        }
        let sent = appends.clone();
        let mut wins = Vec::new();
        for result in race_on(&handles, appends).await {
            match result {
                Ok(appended) => wins.push(appended.position),
                Err(error) => assert!(
                    matches!(error, AppendError::Conflict { .. }),
                    "a loser sees a conflict, not {error:?}"
                ),
            }
        }
        assert!(!wins.is_empty(), "somebody wins every round");
        let log = whole_log(&*subject.store).await;
        for append in sent {
            let there = append
                .writes
                .iter()
                .filter(|write| log.iter().any(|event| event.id == write.events[0].id))
                .inspect(|write| *committed.entry(write.stream.to_string()).or_default() += 1)
                .count();
            assert!(there == 0 || there == 2, "an append is there wholly or not");
        }
    }
}
