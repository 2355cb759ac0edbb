//! Snapshots: one per stream, of today's schema, the newest.

use annals_core::{Snapshot, StoreError, Version};

use super::{Subject, sample::*};

fn snapshot(version: u64, schema: &str, state: &[u8]) -> Snapshot {
    Snapshot {
        version: Version::new(version),
        schema: schema.to_owned(),
        state: state.to_vec(),
    }
}

async fn found(subject: &Subject, schema: &str) -> Result<Option<Snapshot>, StoreError> {
    subject.store.snapshot(&stream("thing-1"), schema).await
}

async fn save(subject: &Subject, snapshot: Snapshot) {
    let stream = stream("thing-1");
    subject
        .store
        .save_snapshot(&stream, snapshot)
        .await
        .unwrap();
}

pub async fn a_snapshot_comes_back_byte_for_byte(subject: Subject) {
    assert_eq!(found(&subject, "a").await.unwrap(), None);
    let states: [&[u8]; 3] = [b"", b"\0\xff binary", &[7; 100_000]];
    for (version, state) in (1..).zip(states) {
        let saved = snapshot(version, "a", state);
        save(&subject, saved.clone()).await;
        assert_eq!(found(&subject, "a").await.unwrap(), Some(saved));
    }
    let other = subject.store.snapshot(&stream("thing-2"), "a").await;
    assert_eq!(other.unwrap(), None, "each stream has its own");
}

pub async fn a_snapshot_of_another_schema_is_not_found(subject: Subject) {
    save(&subject, snapshot(5, "a", b"state")).await;
    assert_eq!(found(&subject, "b").await.unwrap(), None);
    assert!(found(&subject, "a").await.unwrap().is_some());
}

pub async fn a_newer_snapshot_replaces_an_older_one(subject: Subject) {
    save(&subject, snapshot(5, "a", b"five")).await;
    save(&subject, snapshot(6, "a", b"six")).await;
    let kept = found(&subject, "a").await.unwrap();
    assert_eq!(kept, Some(snapshot(6, "a", b"six")));
}

pub async fn an_older_snapshot_does_not_replace_a_newer_one(subject: Subject) {
    save(&subject, snapshot(6, "a", b"six")).await;
    save(&subject, snapshot(5, "a", b"five")).await;
    let kept = found(&subject, "a").await.unwrap();
    assert_eq!(kept, Some(snapshot(6, "a", b"six")));
}

pub async fn an_older_snapshot_replaces_a_newer_one_of_another_schema(subject: Subject) {
    save(&subject, snapshot(6, "a", b"six")).await;
    save(&subject, snapshot(5, "b", b"five")).await;
    assert_eq!(found(&subject, "a").await.unwrap(), None);
    let kept = found(&subject, "b").await.unwrap();
    assert_eq!(kept, Some(snapshot(5, "b", b"five")));
}
