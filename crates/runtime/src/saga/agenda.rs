//! What is due: from the table of deadlines, and from memory for what is due in a moment.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    time::Duration,
};

use annals_core::{Position, ReadModel, Store, StoreError, Target, Value};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::read_models::{DeadlineKey, SagaDeadline};

/// What is due within this time is remembered, so that it need not wait for the table to show it.
const SOON: Duration = Duration::from_secs(5);
/// How many of those are remembered.
const MAX_SOON: usize = 65_536;

/// Tells which sagas of one kind have something to do at a time.
///
/// Memory is bounded whatever the number of deadlines: what is far off stands in the table alone,
/// of which only the next due time is known.
#[derive(Debug)]
pub(super) struct Agenda {
    saga: &'static str,
    /// When the table may next have something due.
    earliest: DateTime<Utc>,
    /// The first due time that was noted since the sweep began, which may have gone past its row.
    noted_meanwhile: DateTime<Utc>,
    /// Where a sweep that found more than it could take goes on.
    cursor: Option<DeadlineKey>,
    soon: BinaryHeap<Reverse<(DateTime<Utc>, String)>>,
    /// All that was noted before stands in the log up to here; the table is believed once it
    /// reaches this far.
    written: Position,
    /// Whether something was noted since.
    noted: bool,
    /// What the table lacks.
    behind: Option<Lag>,
}

/// How the table is behind.
#[derive(Clone, Copy, Debug)]
struct Lag {
    since: Instant,
    /// How far it had to get by then; a log that grows is always a little ahead of it.
    wanted: Position,
    shown: Position,
}

impl Agenda {
    /// An agenda that knows nothing yet: the first sweep finds out.
    pub(super) fn new(saga: &'static str) -> Self {
        Self {
            saga,
            earliest: DateTime::<Utc>::MIN_UTC,
            noted_meanwhile: DateTime::<Utc>::MAX_UTC,
            cursor: None,
            soon: BinaryHeap::new(),
            written: Position::START,
            noted: false,
            behind: None,
        }
    }

    /// A saga has something to do at a time; that stands in the log by now.
    pub(super) fn note(&mut self, id: &str, due: DateTime<Utc>, now: DateTime<Utc>) {
        self.noted = true;
        self.earliest = self.earliest.min(due);
        self.noted_meanwhile = self.noted_meanwhile.min(due);
        let soon = TimeDelta::from_std(SOON).unwrap_or_default();
        if due <= now + soon && self.soon.len() < MAX_SOON {
            self.soon.push(Reverse((due, id.to_owned())));
        }
    }

    /// Sagas that had something to do were left to the table: it is swept from its beginning, once
    /// the sweep under way is over.
    pub(super) fn look_again(&mut self) {
        self.noted = true;
        self.earliest = DateTime::<Utc>::MIN_UTC;
        self.noted_meanwhile = DateTime::<Utc>::MIN_UTC;
    }

    /// The sagas that have something to do now, up to about `limit`.
    pub(super) async fn due(
        &mut self,
        store: &dyn Store,
        now: DateTime<Utc>,
        limit: usize,
    ) -> Result<BTreeSet<String>, StoreError> {
        if std::mem::take(&mut self.noted) {
            self.written = store.head().await?;
        }
        let mut due = BTreeSet::new();
        while let Some(Reverse((at, _))) = self.soon.peek()
            && *at <= now
            && due.len() < limit
        {
            due.extend(self.soon.pop().map(|Reverse((_, id))| id));
        }
        if self.cursor.is_some() || self.earliest <= now {
            self.sweep(store, now, limit, &mut due).await?;
        }
        Ok(due)
    }

    async fn sweep(
        &mut self,
        store: &dyn Store,
        now: DateTime<Utc>,
        limit: usize,
        due: &mut BTreeSet<String>,
    ) -> Result<(), StoreError> {
        let behind = self.look_for_lag(store).await?;
        let after = match &self.cursor {
            Some(key) => SagaDeadline::key_values(key),
            None => {
                self.noted_meanwhile = DateTime::<Utc>::MAX_UTC;
                let mut before_all = vec![Value::Text(String::new()); 5];
                if let Some(first) = before_all.first_mut() {
                    *first = Value::Text(self.saga.to_owned());
                }
                before_all
            }
        };
        let limit = limit.max(1);
        let scan = |limit| {
            let (table, live) = (&SagaDeadline::TABLE, Target::Live);
            store.scan_rows(table, live, Some(&after), limit)
        };
        let mut rows = scan(1).await?;
        // Most often the first tells that nothing is due, however many are pending.
        let first = rows.first().cloned().map(SagaDeadline::from_row);
        let first = first.transpose().map_err(unreadable)?;
        if first.is_some_and(|first| first.saga == self.saga && first.due <= now) {
            rows = scan(limit).await?;
        }
        let full = rows.len() >= limit;
        let mut last = None;
        let mut next = None;
        for row in rows {
            let row = SagaDeadline::from_row(row).map_err(unreadable)?;
            if row.saga != self.saga || row.due > now {
                next = Some(if row.saga == self.saga {
                    row.due
                } else {
                    DateTime::<Utc>::MAX_UTC
                });
                break;
            }
            due.insert(row.id.clone());
            last = Some(row.key());
        }
        self.cursor = last.filter(|_| full && next.is_none());
        self.earliest = match next {
            _ if behind => now,
            Some(next) => next.min(self.noted_meanwhile),
            None if self.cursor.is_some() => now,
            None => self.noted_meanwhile,
        };
        Ok(())
    }

