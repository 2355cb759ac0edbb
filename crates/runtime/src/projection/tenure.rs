//! A runner's turn at its projection: one process at a time has it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use annals_core::{Claim, ProjectionRecord, Store, StoreError};
use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    lease::{Lease, Leased},
    options::ProjectionOptions,
    status::StatusBoard,
};

/// Takes, keeps and gives up the lease on running a projection.
#[derive(Debug)]
pub(super) struct Tenure {
    store: Arc<dyn Store>,
    projection: String,
    owner: String,
    options: ProjectionOptions,
    status: StatusBoard,
    pulse: Pulse,
    /// Whether the lease may be this runner's.
    holds: bool,
}

impl Tenure {
    pub(super) fn new(
        store: Arc<dyn Store>,
        projection: &str,
        owner: &str,
        options: ProjectionOptions,
        status: StatusBoard,
    ) -> Self {
        Self {
            store,
            projection: projection.to_owned(),
            owner: owner.to_owned(),
            options,
            status,
            pulse: Pulse::default(),
            holds: false,
        }
    }

    /// Takes the lease and answers the epoch to commit in, unless another process holds it, as
    /// the record may tell already.
    pub(super) async fn claim(
        &mut self,
        record: &ProjectionRecord,
    ) -> Result<Option<u64>, StoreError> {
        let last = record.owner.as_ref().filter(|owner| **owner != self.owner);
        let claim = match last.filter(|_| record.leased) {
            // There is no need to ask by a write.
            Some(owner) => Claim::HeldBy {
                owner: owner.clone(),
            },
            None => {
                let term = self.options.lease;
                let claim = self.store.claim(&self.projection, &self.owner, term);
                claim.await?
            }
        };
        let held = std::mem::replace(&mut self.holds, matches!(claim, Claim::Held { .. }));
        let projection = &self.projection;
        match claim {
            Claim::Held { epoch } => {
                if !held {
                    tracing::info!(%projection, epoch, last, "this process runs the projection");
                }
                self.status.leads();
                Ok(Some(epoch))
            }
            Claim::HeldBy { owner } => {
                if held {
                    tracing::warn!(%projection, %owner, "another process has taken over");
                }
                self.status.stands_by(&owner);
                Ok(None)
            }
        }
    }

    /// Renews the lease until what is answered is dropped, or the runner hangs.
    pub(super) fn keep(&self) -> Lease {
        let renewal = Renewal {
            store: Arc::clone(&self.store),
            projection: self.projection.clone(),
            owner: self.owner.clone(),
            status: self.status.clone(),
            pulse: self.pulse.clone(),
            patience: self.options.patience,
            last_beat: (self.pulse.beats(), Instant::now()),
        };
        Lease::keep(renewal, self.options.lease)
    }

    /// The runner has got further, or has seen that there is nothing to do.
    pub(super) fn goes_on(&self) {
        self.pulse.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives the lease up, so that another process need not wait until it has run out.
    pub(super) async fn release(&mut self) -> Result<(), StoreError> {
        if self.holds {
            self.store.release(&self.projection, &self.owner).await?;
            self.holds = false;
        }
        Ok(())
    }
}

/// The signs of life of a runner, counted.
#[derive(Clone, Debug, Default)]
struct Pulse(Arc<AtomicU64>);

impl Pulse {
    fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The lease of a runner that shows signs of life. Liveness is progress: a runner that hangs makes
/// room for another process, however alive its own still is.
#[derive(Debug)]
struct Renewal {
    store: Arc<dyn Store>,
    projection: String,
    owner: String,
    status: StatusBoard,
    pulse: Pulse,
    patience: Duration,
    /// How many signs of life there have been, and since when there was no other.
    last_beat: (u64, Instant),
}

impl Renewal {
    /// For how long the runner has shown no sign of life.
    fn silence(&mut self) -> Duration {
        let beats = self.pulse.beats();
        if beats != self.last_beat.0 {
            self.last_beat = (beats, Instant::now());
        }
        self.last_beat.1.elapsed()
    }
}

#[async_trait]
impl Leased for Renewal {
    fn projection(&self) -> &str {
        &self.projection
    }

    async fn renew(&mut self, term: Duration) -> Result<bool, StoreError> {
        let silence = self.silence();
        if silence > self.patience {
            let seconds = silence.as_secs();
            tracing::error!(projection = %self.projection, seconds, "the projection hangs");
            self.status.problem(format!(
                "it has not got any further for {seconds} s: its code or the store hangs; \
                 another process may take its place"
            ));
            return Ok(true); // it may come back
        }
        let claim = self.store.claim(&self.projection, &self.owner, term);
        match claim.await? {
            Claim::Held { .. } => Ok(true),
            Claim::HeldBy { owner } => {
                self.status.stands_by(&owner);
                Ok(false)
            }
        }
    }
}
