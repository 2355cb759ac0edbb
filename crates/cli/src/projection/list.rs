//! `projection list`: how the projections are doing.

use annals_core::{LogRead, Position, ProjectionRecord, ProjectionState, Store, StoreError};
use annals_runtime::App;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::{
    error::CliError,
    output::Output,
    shown::{age, count, plain},
    table::{Align, Table},
};

/// A projection with something to fold that has not moved for so long does not move.
const STALLED_AFTER: TimeDelta = TimeDelta::seconds(10);

#[derive(Serialize)]
struct Listed {
    /// The stored state, or `stalled`.
    status: Status,
    head: Position,
    lag: u64,
    #[serde(flatten)]
    record: ProjectionRecord,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// Running by its record, but without progress.
    Stalled,
    #[serde(untagged)]
    Stored(ProjectionState),
}

pub(super) async fn run(app: &App, output: Output) -> Result<(), CliError> {
    let store = &**app.store();
    let now = Utc::now();
    // In this order, so that no projection is ever seen ahead of the log.
    let records = store.projections().await?;
    let head = store.head().await?;
    let mut listed = Vec::new();
    for record in records {
        let waiting = next_event_at(store, &record, head).await?;
        listed.push(Listed {
            status: status(&record, waiting, now),
            head,
            lag: head.get().saturating_sub(record.checkpoint.position.get()),
            record,
        });
    }
    output.answer(&listed, || text(&listed, now))
}

/// When the event was recorded that a projection has to fold next, if there is one.
async fn next_event_at(
    store: &dyn Store,
    record: &ProjectionRecord,
    head: Position,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let checkpoint = record.checkpoint.position;
    if checkpoint >= head {
        return Ok(None);
    }
    let page = store.read_log(LogRead::after(checkpoint, 1)).await?;
    Ok(page.events.first().map(|event| event.recorded_at))
}

/// Liveness is progress: a record that says `running` proves nothing.
fn status(record: &ProjectionRecord, waiting: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Status {
    let stalled = waiting.is_some_and(|recorded_at| {
        now.signed_duration_since(recorded_at.max(record.updated_at)) > STALLED_AFTER
    });
    match record.state {
        ProjectionState::Running if stalled => Status::Stalled,
        state => Status::Stored(state),
    }
}

fn text(listed: &[Listed], now: DateTime<Utc>) -> String {
    if listed.is_empty() {
        return "the application has no projections".to_owned();
    }
    let mut table = Table::new([
        ("name", Align::Left),
        ("state", Align::Left),
        ("checkpoint", Align::Right),
        ("head", Align::Right),
        ("lag", Align::Right),
        ("owner", Align::Left),
        ("updated", Align::Left),
        ("parked", Align::Right),
        ("last error", Align::Left),
    ]);
    for Listed {
        status,
        head,
        lag,
        record,
    } in listed
    {
        table.row([
            record.name.clone(),
            state(*status, record),
            count(record.checkpoint.position.get()),
            count(head.get()),
            count(*lag),
            owner(record),
            age(record.updated_at, now),
            count(record.parked),
            last_error(record),
        ]);
    }
    table.to_string()
}

fn state(status: Status, record: &ProjectionRecord) -> String {
    let state = match status {
        Status::Stalled => "stalled",
        Status::Stored(ProjectionState::Running) => "running",
        Status::Stored(ProjectionState::Paused) => "paused",
        Status::Stored(ProjectionState::Failed) => "failed",
        Status::Stored(ProjectionState::Outdated) => "outdated",
        Status::Stored(ProjectionState::Diverged) => "diverged",
    };
    match &record.rebuild {
        Some(rebuild) if rebuild.leased => format!("{state}, being rebuilt"),
        Some(_) => format!("{state}, rebuild interrupted"),
        None => state.to_owned(),
    }
}

/// Who runs the projection, or that nobody does at present.
fn owner(record: &ProjectionRecord) -> String {
    match &record.owner {
        Some(owner) if record.leased => plain(owner),
        Some(owner) => plain(&format!("nobody, last {owner}")),
        // Every process that appends.
        None if record.inline => "-".to_owned(),
        None => "nobody".to_owned(),
    }
}

fn last_error(record: &ProjectionRecord) -> String {
    match &record.failure {
        Some(failure) => plain(&format!(
            "at position {}: {}",
            failure.position, failure.message
        )),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use annals_core::Checkpoint;

    use super::*;

    fn record(state: ProjectionState, updated_at: DateTime<Utc>) -> ProjectionRecord {
        ProjectionRecord {
            name: "user_balance".to_owned(),
            state,
            inline: false,
            checkpoint: Checkpoint::default(),
            epoch: 1,
            fingerprint: "1".to_owned(),
            owner: None,
            leased: false,
            updated_at,
            failure: None,
            parked: 0,
            retry_parked: false,
            rebuild: None,
        }
    }

    #[test]
    fn a_running_projection_without_progress_is_stalled() {
        let now = Utc::now();
        let ago = |seconds| now - TimeDelta::seconds(seconds);
        let running = ProjectionState::Running;
        for (state, updated, waiting, expected) in [
            (running, ago(11), Some(ago(11)), Status::Stalled),
            // It has moved, and has more to do.
            (running, ago(1), Some(ago(60)), Status::Stored(running)),
            // It was idle for long, and the event has only just come.
            (running, ago(60), Some(ago(1)), Status::Stored(running)),
            // It has nothing to do.
            (running, ago(60), None, Status::Stored(running)),
            (
                ProjectionState::Paused,
                ago(60),
                Some(ago(60)),
                Status::Stored(ProjectionState::Paused),
            ),
        ] {
            assert_eq!(status(&record(state, updated), waiting, now), expected);
        }
    }

    #[test]
    fn an_owner_whose_lease_has_run_out_is_not_shown_as_one_that_works() {
        let mut record = record(ProjectionState::Running, Utc::now());
        assert_eq!(owner(&record), "nobody");
        record.owner = Some("process 7".to_owned());
        assert_eq!(owner(&record), "nobody, last process 7");
        record.leased = true;
        assert_eq!(owner(&record), "process 7");
        record = ProjectionRecord {
            inline: true,
            owner: None,
            ..record
        };
        assert_eq!(owner(&record), "-");
    }

    #[test]
    fn the_status_is_one_word_in_json() {
        let words = [Status::Stalled, Status::Stored(ProjectionState::Failed)];
        assert_eq!(
            serde_json::to_string(&words).unwrap(),
            r#"["stalled","failed"]"#
        );
    }
}