    /// Whether the table may lack something that was noted.
    async fn look_for_lag(&mut self, store: &dyn Store) -> Result<bool, StoreError> {
        let record = store.projection(SagaDeadline::TABLE.name).await?;
        let shown = record.map_or(Position::START, |record| record.checkpoint.position);
        self.behind = match self.behind {
            _ if shown >= self.written => None,
            Some(lag) if shown < lag.wanted => Some(Lag { shown, ..lag }),
            _ => Some(Lag {
                since: Instant::now(),
                wanted: self.written,
                shown,
            }),
        };
        Ok(self.behind.is_some())
    }

    /// What is wrong with the table, when it has been behind for longer than memory makes up for.
    pub(super) fn lag(&self) -> Option<String> {
        let lag = self.behind.filter(|lag| lag.since.elapsed() > SOON)?;
        Some(format!(
            "what is due may come late: projection `{}` is at position {}, of {}",
            SagaDeadline::TABLE.name,
            lag.shown,
            self.written
        ))
    }
}

fn unreadable(error: annals_core::RowError) -> StoreError {
    let doing = format!("read a row of `{}`", SagaDeadline::TABLE.name);
    StoreError::new(annals_core::StoreErrorKind::Corrupt, doing).caused_by(error)
}

#[cfg(test)]
mod tests {
    use annals_core::{
        Changes, Checkpoint, Claim, Commit, Fence, MemoryStore, ProjectionSpec,
        ProjectionStore as _,
    };

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap_or_default()
    }

    async fn table() -> MemoryStore {
        let store = MemoryStore::new();
        let spec = ProjectionSpec {
            name: SagaDeadline::TABLE.name.to_owned(),
            fingerprint: "test".to_owned(),
            table: Some(SagaDeadline::TABLE),
            inline: false,
        };
        store.register(&spec, at(0)).await.unwrap();
        store
    }

    /// Has the table show that a saga has something to do.
    async fn show(store: &MemoryStore, id: &str, due: DateTime<Utc>) {
        let name = SagaDeadline::TABLE.name;
        let claim = store.claim(name, "test", SOON).await.unwrap();
        let Claim::Held { epoch } = claim else {
            panic!("somebody else holds the lease")
        };
        let row = SagaDeadline {
            saga: "s".to_owned(),
            due,
            id: id.to_owned(),
            kind: "command".to_owned(),
            name: "step".to_owned(),
            position: Position::START,
        };
        let changes = Changes {
            upserts: vec![row.to_row()],
            deletes: Vec::new(),
        };
        let commit = Commit {
            projection: name.to_owned(),
            target: Target::Live,
            fence: Fence {
                epoch,
                checkpoint: Position::START,
            },
            rows: Some((SagaDeadline::TABLE, changes)),
            checkpoint: Checkpoint::default(),
            park: Vec::new(),
            unpark: Vec::new(),
            now: at(0),
        };
        store.commit(commit).await.unwrap();
    }

    async fn due(agenda: &mut Agenda, store: &MemoryStore) -> Vec<String> {
        let due = agenda.due(store, at(0), 2).await.unwrap();
        due.into_iter().collect()
    }

    /// Where too much is due in a moment to be remembered, the table has to be gone through again.
    #[tokio::test]
    async fn what_is_noted_behind_a_sweep_is_found_by_the_next() {
        let store = table().await;
        let mut agenda = Agenda::new("s");
        for number in 0..MAX_SOON {
            agenda.soon.push(Reverse((at(3), number.to_string())));
        }
        for (id, seconds) in [("a", -10), ("b", -8), ("c", -6), ("d", -4)] {
            show(&store, id, at(seconds)).await;
        }
        assert_eq!(due(&mut agenda, &store).await, ["a", "b"]);
        show(&store, "behind", at(-9)).await;
        agenda.note("behind", at(-9), at(0));
        assert_eq!(due(&mut agenda, &store).await, ["c", "d"]);
        let mut rest = Vec::new();
        for _ in 0..3 {
            rest.extend(due(&mut agenda, &store).await);
        }
        assert!(rest.contains(&"behind".to_owned()), "{rest:?}");
    }
}
