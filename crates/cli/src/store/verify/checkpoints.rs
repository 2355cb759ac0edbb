//! Every checkpoint stands in the log, at the event that it names.

use std::collections::BTreeMap;

use annals_core::{Checkpoint, Position, StoredEvent};
use annals_runtime::App;
use async_trait::async_trait;

use crate::{
    check::{LogCheck, Problem},
    error::CliError,
};

const NAME: &str = "checkpoints stand in the log";

/// The checkpoints as they were before the first event was read, so that none lies beyond the
/// head that is read up to.
#[derive(Default)]
pub(super) struct Checkpoints {
    left: BTreeMap<Position, Vec<(String, Checkpoint)>>,
}

#[async_trait]
impl LogCheck for Checkpoints {
    fn name(&self) -> &str {
        NAME
    }

    async fn begin(&mut self, app: &App) -> Result<(), CliError> {
        for record in app.store().projections().await? {
            let checkpoint = record.checkpoint;
            if checkpoint.position > Position::START {
                let at = self.left.entry(checkpoint.position).or_default();
                at.push((record.name, checkpoint));
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &StoredEvent) -> Option<String> {
        let here = self.left.remove(&event.position)?;
        let elsewhere = here
            .into_iter()
            .filter(|(_, checkpoint)| checkpoint.event_id.is_some_and(|id| id != event.id));
        let names: Vec<String> = elsewhere.map(|(name, _)| format!("`{name}`")).collect();
        (!names.is_empty()).then(|| {
            let names = names.join(", ");
            format!("{names} was folded from another event here; `projection rebuild` it")
        })
    }

    async fn end(&mut self, _app: &App) -> Result<Vec<Problem>, CliError> {
        let not_found = std::mem::take(&mut self.left).into_iter();
        let not_found = not_found.flat_map(|(at, here)| here.into_iter().map(move |it| (at, it.0)));
        let problem = |(position, name)| {
            let message = format!(
                "`{name}` has its checkpoint here, but the log was not found to reach it; \
                 `projection rebuild` it"
            );
            Problem::at(NAME, position, message)
        };
        Ok(not_found.map(problem).collect())
    }
}
