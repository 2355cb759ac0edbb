//! Closing a store: what was accepted is finished, what comes after is refused.

use std::{collections::HashSet, sync::Arc, time::Duration};

use annals_core::{AppendError, EventId, Expected, Position, StoreErrorKind};
use tokio::task::JoinSet;

use super::{Subject, check::*, sample::*};

pub async fn a_closed_store_refuses_appends(subject: Subject) {
    let store = &*subject.store;
    store.append(any("thing-1", 1)).await.unwrap();
    store.close().await;
    let refused = store.append(any("thing-1", 1)).await;
    assert!(is_closed(&refused), "{refused:?}");
    store.close().await;
    if subject.reopens {
        let again = subject.open_again().await;
        assert_eq!(whole_log(&*again).await.len(), 1);
    }
}

pub async fn closing_finishes_the_appends_it_accepted(subject: Subject) {
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let store = Arc::clone(&subject.store);
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            loop {
                let event = event("thing.done");
                let id = event.id;
                let name = format!("thing-{writer}");
                match store
                    .append(append(&name, Expected::Any, vec![event]))
                    .await
                {
                    Ok(_) => acknowledged.push(id),
                    Err(AppendError::Store(error)) if error.kind() == StoreErrorKind::Closed => {
                        return acknowledged;
                    }
                    Err(error) => panic!("an append is finished or refused: {error:?}"),
                }
            }
        });
    }
    subject.store.wait_beyond(position(20)).await.unwrap();
    subject.store.close().await;
    let acknowledged = writers.join_all().await.concat();
    assert!(acknowledged.len() >= 20);
    if subject.reopens {
        let again = subject.open_again().await;
        let there: HashSet<EventId> = ids(&whole_log(&*again).await).into_iter().collect();
        let acknowledged: HashSet<EventId> = acknowledged.into_iter().collect();
        assert_eq!(there, acknowledged, "no more and no less than was answered");
    }
}

pub async fn closing_wakes_those_who_wait(subject: Subject) {
    let store = Arc::clone(&subject.store);
    let waiter = tokio::spawn(async move { store.wait_beyond(Position::START).await });
    tokio::task::yield_now().await;
    subject.store.close().await;
    let answer = tokio::time::timeout(Duration::from_secs(10), waiter)
        .await
        .expect("the waiter is woken")
        .expect("the waiter does not panic");
    let error = answer.expect_err("there was nothing to wait for");
    assert_eq!(error.kind(), StoreErrorKind::Closed);
}
