//! Carrying a row out, and remembering what was rejected.
//!
//! A command id remembers only what was carried out: a rejected command is decided anew when it
//! comes again, and by then the account may hold enough. A second import of the same file would
//! then apply what the first one rejected. So a rejection is remembered, too: as an append of no
//! events under the row's command id, with a fingerprint that stands for the reason.

use annals::{
    App, Append, AppendError, Category, CommandId, Event, Execute, ExecuteError, Expected,
    Fingerprint, InvalidName, StoreError, StreamName,
};
use chrono::Utc;
use serde::Serialize;
use uuid::Uuid;

use super::{
    owners::Owners,
    row::{Order, Row},
};
use crate::{
    domain::{Account, AccountCommand, AccountError, AccountEvent, Currency, UserId},
    opening::{Opening, OpeningError},
};

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Applied,
    /// An earlier import has applied it.
    AppliedBefore,
    Rejected(Reason),
}

/// Why the bank rejects a row, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    AlreadyOpen,
    NotFound,
    Closed,
    InsufficientFunds,
    NotEmpty,
    Frozen,
    BalanceOverflow,
    OtherCurrency,
    TransfersNotSupported,
}

/// Why a row was neither carried out nor rejected.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The account could not be opened.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// The command failed.
    #[error(transparent)]
    Execute(#[from] ExecuteError<AccountError>),
    /// The rejection could not be remembered.
    #[error("failed to remember that the row is rejected")]
    Remember(#[from] AppendError),
    /// The account's stream can't be named.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RowError {
    /// The failure of the store behind this error, if that is what it is.
    #[must_use]
    pub fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Opening(error) => error.store_error(),
            Self::Execute(error) => error.store_error(),
            Self::Remember(AppendError::Store(error) | AppendError::Unknown(error))
            | Self::Store(error) => Some(error),
            Self::Remember(_) | Self::Name(_) => None,
        }
    }
}

impl Reason {
    /// The reasons that are remembered.
    const REMEMBERED: [Self; 8] = [
        Self::AlreadyOpen,
        Self::NotFound,
        Self::Closed,
        Self::InsufficientFunds,
        Self::NotEmpty,
        Self::Frozen,
        Self::BalanceOverflow,
        Self::OtherCurrency,
    ];

    fn of(error: &AccountError) -> Self {
        match error {
            AccountError::AlreadyOpen => Self::AlreadyOpen,
            AccountError::NotFound => Self::NotFound,
            AccountError::Closed => Self::Closed,
            AccountError::InsufficientFunds { .. } => Self::InsufficientFunds,
            AccountError::NotEmpty { .. } => Self::NotEmpty,
            AccountError::Frozen => Self::Frozen,
            AccountError::OtherCurrency { .. } => Self::OtherCurrency,
            AccountError::Money(_) => Self::BalanceOverflow,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::AlreadyOpen => "already_open",
            Self::NotFound => "not_found",
            Self::Closed => "closed",
            Self::InsufficientFunds => "insufficient_funds",
            Self::NotEmpty => "not_empty",
            Self::Frozen => "frozen",
            Self::BalanceOverflow => "balance_overflow",
            Self::OtherCurrency => "other_currency",
            Self::TransfersNotSupported => "transfers_not_supported",
        }
    }

    /// What stands in the store for a rejection for this reason.
    fn fingerprint(self) -> Fingerprint {
        let rejected = Uuid::new_v5(&Uuid::NAMESPACE_OID, b"bank import rejected");
        Uuid::new_v5(&rejected, self.word().as_bytes()).into_bytes()
    }

    fn remembered_as(fingerprint: Fingerprint) -> Option<Self> {
        let mut reasons = Self::REMEMBERED.into_iter();
        reasons.find(|reason| reason.fingerprint() == fingerprint)
    }
}

/// Carries out rows in the order of the file, each unless an earlier import has.
pub(super) struct Applier {
    app: App,
    owners: Owners,
    /// Whether an earlier import may have dealt with the next row.
    ///
    /// It has dealt with the rows in the same order, so after the first row that it has not seen
    /// there is none that it has. This spares asking; the command ids are what keeps a row from
    /// being applied twice.
    maybe_repeated: bool,
}

