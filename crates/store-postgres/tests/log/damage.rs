//! Holes, large payloads, and what the server refuses.

use annals_core::{
    Append, AppendError, EventStore as _, Expected, LogRead, Position, Store as _, StoreErrorKind,
    StreamRead, Tag, TagMismatch, Version,
};
use annals_testing::postgres::TestSchema;
use chrono::DateTime;

use crate::sample::{append, event, open, plain, run, stream};

#[tokio::test]
async fn a_hole_in_the_log_is_corruption() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let payloads: [&[u8]; 4] = [b"1", b"2", b"3", b"4"];
    let new = append("account-a", Expected::Any, &payloads);
    store.append(new).await.unwrap();
    let mut conn = plain(&schema).await;
    run(&mut conn, "DELETE FROM events WHERE position = 3").await;
    let reads = [
        LogRead::after(Position::START, 10),
        LogRead::after(Position::new(2), 10),
        LogRead::before(Position::START, 10),
        LogRead::before(Position::new(4), 10),
    ];
    for read in reads {
        let error = store.read_log(read.clone()).await.expect_err("a hole");
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{read:?}");
        assert!(format!("{error:?}").contains("position 3"), "{error:?}");
    }
    let reads = [
        StreamRead::after(stream("account-a"), Version::NONE, 10),
        StreamRead::after(stream("account-a"), Version::new(2), 10),
        StreamRead::before(stream("account-a"), Version::NONE, 10),
    ];
    for read in reads {
        let error = store.read_stream(read.clone()).await.expect_err("a hole");
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{read:?}");
        assert!(format!("{error:?}").contains("version 3"), "{error:?}");
    }
    store.close().await;
}

#[tokio::test]
async fn large_payloads_come_back_and_pages_of_them_stay_bounded() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let large = vec![b'\n'; 8 * 1024 * 1024];
    for _ in 0..6 {
        let new = append("account-a", Expected::Any, &[&large, b"small"]);
        store.append(new).await.unwrap();
    }
    let (mut from, mut pages, mut count) = (Position::START, 0, 0);
    loop {
        let page = store.read_log(LogRead::after(from, 100)).await.unwrap();
        let bytes: usize = page.events.iter().map(|event| event.payload.len()).sum();
        assert!(bytes <= 33 * 1024 * 1024, "a page of {bytes} bytes");
        let payloads = page.events.iter().map(|event| &event.payload);
        assert!(payloads.into_iter().all(|p| *p == large || p == b"small"));
        (from, pages, count) = (page.scanned_to, pages + 1, count + page.events.len());
        if page.at_end {
            break;
        }
    }
    assert_eq!((pages, count), (2, 12));
    store.close().await;
}

/// One append that the server would refuse must not fail the others of its group.
#[tokio::test]
async fn a_time_that_the_server_does_not_have_is_refused_before_it_gets_there() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let events = || vec![event(b"{}")];
    let too_early = DateTime::<chrono::Utc>::MIN_UTC;
    let early = Append::to(stream("account-a"), Expected::Any, events(), too_early);
    match store.append(early).await {
        Err(AppendError::Invalid { problem }) => assert!(problem.contains("year"), "{problem}"),
        outcome => panic!("{outcome:?}"),
    }
    let latest = DateTime::<chrono::Utc>::MAX_UTC;
    let late = Append::to(stream("account-a"), Expected::Any, events(), latest);
    store.append(late).await.unwrap();
    let read = LogRead::after(Position::START, 1);
    let found = &store.read_log(read).await.unwrap().events[0];
    assert_eq!(
        found.recorded_at.timestamp_micros(),
        latest.timestamp_micros()
    );
    store.close().await;
}

#[tokio::test]
async fn tags_that_the_index_lacks_or_makes_up_are_found() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let mut tagged = event(b"{}");
    tagged.tags.push(Tag::parse("note:a\"b\\c é").unwrap());
    let bare = event(b"{}");
    let events = vec![tagged, event(b"{}"), bare];
    let new = Append::to(
        stream("account-a"),
        Expected::Any,
        events,
        chrono::Utc::now(),
    );
    store.append(new).await.unwrap();
    assert_eq!(store.tag_mismatches(10).await.unwrap(), []);
    let mut conn = plain(&schema).await;
    run(&mut conn, "DELETE FROM event_tags WHERE position = 2").await;
    let strays = "INSERT INTO event_tags VALUES ('owner:eve', 1), ('owner:alice', 4)";
    run(&mut conn, strays).await;
    let mismatch = |position, tag: &str, missing| TagMismatch {
        position: Position::new(position),
        tag: tag.to_owned(),
        missing,
    };
    let planted = [
        mismatch(1, "owner:eve", false),
        mismatch(2, "owner:alice", true),
        mismatch(4, "owner:alice", false),
    ];
    assert_eq!(store.tag_mismatches(10).await.unwrap(), planted);
    assert_eq!(store.tag_mismatches(1).await.unwrap(), planted[..1]);
    store.close().await;
}
