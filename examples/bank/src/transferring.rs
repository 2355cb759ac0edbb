//! Asking for a transfer: what can be known at once is answered at once.
//!
//! A transfer is a saga, so whatever happens it ends well; but whoever asks for more than there is
//! should hear so, and not have to come back for it. So the account that the money comes from is
//! looked at first. What it says then does not bind it: the saga asks again.

use std::time::Duration;

use annals::{
    Aggregate as _, App, CommandId, LoadError, SagaError, StartSaga, StartSagaError, StartedSaga,
    StoreError, saga::Linear,
};

use crate::domain::{Account, AccountError, AccountId, Amount, Transfer, TransferId};

/// How long a transfer may take unless somebody says otherwise.
pub const TRANSFERRED_WITHIN: Duration = Duration::from_secs(30);

/// A transfer to make.
#[derive(Clone, Debug)]
pub struct Transferring {
    /// Names it. The same one again, between the same accounts and of the same amount, is the
    /// same transfer.
    pub id: TransferId,
    /// Where the money comes from.
    pub from: AccountId,
    /// Where it goes.
    pub to: AccountId,
    /// How much.
    pub amount: Amount,
    /// How long it may take before the money goes back.
    pub within: Duration,
    /// Names the request, so that the same one again begins nothing and answers as this time.
    pub command_id: Option<CommandId>,
    /// What the command id stands for.
    pub fingerprint: Vec<u8>,
}

/// Why a transfer was not begun.
#[derive(Debug, thiserror::Error)]
pub enum TransferringError {
    /// It would end where it begins.
    #[error("money can't be transferred from an account to itself")]
    ToItself,
    /// The account that the money should come from says no.
    #[error(transparent)]
    Refused(AccountError),
    /// The account can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An earlier transfer can't be read.
    #[error(transparent)]
    Read(#[from] SagaError),
    /// The saga does not start, such as when there is another transfer with this id.
    #[error(transparent)]
    Start(#[from] StartSagaError),
}

impl Transferring {
    /// Begins the transfer; it goes on by itself.
    ///
    /// # Errors
    /// When the account that the money comes from refuses, the id is taken by another transfer, or
    /// the application is in no state to tell.
    pub async fn begin(&self, app: &App) -> Result<StartedSaga, TransferringError> {
        self.begin_with(app, |starting| starting).await
    }

    /// As [`begin`](Self::begin), with the start completed by the caller, such as by an actor or
    /// the trace that it belongs to.
    ///
    /// # Errors
    /// See [`begin`](Self::begin).
    pub async fn begin_with<C>(
        &self,
        app: &App,
        complete: C,
    ) -> Result<StartedSaga, TransferringError>
    where
        C: for<'a> FnOnce(StartSaga<'a, Linear<Transfer>>) -> StartSaga<'a, Linear<Transfer>>,
    {
        if self.from == self.to {
            return Err(TransferringError::ToItself);
        }
        let source = app.load::<Account>(&self.from).await?.state;
        let transfer = Transfer {
            from: self.from.clone(),
            to: self.to.clone(),
            amount: self.amount,
            currency: source.currency,
            within: self.within,
        };
        if let Err(refusal) = source.decide(transfer.debit(&self.id))
            && !self.is_known(app).await?
        {
            return Err(TransferringError::Refused(refusal));
        }
        let mut starting = app.start_saga::<Transfer>(&self.id, transfer);
        if let Some(id) = self.command_id {
            starting = starting.command_id(id).fingerprint(&self.fingerprint);
        }
        Ok(complete(starting).await?)
    }

    /// Whether it was begun before, or its command id was used: it may be this very transfer that
    /// has left too little on the account.
    async fn is_known(&self, app: &App) -> Result<bool, SagaError> {
        if let Some(id) = self.command_id
            && app.store().find_append(id.into()).await?.is_some()
        {
            return Ok(true);
        }
        Ok(app.saga::<Transfer>(&self.id).await?.is_some())
    }
}

impl TransferringError {
    /// The failure of the store behind this error, if that is what it is.
    #[must_use]
    pub fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Load(LoadError::Store(error)) | Self::Read(SagaError::Store(error)) => {
                Some(error)
            }
            Self::Start(error) => error.store_error(),
            _ => None,
        }
    }
}
