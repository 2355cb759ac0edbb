//! Selecting events by category, type and tags.

use annals_core::{Category, Expected, LogRead, Position, Query, QueryItem, Store};

use super::{Subject, check::*, sample::*};

/// Positions 1 to 6; see the cases for who has what.
async fn fill(store: &dyn Store) {
    let all = [
        ("account-1", tagged("account.opened", &["owner:alice"])),
        (
            "account-1",
            tagged("account.paid", &["owner:alice", "bank:a"]),
        ),
        ("account-2", tagged("account.opened", &["owner:bob"])),
        (
            "transfer-1",
            tagged("transfer.begun", &["owner:alice", "owner:bob"]),
        ),
        ("account_x-1", event("account.opened")),
        ("transfer-2", tagged("account.opened", &["bank:a"])),
    ];
    for (name, event) in all {
        store
            .append(append(name, Expected::Any, vec![event]))
            .await
            .unwrap();
    }
}

fn category(name: &str) -> Category {
    Category::new(name).unwrap()
}

fn cases() -> Vec<(Query, Vec<u64>)> {
    let item = QueryItem::default;
    vec![
        (Query::any(), vec![1, 2, 3, 4, 5, 6]),
        (item().into(), vec![1, 2, 3, 4, 5, 6]),
        (item().category(category("account")).into(), vec![1, 2, 3]),
        (
            item()
                .category(category("account"))
                .category(category("account_x"))
                .into(),
            vec![1, 2, 3, 5],
        ),
        (
            item().event_type(event_type("account.opened")).into(),
            vec![1, 3, 5, 6],
        ),
        (
            item()
                .event_type(event_type("account.paid"))
                .event_type(event_type("transfer.begun"))
                .into(),
            vec![2, 4],
        ),
        (item().tag(tag("owner:alice")).into(), vec![1, 2, 4]),
        (
            item().tag(tag("owner:alice")).tag(tag("owner:bob")).into(),
            vec![4],
        ),
        (
            item().tag(tag("owner:bob")).tag(tag("bank:a")).into(),
            vec![],
        ),
        (
            Query::from(item().tag(tag("owner:bob"))).or(item().tag(tag("bank:a"))),
            vec![2, 3, 4, 6],
        ),
        (
            item()
                .category(category("transfer"))
                .event_type(event_type("account.opened"))
                .tag(tag("bank:a"))
                .into(),
            vec![6],
        ),
        (
            Query::from(item().category(category("account"))).or(item().tag(tag("owner:alice"))),
            vec![1, 2, 3, 4],
        ),
        (item().category(category("accoun")).into(), vec![]),
        (item().event_type(event_type("account.%")).into(), vec![]),
        (item().tag(tag("owner:ALICE")).into(), vec![]),
    ]
}

pub async fn a_query_answers_what_matches_one_of_its_items(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    for (query, expected) in cases() {
        let found = matching(store, query.clone(), 2).await;
        assert_eq!(positions(&found), expected, "{query:?}");
        assert!(found.iter().all(|event| query.matches(event)));
    }
}

pub async fn a_query_answers_the_same_backwards(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    for (query, mut expected) in cases() {
        let read = LogRead::before(Position::START, 100).matching(query.clone());
        let page = store.read_log(read).await.unwrap();
        expected.reverse();
        assert_eq!(positions(&page.events), expected, "{query:?}");
        assert!(page.at_end);
    }
}

pub async fn a_query_starts_after_the_position_it_is_given(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    for (query, expected) in cases() {
        for after in 0..=6 {
            let read = LogRead::after(position(after), 100).matching(query.clone());
            let page = store.read_log(read).await.unwrap();
            let later: Vec<u64> = expected.iter().copied().filter(|at| *at > after).collect();
            assert_eq!(positions(&page.events), later, "{query:?} after {after}");
        }
    }
}

pub async fn an_event_that_matches_twice_comes_once(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    let alice = QueryItem::default().tag(tag("owner:alice"));
    let paid = QueryItem::default().event_type(event_type("account.paid"));
    let query = Query::from(alice.clone()).or(paid).or(alice);
    let found = matching(store, query, 10).await;
    assert_eq!(positions(&found), [1, 2, 4]);
}

pub async fn a_tag_given_twice_is_one_tag_to_a_query(subject: Subject) {
    let store = &*subject.store;
    let doubled = tagged("thing.done", &["a:1", "a:1", "b:2"]);
    store
        .append(append("thing-1", Expected::Any, vec![doubled]))
        .await
        .unwrap();
    assert_eq!(matching(store, with_tag("a:1"), 10).await.len(), 1);
    let absent = QueryItem::default().tag(tag("a:1")).tag(tag("c:3"));
    assert_eq!(matching(store, absent.into(), 10).await.len(), 0);
}