impl Applier {
    /// The `owners` are shared by all who carry out rows of the same file.
    pub(super) fn new(app: App, owners: Owners) -> Self {
        Self {
            app,
            owners,
            maybe_repeated: true,
        }
    }

    pub(super) async fn apply(&mut self, row: &Row) -> Result<Outcome, RowError> {
        let command = match &row.order {
            Order::Account(command) => command.clone(),
            Order::Transfer { .. } => return Ok(Outcome::Rejected(Reason::TransfersNotSupported)),
        };
        if self.maybe_repeated {
            // Cheaper than repeating the command, which loads the account as of then.
            match outcome_before(&self.app, row.command_id).await? {
                Some(outcome) => return Ok(outcome),
                None => self.maybe_repeated = false,
            }
        }
        match self.execute(row, command).await {
            Ok(true) => Ok(Outcome::AppliedBefore),
            Ok(false) => Ok(Outcome::Applied),
            Err(Refusal::Rejected(reason)) => {
                remember(&self.app, row, reason).await?;
                Ok(Outcome::Rejected(reason))
            }
            Err(Refusal::IdReused(error)) => {
                let before = outcome_before(&self.app, row.command_id).await?;
                before.ok_or(error)
            }
            Err(Refusal::Failed(error)) => Err(error),
        }
    }

    /// Tells whether the command was carried out before.
    async fn execute(&self, row: &Row, command: AccountCommand) -> Result<bool, Refusal> {
        if let AccountCommand::Open { owner, currency } = command {
            return self.open(row, owner, currency).await;
        }
        let command = self.app.execute::<Account>(&row.account, command);
        let executed = signed(command.command_id(row.command_id), row).await;
        Ok(executed.map_err(refusal)?.repeated)
    }

    async fn open(&self, row: &Row, owner: UserId, currency: Currency) -> Result<bool, Refusal> {
        let _alone = self.owners.one_at_a_time(&owner).await;
        let opening = Opening {
            id: row.account.clone(),
            owner,
            currency,
            command_id: Some(row.command_id),
            fingerprint: Vec::new(),
            trace: None,
        };
        let opened = opening.execute_with(&self.app, |command| signed(command, row));
        match opened.await {
            Ok(executed) => Ok(executed.repeated),
            Err(OpeningError::OtherCurrency { .. }) => {
                Err(Refusal::Rejected(Reason::OtherCurrency))
            }
            Err(OpeningError::Execute(error)) => Err(refusal(error)),
            Err(error) => Err(Refusal::Failed(error.into())),
        }
    }
}

/// Why a row's command had no effect.
enum Refusal {
    Rejected(Reason),
    /// Most likely for a rejection that an earlier import remembered.
    IdReused(RowError),
    Failed(RowError),
}

fn refusal(error: ExecuteError<AccountError>) -> Refusal {
    match error {
        ExecuteError::Rejected(error) => Refusal::Rejected(Reason::of(&error)),
        error @ ExecuteError::CommandIdReused { .. } => Refusal::IdReused(error.into()),
        error => Refusal::Failed(error.into()),
    }
}

/// Says with the events where they come from.
fn signed<'a>(command: Execute<'a, Account>, row: &Row) -> Execute<'a, Account> {
    command
        .actor("import")
        .extra("booked_at", row.booked_at.clone())
}

/// What an earlier import made of the row with this id.
async fn outcome_before(app: &App, id: CommandId) -> Result<Option<Outcome>, RowError> {
    let found = app.store().find_append(id.into()).await?;
    Ok(found.map(
        |(_, fingerprint)| match Reason::remembered_as(fingerprint) {
            Some(reason) => Outcome::Rejected(reason),
            None => Outcome::AppliedBefore,
        },
    ))
}

async fn remember(app: &App, row: &Row, reason: Reason) -> Result<(), RowError> {
    let stream = StreamName::new(&Category::new(AccountEvent::CATEGORY)?, &row.account)?;
    let nothing = Append::to(stream, Expected::Any, Vec::new(), Utc::now());
    app.store()
        .append(nothing.once(row.command_id.into(), reason.fingerprint()))
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_remembered_reason_is_recognised() {
        for reason in Reason::REMEMBERED {
            assert_eq!(Reason::remembered_as(reason.fingerprint()), Some(reason));
        }
        assert_eq!(Reason::remembered_as(Fingerprint::default()), None);
    }
}
