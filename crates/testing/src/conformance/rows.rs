//! Rows of read models: values of every type, keys of several columns, order.

use std::time::Duration;

use annals_core::{Changes, CommitError, Row, Store, StoreErrorKind, Target, Value};

use super::{Subject, sample::now, table::*};

fn wide(group: &str, number: i64, bytes: &[u8]) -> Row {
    vec![
        text(group),
        Value::Integer(0),
        Value::Integer(number),
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Blob(bytes.to_vec()),
    ]
}

async fn fill(store: &dyn Store, rows: &[Row]) {
    try_fill(store, rows).await.unwrap();
}

async fn try_fill(store: &dyn Store, rows: &[Row]) -> Result<(), CommitError> {
    let record = store.register(&spec_of("wide", WIDE), now()).await.unwrap();
    let step = live_step(&record, 1, upserted(rows));
    store.commit(on(WIDE, step)).await
}

/// In the order that scans must have: text and bytes by their bytes, numbers by size.
fn in_order() -> Vec<Row> {
    vec![
        wide("", 0, b""),
        wide("A", i64::MIN, b"\xff"),
        wide("A", -1, b""),
        wide("A", 0, b""),
        wide("A", 0, b"\0"),
        wide("A", 0, b"\0\0"),
        wide("A", 0, b"\x01"),
        wide("A", i64::MAX, b""),
        wide("A ", 0, b""),
        wide("AA", 0, b""),
        wide("B", 0, b""),
        wide("_", 0, b""),
        wide("a", 0, b""),
        wide("z", 0, b""),
        wide("ä", 0, b""),
        wide("\u{ffff}", 0, b""),
        wide("\u{10000}", 0, b""),
    ]
}

pub async fn values_of_every_type_come_back(subject: Subject) {
    let store = &*subject.store;
    let mut rows = Vec::new();
    let integers = [0, -1, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1];
    let reals = [0.1, -1.5, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 1e300, 3.0];
    let texts = [
        "",
        "'",
        "\"",
        "; drop table x",
        "ä\u{1f9fe}",
        "1e5",
        "NULL",
        "\n\t",
    ];
    let blobs: [&[u8]; 4] = [b"", b"\0", b"\xff\xfe", b"plain"];
    let values = (integers
        .map(|integer| (6, Value::Integer(integer)))
        .into_iter())
    .chain(reals.map(|real| (3, Value::Real(real))))
    .chain(texts.map(|value| (4, text(value))))
    .chain(blobs.map(|blob| (5, Value::Blob(blob.to_vec()))));
    for (number, (column, value)) in (0..).zip(values) {
        let mut row = wide("group", number, b"key");
        row[column] = value;
        rows.push(row);
    }
    fill(store, &rows).await;
    assert_eq!(all_rows(store, &WIDE, Target::Live).await, rows);
    let keys: Vec<Vec<Value>> = rows.iter().map(|row| WIDE.key_of(row)).collect();
    let mut found = store.rows(&WIDE, Target::Live, &keys).await.unwrap();
    found.sort_by_key(|row| match row[2] {
        Value::Integer(number) => number,
        _ => panic!("the key is a number"),
    });
    assert_eq!(found, rows);
}

pub async fn rows_are_scanned_in_the_order_of_their_keys(subject: Subject) {
    let store = &*subject.store;
    let mut shuffled = in_order();
    shuffled.rotate_left(5);
    shuffled.swap(1, 9);
    fill(store, &shuffled).await;
    assert_eq!(all_rows(store, &WIDE, Target::Live).await, in_order());
}

pub async fn a_scan_goes_on_after_a_key(subject: Subject) {
    let store = &*subject.store;
    fill(store, &in_order()).await;
    for limit in [1, 2, 16, 17, 18] {
        let mut found: Vec<Row> = Vec::new();
        loop {
            let after = found.last().map(|row| WIDE.key_of(row));
            let page = store.scan_rows(&WIDE, Target::Live, after.as_deref(), limit);
            let page = page.await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, in_order(), "in pages of {limit}");
    }
}

