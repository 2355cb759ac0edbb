//! `projection pause`, `resume` and `retry`.

use annals_core::{ProjectionRecord, ProjectionState};
use annals_runtime::App;
use chrono::Utc;

use super::{find, unknown};
use crate::{error::CliError, output::Output, shown::things};

pub(super) async fn pause(app: &App, name: &str, output: Output) -> Result<(), CliError> {
    let record = find(&**app.store(), name).await?;
    let refuse = |problem| Err(wrong_state("pause", name, problem));
    if record.inline {
        return refuse("it is inline, so every append needs it");
    }
    let said = match record.state {
        ProjectionState::Running => "paused",
        ProjectionState::Paused => "already paused",
        ProjectionState::Failed => return refuse("it has stopped at an event that it can't fold"),
        ProjectionState::Outdated | ProjectionState::Diverged => {
            return refuse("it has stopped until it is rebuilt");
        }
    };
    set(app, name, ProjectionState::Paused, output, said).await
}

pub(super) async fn resume(app: &App, name: &str, output: Output) -> Result<(), CliError> {
    let record = find(&**app.store(), name).await?;
    refuse_unless_rebuilt("resume", &record)?;
    if record.state == ProjectionState::Failed {
        let problem = "it has failed, not paused; `projection retry` lets it try again";
        return Err(wrong_state("resume", name, problem));
    }
    let said = match record.state {
        ProjectionState::Running => "already running",
        _ => "running again",
    };
    set(app, name, ProjectionState::Running, output, said).await
}

pub(super) async fn retry(app: &App, name: &str, output: Output) -> Result<(), CliError> {
    let record = find(&**app.store(), name).await?;
    // Whoever follows the log looks first whether it has been brought back; an inline projection
    // would be taken at its word.
    let look_again = record.state == ProjectionState::Diverged && !record.inline;
    if !look_again {
        refuse_unless_rebuilt("retry", &record)?;
    }
    let doing = match (record.state, record.parked) {
        (ProjectionState::Failed | ProjectionState::Diverged, _) => "trying again".to_owned(),
        (ProjectionState::Paused, _) => {
            let problem = "it is paused; `projection resume` lets it go on";
            return Err(wrong_state("retry", name, problem));
        }
        (_, 0) => return Err(wrong_state("retry", name, "nothing has failed")),
        (_, parked) => format!("trying {} again", things(parked, "parked event")),
    };
    set(app, name, ProjectionState::Running, output, &doing).await
}

fn refuse_unless_rebuilt(doing: &'static str, record: &ProjectionRecord) -> Result<(), CliError> {
    let problem = match record.state {
        ProjectionState::Outdated => "its code has changed; run `projection rebuild`",
        ProjectionState::Diverged if record.inline => {
            "the log is another one than it was built from; run `projection rebuild`"
        }
        ProjectionState::Diverged => {
            "the log is another one than it was built from; bring that back and run `projection \
             retry`, or run `projection rebuild`"
        }
        _ => return Ok(()),
    };
    Err(wrong_state(doing, &record.name, problem))
}

fn wrong_state(doing: &'static str, name: &str, problem: impl Into<String>) -> CliError {
    CliError::WrongState {
        doing,
        name: name.to_owned(),
        problem: problem.into(),
    }
}

async fn set(
    app: &App,
    name: &str,
    state: ProjectionState,
    output: Output,
    said: &str,
) -> Result<(), CliError> {
    let store = &**app.store();
    let Some(record) = store.set_state(name, state, Utc::now()).await? else {
        return Err(unknown(store, name).await);
    };
    output.answer(&record, || {
        format!(
            "{name}: {said} (at position {})",
            record.checkpoint.position
        )
    })
}
