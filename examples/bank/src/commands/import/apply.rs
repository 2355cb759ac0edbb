//! Carrying a row out, and remembering what was rejected.
//!
//! A command id remembers only what was carried out: a rejected command is decided anew when it
//! comes again, and by then the account may hold enough. A second import of the same file would
//! then apply what the first one rejected. So a rejection is remembered, too: as an append of no
//! events under the row's command id, with a fingerprint that stands for the reason.

use std::time::Duration;

use annals::{
    App, Append, AppendError, Category, CommandId, Event, Execute, ExecuteError, Expected,
    InvalidId, InvalidName, LoadError, SagaError, StoreError, StreamName, WaitError,
    saga::SagaStatus,
};
use chrono::Utc;

use super::{
    owners::Owners,
    reason::Reason,
    row::{Order, Row},
};
use crate::{
    domain::{
        Account, AccountCommand, AccountError, AccountEvent, AccountId, Amount, Currency, Transfer,
        TransferId, UserId,
    },
    opening::{Opening, OpeningError},
    transferring::{Transferring, TransferringError},
};

/// In whose name rows are carried out.
const ACTOR: &str = "import";
/// How long a transfer's end may take after its deadline, such as when a server that ran it was
/// killed and its lease has to pass first.
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Applied,
    /// An earlier import has applied it.
    AppliedBefore,
    Rejected(Reason),
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
    /// The transfer can't be named.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// A transfer was not begun.
    #[error("failed to begin a transfer")]
    Transferring(#[from] TransferringError),
    /// A transfer's end was not seen.
    #[error("failed to see the end of a transfer")]
    Wait(#[from] WaitError),
    /// A transfer can't go on without an operator.
    #[error("transfer `{id}` is stuck ({reason}); see `bank saga show {id}`")]
    Stuck {
        /// Which one.
        id: TransferId,
        /// Why.
        reason: String,
    },
    /// An account can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
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
            Self::Transferring(error) => error.store_error(),
            Self::Wait(WaitError::Saga(SagaError::Store(error)))
            | Self::Load(LoadError::Store(error)) => Some(error),
            _ => None,
        }
    }
}

/// Carries out rows in the order of the file, each unless an earlier import has.
pub(super) struct Applier {
    app: App,
    owners: Owners,
    transferred_within: Duration,
    /// Whether an earlier import may have dealt with the next row.
    ///
    /// It has dealt with the rows in the same order, so after the first row that it has not seen
    /// there is none that it has. This spares asking; the command ids are what keeps a row from
    /// being applied twice.
    maybe_repeated: bool,
}

impl Applier {
    /// The `owners` are shared by all who carry out rows of the same file.
    pub(super) fn new(app: App, owners: Owners, transferred_within: Duration) -> Self {
        Self {
            app,
            owners,
            transferred_within,
            maybe_repeated: true,
        }
    }

    pub(super) async fn apply(&mut self, row: &Row) -> Result<Outcome, RowError> {
        let command = match &row.order {
            Order::Account(command) => command.clone(),
            Order::Transfer { to, amount } => return self.transfer(row, to, *amount).await,
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

    /// Carries a transfer out to its end.
    async fn transfer(
        &self,
        row: &Row,
        to: &AccountId,
        amount: Amount,
    ) -> Result<Outcome, RowError> {
        // Its saga does not know of a rejection that was remembered.
        if let Some(outcome) = outcome_before(&self.app, row.command_id).await? {
            return Ok(outcome);
        }
        let id = row.command_id.uuid().to_string().parse()?;
        let transferring = Transferring {
            id,
            from: row.account.clone(),
            to: to.clone(),
            amount,
            within: self.transferred_within,
            command_id: None,
            fingerprint: Vec::new(),
        };
        let begun = transferring.begin_with(&self.app, |starting| {
            let starting = starting.actor(ACTOR);
            starting.extra("booked_at", row.booked_at.clone())
        });
        let reason = match begun.await {
            Ok(begun) => return self.ended(&transferring, begun.repeated).await,
            Err(TransferringError::ToItself) => Reason::ToItself,
            Err(TransferringError::Refused(refusal)) => Reason::of(&refusal),
            Err(error) => return Err(error.into()),
        };
        remember(&self.app, row, reason).await?;
        Ok(Outcome::Rejected(reason))
    }

    /// Waits until a transfer has ended, however long a server that died may keep others from it.
    async fn ended(&self, transfer: &Transferring, repeated: bool) -> Result<Outcome, RowError> {
        let within = transfer.within.saturating_add(ENDED_WITHIN);
        let saga = self
            .app
            .saga_ended::<Transfer>(&transfer.id, within)
            .await?;
        let reason = saga.reason().unwrap_or_default();
        match saga.status() {
            SagaStatus::Completed if repeated => Ok(Outcome::AppliedBefore),
            SagaStatus::Completed => Ok(Outcome::Applied),
            SagaStatus::Stuck => Err(RowError::Stuck {
                id: transfer.id.clone(),
                reason: reason.to_owned(),
            }),
            _ => {
                let asked = saga.process().saga().ok_or(WaitError::NotFound)?;
                let counterparty = self.app.load::<Account>(&transfer.to).await?;
                let held = counterparty.state.currency;
                Ok(Outcome::Rejected(Reason::of_transfer(reason, asked, held)))
            }
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
        .actor(ACTOR)
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