pub async fn a_scan_goes_on_after_a_key_that_is_not_there(subject: Subject) {
    let store = &*subject.store;
    fill(store, &in_order()).await;
    let gone = WIDE.key_of(&wide("A", 5, b"gone"));
    let page = store.scan_rows(&WIDE, Target::Live, Some(&gone), 2);
    assert_eq!(
        page.await.unwrap(),
        [wide("A", i64::MAX, b""), wide("A ", 0, b"")]
    );
    let page = store.scan_rows(&WIDE, Target::Live, None, 0);
    assert_eq!(page.await.unwrap(), [[]; 0]);
}

pub async fn rows_are_found_by_their_whole_key(subject: Subject) {
    let store = &*subject.store;
    fill(store, &in_order()).await;
    let keys = [
        WIDE.key_of(&wide("A", 0, b"\0")),
        WIDE.key_of(&wide("A", 0, b"\x02")),
        WIDE.key_of(&wide("", 0, b"\0")),
    ];
    let found = store.rows(&WIDE, Target::Live, &keys).await.unwrap();
    assert_eq!(found, [wide("A", 0, b"\0")]);
    let none = store.rows(&WIDE, Target::Live, &[]).await.unwrap();
    assert_eq!(none, [[]; 0]);
}

pub async fn thousands_of_rows_are_written_and_found_at_once(subject: Subject) {
    let store = &*subject.store;
    let rows: Vec<Row> = (0..5_000).map(|number| wide("g", number, b"")).collect();
    fill(store, &rows).await;
    assert_eq!(all_rows(store, &WIDE, Target::Live).await.len(), 5_000);
    let keys: Vec<_> = rows.iter().map(|row| WIDE.key_of(row)).collect();
    let found = store.rows(&WIDE, Target::Live, &keys).await.unwrap();
    assert_eq!(found.len(), 5_000);
    let record = record(store, "wide").await;
    let changes = Changes {
        upserts: Vec::new(),
        deletes: keys[1..].to_vec(),
    };
    let step = live_step(&record, 2, changes);
    store.commit(on(WIDE, step)).await.unwrap();
    assert_eq!(all_rows(store, &WIDE, Target::Live).await, rows[..1]);
}

pub async fn a_row_of_the_wrong_shape_is_refused(subject: Subject) {
    let store = &*subject.store;
    let right = wide("g", 1, b"");
    let mut text_for_a_number = right.clone();
    text_for_a_number[6] = text("many");
    for wrong in [text_for_a_number, right[..7].to_vec()] {
        // Of this kind the engine stops; others it would try again and again.
        match try_fill(store, &[right.clone(), wrong]).await {
            Err(CommitError::Store(error)) => assert_eq!(error.kind(), StoreErrorKind::Invalid),
            answer => panic!("expected the row to be refused, got {answer:?}"),
        }
        assert_eq!(all_rows(store, &WIDE, Target::Live).await, [[]; 0]);
    }
}

pub async fn rows_of_a_new_table_come_back_however_they_are_written(subject: Subject) {
    let store = &*subject.store;
    let spec = spec_of("wide", WIDE);
    store.register(&spec, now()).await.unwrap();
    let term = Duration::from_secs(600);
    let begun = store.begin_rebuild(&spec, "me", term, false, now()).await;
    let mut rebuild = begun.unwrap();
    let rows: Vec<Row> = (0_u8..=255)
        .map(|number| {
            let bytes = [0, 255, b'\\', number];
            let mut row = wide("\t\n\\ä", i64::MIN + i64::from(number), &bytes);
            if number % 3 > 0 {
                row[4] = text("\\N");
                row[5] = Value::Blob(bytes.to_vec());
            }
            row
        })
        .collect();
    // A table without rows may be filled in another way than one that has some.
    for number in 1..=2 {
        let step = rebuild_step("wide", &rebuild, number, upserted(&rows));
        rebuild.checkpoint = step.checkpoint;
        store.commit(on(WIDE, step)).await.unwrap();
        assert_eq!(all_rows(store, &WIDE, Target::Rebuild).await, rows);
    }
}
