//! The index of tags says the same as the events.

use annals_core::{StoredEvent, TagMismatch};
use annals_runtime::App;
use async_trait::async_trait;

use super::{REPORTED, in_full};
use crate::{
    check::{LogCheck, Problem},
    error::CliError,
};

const NAME: &str = "events can be found by their tags";

/// Has the store compare its index of tags with the tags that events carry: a condition on tags is
/// judged by that index alone.
pub(super) struct Tags;

#[async_trait]
impl LogCheck for Tags {
    fn name(&self) -> &str {
        NAME
    }

    fn event(&mut self, _event: &StoredEvent) -> Option<String> {
        None
    }

    async fn end(&mut self, app: &App) -> Result<Vec<Problem>, CliError> {
        match app.store().tag_mismatches(REPORTED).await {
            Ok(mismatches) => Ok(mismatches.iter().map(problem).collect()),
            Err(error) if error.is_transient() => Err(error.into()),
            // Such as tags that can't be read at all.
            Err(error) => Ok(vec![Problem::new(NAME, in_full(&error))]),
        }
    }
}

fn problem(mismatch: &TagMismatch) -> Problem {
    let TagMismatch {
        position,
        tag,
        missing,
    } = mismatch;
    let message = if *missing {
        format!("the event has tag `{tag}`, but the index of tags does not lead to it")
    } else {
        format!("the index of tags has `{tag}` here, but no event with that tag is here")
    };
    Problem::at(NAME, *position, message)
}
