//! The read model is what the log says.

use std::collections::HashMap;

use annals::{
    App, Position, Projection, ProjectionState, ReadModel, Recorded, StoredEvent,
    cli::{CliError, LogCheck, Problem},
};
use async_trait::async_trait;

use crate::domain::{AccountEvent, UserBalance, UserId};

const NAME: &str = "user_balance is a fold of the log";
const PAGE: usize = 1_000;

/// Every row of `user_balance` is a fold of the events up to the read model's checkpoint.
///
/// The read model may move on meanwhile: rows that an event after that checkpoint has changed
/// are left to the next time.
#[derive(Debug, Default)]
pub struct UserBalancesAreFolded {
    /// Where the read model stood when the check began.
    checkpoint: Position,
    /// Why its rows can't be compared, if they can't.
    incomparable: Option<String>,
    rows: HashMap<UserId, UserBalance>,
}

#[async_trait]
impl LogCheck for UserBalancesAreFolded {
    fn name(&self) -> &str {
        NAME
    }

    async fn begin(&mut self, app: &App) -> Result<(), CliError> {
        let Some(record) = app.store().projection(UserBalance::TABLE.name).await? else {
            return Ok(());
        };
        self.checkpoint = record.checkpoint.position;
        self.incomparable = match record.state {
            ProjectionState::Outdated => Some("it is outdated; rebuild it".to_owned()),
            ProjectionState::Diverged => Some("it fits another log; rebuild it".to_owned()),
            _ if record.parked > 0 => {
                Some(format!("{} events are parked; retry them", record.parked))
            }
            _ => None,
        };
        Ok(())
    }

    fn event(&mut self, event: &StoredEvent) -> Option<String> {
        if event.position > self.checkpoint || self.incomparable.is_some() {
            return None;
        }
        match event.decode::<AccountEvent>() {
            Ok(Some(recorded)) => self.fold(&recorded).err(),
            Ok(None) => None,
            Err(error) => Some(format!("the event can't be read: {error}")),
        }
    }

    async fn end(&mut self, app: &App) -> Result<Vec<Problem>, CliError> {
        if let Some(problem) = self.incomparable.take() {
            return Ok(vec![Problem::new(NAME, problem)]);
        }
        let mut problems = Vec::new();
        let mut after = None;
        loop {
            let rows = app.rows::<UserBalance>(after.as_ref(), PAGE).await;
            let rows = rows.map_err(|source| CliError::Check {
                check: NAME.to_owned(),
                source: source.into(),
            })?;
            let is_last_page = rows.len() < PAGE;
            after = rows.last().map(ReadModel::key);
            problems.extend(rows.iter().filter_map(|row| self.compare(row)));
            if is_last_page {
                break;
            }
        }
        problems.extend(self.rows.values().map(|row| {
            let message = format!("the row of `{}` is missing", row.owner);
            Problem::at(NAME, row.position, message)
        }));
        Ok(problems)
    }
}

impl UserBalancesAreFolded {
    fn fold(&mut self, event: &Recorded<AccountEvent>) -> Result<(), String> {
        for owner in UserBalance::keys(event) {
            let row = self.rows.remove(&owner);
            let row = UserBalance::fold(&owner, row, event).map_err(|error| error.message())?;
            self.rows.extend(row.map(|row| (owner, row)));
        }
        Ok(())
    }

    /// Compares a row of the table with the folded one, which is done with then.
    fn compare(&mut self, row: &UserBalance) -> Option<Problem> {
        let folded = self.rows.remove(&row.owner);
        if row.position > self.checkpoint || folded.as_ref() == Some(row) {
            return None;
        }
        let message = match folded {
            Some(folded) => format!("the row is {row:?}, but should be {folded:?}"),
            None => format!("there should be no row of `{}`", row.owner),
        };
        Some(Problem::at(NAME, row.position, message))
    }
}
