//! The view for human eyes.

use annals_core::{EventStore as _, Expected};
use annals_testing::postgres::TestSchema;
use sqlx::Row as _;

use crate::sample::{append, open, plain};

#[tokio::test]
async fn the_view_shows_any_payload() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let payloads: [&[u8]; 6] = [
        br#"{"amount":5,"amount":6}"#,
        b"\xff\x00",
        b"no JSON",
        br#""\u0000""#,
        br#""\ud800""#,
        b"",
    ];
    let new = append("account-a", Expected::Any, &payloads);
    store.append(new.clone()).await.unwrap();
    let mut conn = plain(&schema).await;
    let rows = sqlx::query(
        "SELECT id::text, recorded_at AT TIME ZONE 'UTC', causation_id::text, payload::text, \
         payload_hex, tags::text FROM events_json ORDER BY position",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let first = &new.writes[0].events[0];
    let id: String = rows[0].get(0);
    assert_eq!(id, first.id.to_string());
    let time: chrono::NaiveDateTime = rows[0].get(1);
    assert_eq!(time.to_string(), "2024-02-03 04:05:06.000789");
    let causation: String = rows[0].get(2);
    assert_eq!(causation, first.metadata.causation_id.to_string());
    let tags: String = rows[0].get(5);
    assert_eq!(tags, r#"["owner:alice"]"#);
    let shown: Vec<(Option<String>, Option<String>)> =
        rows.iter().map(|row| (row.get(3), row.get(4))).collect();
    let text = |text: &str| (Some(text.to_owned()), None);
    let hex = |hex: &str| (None, Some(hex.to_owned()));
    let expected = [
        text(r#"{"amount":5,"amount":6}"#),
        hex("ff00"),
        hex("6e6f204a534f4e"),
        text(r#""\u0000""#),
        text(r#""\ud800""#),
        hex(""),
    ];
    assert_eq!(shown, expected);
    store.close().await;
}
