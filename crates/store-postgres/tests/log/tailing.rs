//! Noticing what others append.

use std::time::Duration;

use annals_core::{EventStore as _, Expected, Position};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::postgres::TestSchema;
use futures_util::future::join_all;
use sqlx::{Row as _, postgres::PgListener};

use crate::sample::{append, open, open_with, plain, run};

async fn tail_each_other(one: &PostgresStore, other: &PostgresStore) {
    for number in 0..10 {
        let (writer, reader) = if number % 2 == 0 {
            (one, other)
        } else {
            (other, one)
        };
        let (seen, appended) = tokio::join!(
            reader.wait_beyond(Position::new(number)),
            writer.append(append("account-a", Expected::Any, &[b"{}"])),
        );
        assert_eq!(seen.unwrap(), appended.unwrap().position);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_tail_each_other_with_notifications_on_and_off() {
    for notifications in [true, false] {
        let schema = TestSchema::create().await;
        let options = PostgresOptions {
            notifications,
            ..PostgresOptions::default()
        };
        let one = open_with(&schema, options.clone()).await;
        let other = open_with(&schema, options).await;
        tail_each_other(&one, &other).await;
        join_all([one.close(), other.close()]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_wakes_who_would_not_have_polled_for_an_hour() {
    let schema = TestSchema::create().await;
    let options = PostgresOptions {
        poll_interval: Duration::from_secs(3600),
        ..PostgresOptions::default()
    };
    let reader = open_with(&schema, options).await;
    let writer = open(&schema).await;
    let mut conn = plain(&schema).await;
    // It has to listen before the notification is sent.
    loop {
        let listening = sqlx::query(
            "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'listen%' AND query LIKE $1",
        );
        let row = listening.bind(format!("%{}%", schema.name()));
        if row.fetch_one(&mut conn).await.unwrap().get::<i64, _>(0) >= 2 {
            break;
        }
        tokio::task::yield_now().await;
    }
    let (seen, appended) = tokio::join!(reader.wait_beyond(Position::START), async {
        let new = append("account-a", Expected::Any, &[b"{}"]);
        writer.append(new).await
    });
    assert_eq!(seen.unwrap(), appended.unwrap().position);
    join_all([reader.close(), writer.close()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_appends_sends_one_notification_without_payload() {
    const APPENDS: usize = 200;
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let mut conn = plain(&schema).await;
    let mut listener = listener(&schema).await;
    let appends = (0..APPENDS).map(|number| {
        store.append(append(
            &format!("account-{number}"),
            Expected::NoStream,
            &[b"1", b"2"],
        ))
    });
    for appended in join_all(appends).await {
        appended.unwrap();
    }
    run(
        &mut conn,
        format!("NOTIFY {}, 'that is all'", schema.name()),
    )
    .await;
    let mut payloads = Vec::new();
    loop {
        let payload = listener.recv().await.unwrap().payload().to_owned();
        if payload == "that is all" {
            break;
        }
        payloads.push(payload);
    }
    // Each transaction has an id of its own, which its rows bear.
    let groups: i64 = sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM events")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(payloads, vec![""; usize::try_from(groups).unwrap()]);
    assert!(payloads.len() < APPENDS, "they were not grouped");
    store.close().await;
}

/// Hears what is notified in a schema.
async fn listener(schema: &TestSchema) -> PgListener {
    let url = schema.url();
    let (server, _) = url.rsplit_once("schema=").expect("a schema in the URL");
    let listener = PgListener::connect(server.trim_end_matches(['?', '&'])).await;
    let mut listener = listener.unwrap();
    listener.listen(schema.name()).await.unwrap();
    listener
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_when_the_store_closes() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let waiting = store.clone();
    let waiting = tokio::spawn(async move { waiting.wait_beyond(Position::START).await });
    store.close().await;
    assert!(waiting.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_is_not_answered_by_what_was_known_of_a_longer_log() {
    let schema = TestSchema::create().await;
    let options = PostgresOptions {
        poll_interval: Duration::from_millis(1),
        ..PostgresOptions::default()
    };
    let store = open_with(&schema, options).await;
    for _ in 0..5 {
        let new = append("account-a", Expected::Any, &[b"{}"]);
        store.append(new).await.unwrap();
    }
    // As a lagging standby would have it, once it is promoted.
    let mut conn = plain(&schema).await;
    for table in ["events", "event_tags"] {
        let schema = schema.name();
        run(
            &mut conn,
            format!("DELETE FROM {schema}.{table} WHERE position > 2"),
        )
        .await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let waiting = store.wait_beyond(Position::new(2));
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    let new = append("account-b", Expected::Any, &[b"{}"]);
    let appended = store.append(new).await.unwrap();
    assert_eq!(waiting.await.unwrap(), appended.position);
    store.close().await;
}
