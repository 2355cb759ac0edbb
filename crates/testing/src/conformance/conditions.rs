//! Conditional appends: "no matching event after what I have read".

use std::sync::Arc;

use annals_core::{Append, AppendError, Expected, Position, Query, QueryItem};

use super::{Subject, check::*, races::race_on, sample::*};

#[track_caller]
fn assert_failed_at<T: std::fmt::Debug>(result: Result<T, AppendError>, at: u64) {
    match result {
        Err(AppendError::ConditionFailed { position }) => assert_eq!(position.get(), at),
        other => panic!("expected a failed condition at {at}, got {other:?}"),
    }
}

fn seat(name: &str, seat: &str, after: u64) -> Append {
    append(name, Expected::Any, vec![tagged("seat.taken", &[seat])])
        .unless(with_tag(seat), position(after))
}

pub async fn a_condition_on_an_empty_log_holds(subject: Subject) {
    let store = &*subject.store;
    store.append(seat("thing-1", "seat:1", 0)).await.unwrap();
    assert_eq!(whole_log(store).await.len(), 1);
}

pub async fn a_condition_sees_what_was_appended_before(subject: Subject) {
    let store = &*subject.store;
    store.append(any("thing-0", 2)).await.unwrap();
    store.append(seat("thing-1", "seat:1", 0)).await.unwrap();
    store.append(any("thing-0", 1)).await.unwrap();
    let result = store.append(seat("thing-2", "seat:1", 0)).await;
    assert_failed_at(result, 3);
    let result = store.append(seat("thing-2", "seat:1", 2)).await;
    assert_failed_at(result, 3);
    assert_eq!(whole_log(store).await.len(), 4, "nothing was written");
}

pub async fn a_condition_names_the_first_event_in_its_way(subject: Subject) {
    let store = &*subject.store;
    for _ in 0..3 {
        let taken = vec![tagged("seat.taken", &["seat:1"])];
        store
            .append(append("thing-1", Expected::Any, taken))
            .await
            .unwrap();
    }
    assert_failed_at(store.append(seat("thing-2", "seat:1", 0)).await, 1);
    assert_failed_at(store.append(seat("thing-2", "seat:1", 1)).await, 2);
}

pub async fn a_condition_ignores_what_was_read_already(subject: Subject) {
    let store = &*subject.store;
    store.append(seat("thing-1", "seat:1", 0)).await.unwrap();
    store.append(seat("thing-2", "seat:1", 1)).await.unwrap();
    store.append(seat("thing-3", "seat:1", 99)).await.unwrap();
    assert_eq!(whole_log(store).await.len(), 3);
}

pub async fn a_condition_with_a_query_for_everything_asks_for_an_unchanged_log(subject: Subject) {
    let store = &*subject.store;
    store.append(any("thing-1", 2)).await.unwrap();
    let stale = any("thing-1", 1).unless(Query::any(), position(1));
    assert_failed_at(store.append(stale).await, 2);
    let fresh = any("thing-1", 1).unless(Query::any(), position(2));
    store.append(fresh).await.unwrap();
}

pub async fn a_condition_selects_by_type_category_and_all_tags(subject: Subject) {
    let store = &*subject.store;
    let taken = vec![tagged("seat.taken", &["seat:1", "row:a"])];
    store
        .append(append("thing-1", Expected::Any, taken))
        .await
        .unwrap();
    let item = QueryItem::default;
    let in_the_way = [
        item().event_type(event_type("seat.taken")),
        item().category(annals_core::Category::new("thing").unwrap()),
        item().tag(tag("row:a")).tag(tag("seat:1")),
    ];
    let harmless = [
        item().event_type(event_type("seat.freed")),
        item().category(annals_core::Category::new("other").unwrap()),
        item().tag(tag("row:a")).tag(tag("seat:2")),
        item()
            .event_type(event_type("seat.freed"))
            .tag(tag("row:a")),
    ];
    for item in in_the_way {
        let append = any("other-1", 1).unless(item.clone().into(), Position::START);
        assert!(
            matches!(
                store.append(append).await,
                Err(AppendError::ConditionFailed { .. })
            ),
            "{item:?} is in the way"
        );
    }
    for (index, item) in harmless.into_iter().enumerate() {
        let append = any(&format!("next_{index}-1"), 1).unless(item.into(), Position::START);
        store.append(append).await.unwrap();
    }
}

pub async fn a_condition_does_not_see_the_appends_own_events(subject: Subject) {
    let store = &*subject.store;
    let own = vec![
        tagged("seat.taken", &["seat:1"]),
        tagged("seat.taken", &["seat:1"]),
    ];
    let append = append("thing-1", Expected::Any, own).unless(with_tag("seat:1"), Position::START);
    assert_eq!(store.append(append).await.unwrap().position, position(2));
}

pub async fn both_the_expectation_and_the_condition_must_hold(subject: Subject) {
    let store = &*subject.store;
    store.append(seat("thing-1", "seat:1", 0)).await.unwrap();
    let stale = append("thing-1", exact(0), events(1)).unless(with_tag("seat:9"), position(0));
    assert_conflict(
        store.append(stale).await,
        &stream("thing-1"),
        annals_core::Version::new(1),
    );
    let failing = append("thing-1", exact(1), events(1)).unless(with_tag("seat:1"), position(0));
    assert_failed_at(store.append(failing).await, 1);
    assert_eq!(whole_log(store).await.len(), 1);
}

pub async fn of_racing_appends_under_one_condition_exactly_one_wins(subject: Subject) {
    let handles = [Arc::clone(&subject.store), subject.open_again().await];
    for round in 0..subject.effort.rounds {
        let taken = format!("seat:{round}");
        let appends = (0..16)
            .map(|racer| seat(&format!("thing-{racer}"), &taken, 0))
            .collect();
        let results = race_on(&handles, appends).await;
        let winner = results.iter().flatten().next().map(|won| won.position);
        let winner = winner.expect("somebody wins every round").get();
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for lost in results.into_iter().filter(Result::is_err) {
            assert_failed_at(lost, winner);
        }
    }
    let log = whole_log(&*subject.store).await;
    assert_eq!(log.len(), subject.effort.rounds);
}

pub async fn racing_appends_under_disjoint_conditions_all_win(subject: Subject) {
    let handles = [Arc::clone(&subject.store), subject.open_again().await];
    for round in 0..subject.effort.rounds.min(10) {
        let appends = (0..16)
            .map(|racer| {
                let own = format!("seat:{round}-{racer}");
                seat(&format!("thing-{racer}"), &own, 0)
            })
            .collect();
        for result in race_on(&handles, appends).await {
            result.expect("no other append has this tag");
        }
    }
    whole_log(&*subject.store).await;
}
