//! A store with one planted fault.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use annals_core::{
    Append, AppendError, Appended, Changes, Claim, Commit, CommitError, Condition, EventStore as _,
    Expected, Fence, FoldError, IdSource, InlineProjection, LogPage, LogRead, Position,
    ProjectionSpec, ProjectionStore as _, RebuildError, RebuildRecord, RecordedAppend, Store,
    StoreError, StoredEvent, SwapRequest, Swapped, Target, memory::MemoryStore,
};
use annals_testing::{
    clock::{SequentialIds, dawn},
    conformance::Fixture,
    delegating::{Delegating, Hooks},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub(crate) const NO_FAULT: u8 = 0;
pub(crate) const IGNORES_EXPECTATIONS: u8 = 1;
pub(crate) const IGNORES_CONDITIONS: u8 = 2;
pub(crate) const FORGETS_APPENDS: u8 = 3;
pub(crate) const WRITES_STREAM_BY_STREAM: u8 = 4;
pub(crate) const KEEPS_TEXT_ONLY: u8 = 5;
pub(crate) const SHOWS_COMMITS_LATE: u8 = 6;
pub(crate) const ACKNOWLEDGES_TOO_MUCH: u8 = 7;
pub(crate) const IGNORES_FENCES: u8 = 8;
pub(crate) const SWAPS_IN_TWO_STEPS: u8 = 9;
pub(crate) const CHECKS_BEFORE_IT_WRITES: u8 = 10;
pub(crate) const KEEPS_MILLISECONDS: u8 = 11;
pub(crate) const STOPS_A_PAGE_EARLY: u8 = 12;
pub(crate) const WRITES_ROWS_BEFORE_CHECKPOINTS: u8 = 13;
pub(crate) const RESUMES_NO_REBUILD: u8 = 14;
pub(crate) const INSTALLS_NOTHING_INLINE: u8 = 15;
pub(crate) const MIXES_BOTH_TABLES: u8 = 16;
pub(crate) const IMPORTS_EVENT_BY_EVENT: u8 = 17;
pub(crate) const LEASES_TO_EVERYBODY: u8 = 18;

/// A store in memory that does one thing wrong.
#[derive(Debug)]
pub(crate) struct Faulty<const FAULT: u8> {
    inner: Arc<MemoryStore>,
    appends: AtomicU64,
    ids: SequentialIds,
}

pub(crate) struct FaultyFixture<const FAULT: u8>(Arc<Delegating<Faulty<FAULT>>>);

#[async_trait]
impl<const FAULT: u8> Fixture for FaultyFixture<FAULT> {
    const REOPENS: bool = false;

    async fn create() -> Self {
        Self(Arc::new(Delegating(Faulty {
            inner: Arc::new(MemoryStore::new()),
            appends: AtomicU64::new(0),
            ids: SequentialIds::after(1 << 40),
        })))
    }

    async fn open(&self) -> Arc<dyn Store> {
        self.0.clone()
    }
}

impl<const FAULT: u8> Faulty<FAULT> {
    /// The same append with new event ids, as if it had never been seen.
    fn forget(&self, mut append: Append) -> Append {
        append.id = None;
        for event in append.writes.iter_mut().flat_map(|write| &mut write.events) {
            event.id = self.ids.next(dawn()).into();
        }
        append
    }

    async fn append_stream_by_stream(&self, append: Append) -> Result<Appended, AppendError> {
        let mut whole = None::<Appended>;
        for write in append.writes {
            if write.events.is_empty() {
                continue;
            }
            let part = Append::to(
                write.stream,
                write.expected,
                write.events,
                append.recorded_at,
            );
            let part = self.inner.append(part).await?;
            tokio::task::yield_now().await;
            let whole = whole.get_or_insert_with(|| Appended {
                versions: Vec::new(),
                ..part.clone()
            });
            whole.position = part.position;
            whole.versions.extend(part.versions);
        }
        Ok(whole.expect("the append has events"))
    }

    /// Checks the condition by a read of its own, as stores without a lock do.
    async fn append_after_check(&self, mut append: Append) -> Result<Appended, AppendError> {
        if let Some(Condition { query, after }) = append.condition.take() {
            let read = LogRead::after(after, 1).matching(query);
            let found = self.inner.read_log(read).await?;
            if let Some(event) = found.events.first() {
                let position = event.position;
                return Err(AppendError::ConditionFailed { position });
            }
            tokio::task::yield_now().await;
        }
        self.inner.append(append).await
    }

    async fn fence_of(&self, commit: &Commit) -> Option<Fence> {
        let record = self.inner.projection(&commit.projection).await.ok()??;
        Some(Fence {
            epoch: record.epoch,
            checkpoint: record.checkpoint.position,
        })
    }

    /// Empties the live table.
    async fn empty(&self, request: &SwapRequest) {
        let table = request
            .spec
            .table
            .expect("the suite's projections have one");
        let rows = self
            .inner
            .scan_rows(&table, Target::Live, None, 10_000)
            .await;
        let record = self.inner.projection(&request.spec.name).await;
        let (Ok(rows), Ok(Some(record))) = (rows, record) else {
            return;
        };
        let changes = Changes {
            upserts: Vec::new(),
            deletes: rows.iter().map(|row| table.key_of(row)).collect(),
        };
        let emptied = self.inner.commit(Commit {
            projection: record.name,
            target: Target::Live,
            fence: Fence {
                epoch: record.epoch,
                checkpoint: record.checkpoint.position,
            },
            rows: Some((table, changes)),
            checkpoint: record.checkpoint,
            park: Vec::new(),
            unpark: Vec::new(),
            now: request.now,
        });
        emptied.await.expect("the live table can be emptied");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[async_trait]
impl<const FAULT: u8> Hooks for Faulty<FAULT> {
    fn store(&self) -> &dyn Store {
        &*self.inner
    }

    async fn append(&self, mut append: Append) -> Result<Appended, AppendError> {
        match FAULT {
            IGNORES_EXPECTATIONS => {
                for write in &mut append.writes {
                    write.expected = Expected::Any;
                }
            }
            IGNORES_CONDITIONS => append.condition = None,
            FORGETS_APPENDS => append = self.forget(append),
            WRITES_STREAM_BY_STREAM => return self.append_stream_by_stream(append).await,
            CHECKS_BEFORE_IT_WRITES => return self.append_after_check(append).await,
            KEEPS_TEXT_ONLY => {
                for event in append.writes.iter_mut().flat_map(|write| &mut write.events) {
                    event.payload = String::from_utf8_lossy(&event.payload).into_owned().into();
                }
            }
            KEEPS_MILLISECONDS => {
                let millis = append.recorded_at.timestamp_millis();
                append.recorded_at = DateTime::from_timestamp_millis(millis).expect("in range");
            }
            ACKNOWLEDGES_TOO_MUCH if self.appends.fetch_add(1, Ordering::Relaxed) % 10 == 9 => {
                return Ok(Appended {
                    position: self.inner.head().await?,
                    versions: Vec::new(),
                    repeated: false,
                });
            }
            _ => {}
        }
        self.inner.append(append).await
    }

    async fn import(
        &self,
        mut events: Vec<StoredEvent>,
        mut appends: Vec<RecordedAppend>,
    ) -> Result<Position, StoreError> {
        match FAULT {
            FORGETS_APPENDS => appends.clear(),
            KEEPS_TEXT_ONLY => {
                for event in &mut events {
                    event.payload = String::from_utf8_lossy(&event.payload).into_owned().into();
                }
            }
            KEEPS_MILLISECONDS => {
                for event in &mut events {
                    let header = Arc::make_mut(&mut event.header);
                    let millis = header.recorded_at.timestamp_millis();
                    header.recorded_at = DateTime::from_timestamp_millis(millis).expect("in range");
                }
            }
            IMPORTS_EVENT_BY_EVENT => {
                for event in events.split_off(0) {
                    self.inner.import(vec![event], Vec::new()).await?;
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
        self.inner.import(events, appends).await
    }

    async fn read_log(&self, read: LogRead) -> Result<LogPage, StoreError> {
        let head = self.inner.head().await?;
        let limit = read.limit;
        let mut page = self.inner.read_log(read).await?;
        if FAULT == SHOWS_COMMITS_LATE {
            // As with a sequence: the transaction of position 5 commits after that of 8.
            page.events.retain(|event| {
                let at = event.position;
                at.get() % 10 != 5 || head > at.plus(3)
            });
        }
        if FAULT == STOPS_A_PAGE_EARLY && page.events.len() == limit {
            page.at_end = true;
        }
        Ok(page)
    }

    async fn claim(&self, name: &str, owner: &str, term: Duration) -> Result<Claim, StoreError> {
        let owner = match FAULT {
            LEASES_TO_EVERYBODY => "anybody",
            _ => owner,
        };
        self.inner.claim(name, owner, term).await
    }

    async fn commit(&self, mut commit: Commit) -> Result<(), CommitError> {
        if FAULT == IGNORES_FENCES
            && commit.target == Target::Live
            && let Some(fence) = self.fence_of(&commit).await
        {
            commit.fence = fence;
        }
        if FAULT == WRITES_ROWS_BEFORE_CHECKPOINTS {
            let mut rows = commit.clone();
            rows.checkpoint.position = commit.fence.checkpoint;
            self.inner.commit(rows).await?;
            tokio::time::sleep(Duration::from_micros(100)).await;
            commit.rows = None;
        }
        if FAULT == MIXES_BOTH_TABLES && commit.target == Target::Rebuild {
            let mut live = commit.clone();
            live.target = Target::Live;
            if let Some(fence) = self.fence_of(&live).await {
                live.fence = fence;
                live.checkpoint.position = fence.checkpoint;
                self.inner.commit(live).await?;
            }
        }
        self.inner.commit(commit).await
    }

    async fn install_inline(&self, projection: Arc<dyn InlineProjection>) -> Result<(), FoldError> {
        if FAULT == INSTALLS_NOTHING_INLINE {
            return Ok(());
        }
        self.inner.install_inline(projection).await
    }

    async fn begin_rebuild(
        &self,
        spec: &ProjectionSpec,
        owner: &str,
        lease: Duration,
        restart: bool,
        now: DateTime<Utc>,
    ) -> Result<RebuildRecord, RebuildError> {
        let restart = restart || FAULT == RESUMES_NO_REBUILD;
        let begun = self.inner.begin_rebuild(spec, owner, lease, restart, now);
        begun.await
    }

    async fn swap(
        &self,
        request: SwapRequest,
        projection: Arc<dyn InlineProjection>,
    ) -> Result<Swapped, RebuildError> {
        if FAULT == SWAPS_IN_TWO_STEPS {
            self.empty(&request).await;
        }
        self.inner.swap(request, projection).await
    }
}
