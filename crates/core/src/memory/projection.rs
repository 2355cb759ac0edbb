//! What is kept of one projection.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{State, invalid, lease::Lease, rebuild::Rebuild, side::Side};
use crate::{
    projection_store::{
        Claim, Commit, CommitError, Failure, Fence, ProjectionRecord, ProjectionSpec,
        ProjectionState, Target,
    },
    read_model::TableSpec,
    store::{StoreError, StoreErrorKind},
};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) state: ProjectionState,
    pub(super) inline: bool,
    pub(super) fingerprint: String,
    pub(super) owner: Option<String>,
    pub(super) lease: Lease,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) failure: Option<Failure>,
    pub(super) retry_parked: bool,
    pub(super) live: Side,
    pub(super) rebuild: Option<Rebuild>,
    /// The epoch of the latest rebuild. It outlives the rebuild, so that whoever was at one that
    /// was thrown away can't write to the next.
    pub(super) rebuild_epoch: u64,
}

impl Entry {
    fn new(spec: &ProjectionSpec, now: DateTime<Utc>) -> Self {
        Self {
            name: spec.name.clone(),
            state: ProjectionState::Running,
            inline: spec.inline,
            fingerprint: spec.fingerprint.clone(),
            owner: None,
            lease: Lease::over(),
            updated_at: now,
            failure: None,
            retry_parked: false,
            live: Side::new(spec.table, 1),
            rebuild: None,
            rebuild_epoch: 0,
        }
    }

    pub(super) fn record(&self) -> ProjectionRecord {
        ProjectionRecord {
            name: self.name.clone(),
            state: self.state,
            inline: self.inline,
            checkpoint: self.live.checkpoint,
            epoch: self.live.epoch,
            fingerprint: self.fingerprint.clone(),
            owner: self.owner.clone(),
            leased: self.lease.holds(),
            updated_at: self.updated_at,
            failure: self.failure.clone(),
            parked: self.live.parked.len() as u64,
            retry_parked: self.retry_parked,
            rebuild: self.rebuild.as_ref().map(Rebuild::record),
        }
    }

    pub(super) fn side(&self, target: Target) -> Option<&Side> {
        match target {
            Target::Live => Some(&self.live),
            Target::Rebuild => self.rebuild.as_ref().map(|rebuild| &rebuild.side),
        }
    }

    /// Takes note of the code that is there now.
    fn recognise(&mut self, spec: &ProjectionSpec) {
        self.inline = spec.inline;
        let is_outdated = self.state == ProjectionState::Outdated;
        let fits = self.fingerprint == spec.fingerprint;
        if !fits && !is_outdated {
            self.state = ProjectionState::Outdated;
            self.live.epoch += 1;
        } else if fits && is_outdated {
            self.state = ProjectionState::Running;
            self.failure = None;
            self.live.epoch += 1;
        }
    }

    fn set_state(&mut self, state: ProjectionState, now: DateTime<Utc>) {
        self.state = state;
        self.updated_at = now;
        self.live.epoch += 1;
        if state == ProjectionState::Running {
            self.failure = None;
            self.retry_parked = true;
        }
    }

    /// Stops it for a failure.
    pub(super) fn fail(&mut self, state: ProjectionState, failure: Failure) {
        self.state = state;
        self.failure = Some(failure);
    }

    fn claim(&mut self, owner: &str, term: Duration) -> Claim {
        match &self.owner {
            Some(holder) if holder == owner => {}
            Some(holder) if self.lease.holds() => {
                let owner = holder.clone();
                return Claim::HeldBy { owner };
            }
            _ => {
                self.owner = Some(owner.to_owned());
                self.live.epoch += 1;
            }
        }
        self.lease = Lease::of(term);
        let epoch = self.live.epoch;
        Claim::Held { epoch }
    }

