//! What can stand in the way of opening a store, and what it says then.

use std::error::Error as _;

use annals_core::{EventStore as _, Expected, Migrated, Position, Store as _, StoreErrorKind};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::postgres::TestSchema;
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::sample::{append, open, plain, run};

async fn refused(url: &str) -> (StoreErrorKind, String) {
    let error = PostgresStore::open(url, PostgresOptions::default())
        .await
        .expect_err("the store must not open");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    (error.kind(), format!("{error}: {cause}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_openers_of_a_new_schema_all_get_in() {
    let schema = TestSchema::create().await;
    let openers: Vec<_> = (0..8)
        .map(|_| {
            let url = schema.url();
            tokio::spawn(async move {
                let store = PostgresStore::open(&url, PostgresOptions::default()).await;
                store.unwrap().close().await;
            })
        })
        .collect();
    for opener in join_all(openers).await {
        opener.unwrap();
    }
}

#[tokio::test]
async fn stores_in_two_schemas_know_nothing_of_each_other() {
    let (one, other) = (TestSchema::create().await, TestSchema::create().await);
    let (one, other) = ((open(&one).await, one), (open(&other).await, other));
    one.0
        .append(append("account-a", Expected::NoStream, &[b"{}"]))
        .await
        .unwrap();
    assert_eq!(other.0.head().await.unwrap(), Position::START);
    let same = append("account-a", Expected::NoStream, &[b"{}"]);
    assert_eq!(
        other.0.append(same).await.unwrap().position,
        Position::new(1)
    );
    join_all([one.0.close(), other.0.close()]).await;
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_made_unasked() {
    let schema = TestSchema::create().await;
    let existing = || PostgresOptions {
        create: false,
        ..PostgresOptions::default()
    };
    let error = PostgresStore::open(&schema.url(), existing()).await;
    let error = error.expect_err("there is no store");
    assert_eq!(error.kind(), StoreErrorKind::NotFound);
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains(schema.name()), "{cause}");
    let mut conn = plain(&schema).await;
    let made: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_namespace WHERE nspname = $1")
        .bind(schema.name())
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(made, 0);

    open(&schema).await.close().await;
    let store = PostgresStore::open(&schema.url(), existing()).await;
    store.unwrap().close().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let schema = TestSchema::create().await;
    open(&schema).await.close().await;
    let mut conn = plain(&schema).await;
    let newer = "INSERT INTO annals_migrations VALUES (9999, 'from_the_future', now())";
    run(&mut conn, newer).await;
    let (kind, message) = refused(&schema.url()).await;
    assert_eq!(kind, StoreErrorKind::NewerSchema);
    assert!(
        message.contains("a newer release wrote it, so run that one"),
        "{message}"
    );
}

#[tokio::test]
async fn opening_tells_from_which_migration_to_which_it_came() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let Some(Migrated { from: 0, to }) = store.migrated() else {
        panic!("{:?}", store.migrated());
    };
    store.close().await;
    let mut conn = plain(&schema).await;
    let newest: i64 = sqlx::query_scalar("SELECT max(version) FROM annals_migrations")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(i64::from(to), newest);
    let store = open(&schema).await;
    assert_eq!(store.migrated(), Some(Migrated { from: to, to }));
    store.close().await;
}

#[tokio::test]
async fn what_another_opener_has_done_is_not_told_as_one_s_own() {
    let schema = TestSchema::create().await;
    let stores = join_all((0..4).map(|_| open(&schema))).await;
    let made = stores
        .iter()
        .filter(|store| store.migrated().is_some_and(|migrated| migrated.from == 0));
    assert_eq!(made.count(), 1);
    join_all(stores.iter().map(|store| store.close())).await;
}

#[tokio::test]
async fn another_application_s_schema_is_refused_and_left_alone() {
    let schema = TestSchema::create().await;
    let mut conn = plain(&schema).await;
    run(
        &mut conn,
        format!(
            "CREATE SCHEMA {} CREATE TABLE events (party text)",
            schema.name()
        ),
    )
    .await;
    let (kind, message) = refused(&schema.url()).await;
    assert_eq!(kind, StoreErrorKind::Invalid);
    assert!(
        message.contains("belongs to another application: it already has events"),
        "{message}"
    );
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = $1")
        .bind(schema.name())
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_the_password_stays_hidden() {
    let (kind, message) = refused("postgres://me:secret@127.0.0.1:1/bank").await;
    assert_eq!(kind, StoreErrorKind::Unavailable);
    assert!(!message.contains("secret"), "{message}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_not_found() {
    let schema = TestSchema::create().await;
    let url = format!("{}&dbname=no_such_database", schema.url());
    let (kind, message) = refused(&url).await;
    assert_eq!(kind, StoreErrorKind::NotFound);
    assert!(message.contains("no_such_database"), "{message}");
}

#[tokio::test]
async fn the_tables_take_space_on_disk() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let new = append("account-a", Expected::Any, &[b"{}"]);
    store.append(new).await.unwrap();
    let sizes = store.table_sizes().await.unwrap();
    assert!(
        sizes.windows(2).all(|pair| pair[0].bytes >= pair[1].bytes),
        "{sizes:?}"
    );
    for table in ["events", "event_tags", "appends", "annals_projections"] {
        let size = sizes.iter().find(|size| size.table == table);
        let bytes = size.unwrap_or_else(|| panic!("{table}: {sizes:?}")).bytes;
        assert!(bytes >= 8192, "{table}: {bytes}");
    }
    store.close().await;
}

/// A server that says it is of this release, and answers nothing else.
async fn server_of(release: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let length = client.read_u32().await.unwrap() as usize;
            client.read_exact(&mut vec![0; length - 4]).await.unwrap();
            let parameter = [b"server_version\0", release.as_bytes(), b"\0"].concat();
            let length = u32::try_from(parameter.len()).unwrap() + 4;
            // Welcome; the parameter; ready.
            let answer = [
                b"R\0\0\0\x08\0\0\0\0S",
                &length.to_be_bytes()[..],
                &parameter,
                b"Z\0\0\0\x05I",
            ];
            client.write_all(&answer.concat()).await.unwrap();
            // Until it has had enough.
            while client.read_u8().await.is_ok() {}
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    for (release, problem) in [
        ("13.16", "it is PostgreSQL 13, and 14 or later is needed"),
        ("9.6.24", "it is PostgreSQL 9, and 14 or later is needed"),
    ] {
        let port = server_of(release).await;
        let url = format!("postgres://me@127.0.0.1:{port}/bank?sslmode=disable");
        let (kind, told) = refused(&url).await;
        assert_eq!(kind, StoreErrorKind::Invalid);
        assert!(told.ends_with(problem), "{told}");
    }
}