    fn commit(&mut self, commit: Commit) -> Result<(), CommitError> {
        let fence = commit.fence;
        match commit.target {
            Target::Live => {
                if self.state != ProjectionState::Running || !self.live.admits(fence) {
                    return Err(fenced(&self.name));
                }
                let now = commit.now;
                self.live.commit(commit)?;
                self.updated_at = now;
            }
            Target::Rebuild => match &mut self.rebuild {
                Some(rebuild) if rebuild.side.admits(fence) => rebuild.side.commit(commit)?,
                _ => return Err(fenced(&self.name)),
            },
        }
        Ok(())
    }
}

impl State {
    pub(super) fn register(
        &mut self,
        spec: &ProjectionSpec,
        now: DateTime<Utc>,
    ) -> Result<ProjectionRecord, StoreError> {
        self.check_table(spec)?;
        let entry = self
            .projections
            .entry(spec.name.clone())
            .or_insert_with(|| Entry::new(spec, now));
        entry.recognise(spec);
        Ok(entry.record())
    }

    /// Refuses a table that is another projection's.
    pub(super) fn check_table(&self, spec: &ProjectionSpec) -> Result<(), StoreError> {
        let Some(table) = spec.table else {
            return Ok(());
        };
        let has_it = |entry: &&Entry| {
            let sides = [Target::Live, Target::Rebuild].map(|target| entry.side(target));
            sides
                .iter()
                .flatten()
                .any(|side| side.table.is_called(table.name))
        };
        let mut others = self
            .projections
            .values()
            .filter(|entry| entry.name != spec.name);
        others.find(has_it).map_or(Ok(()), |other| {
            Err(invalid(format!(
                "register projection `{}`: table `{}` is projection `{}`'s; name another one",
                spec.name, table.name, other.name
            )))
        })
    }

    pub(super) fn set_state(
        &mut self,
        name: &str,
        state: ProjectionState,
        now: DateTime<Utc>,
    ) -> Option<ProjectionRecord> {
        let entry = self.projections.get_mut(name)?;
        entry.set_state(state, now);
        Some(entry.record())
    }

    pub(super) fn claim(
        &mut self,
        name: &str,
        owner: &str,
        term: Duration,
    ) -> Result<Claim, StoreError> {
        let entry = self.projections.get_mut(name);
        let claim = entry.map(|entry| entry.claim(owner, term));
        claim.ok_or_else(|| {
            let doing = format!("take the lease on projection `{name}`: there is none");
            StoreError::new(StoreErrorKind::NotFound, doing)
        })
    }

    pub(super) fn release(&mut self, name: &str, owner: &str) {
        let entry = self.projections.get_mut(name);
        if let Some(entry) = entry.filter(|entry| entry.owner.as_deref() == Some(owner)) {
            entry.lease = Lease::over();
        }
    }

    pub(super) fn record_failure(
        &mut self,
        name: &str,
        fence: Fence,
        state: ProjectionState,
        failure: Failure,
    ) -> Result<(), CommitError> {
        let entry = self.projections.get_mut(name);
        let Some(entry) = entry.filter(|entry| entry.live.admits(fence)) else {
            return Err(fenced(name));
        };
        entry.fail(state, failure);
        Ok(())
    }

    pub(super) fn commit(&mut self, commit: Commit) -> Result<(), CommitError> {
        match self.projections.get_mut(&commit.projection) {
            Some(entry) => entry.commit(commit),
            None => Err(fenced(&commit.projection)),
        }
    }

    /// The side that holds a table, if it looks as the caller believes.
    pub(super) fn side(&self, table: &TableSpec, target: Target) -> Result<&Side, StoreError> {
        let mut sides = self
            .projections
            .values()
            .filter_map(|entry| entry.side(target));
        let side = sides
            .find(|side| side.table.is_called(table.name))
            .ok_or_else(|| invalid(format!("read table `{}`: there is none", table.name)))?;
        side.table.expect(table)?;
        Ok(side)
    }
}

fn fenced(projection: &str) -> CommitError {
    CommitError::Fenced {
        projection: projection.to_owned(),
    }
}
