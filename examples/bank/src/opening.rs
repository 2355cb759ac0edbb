//! Opening an account: a user keeps all accounts in one currency, the first one's.
//!
//! No single account can know that, so the decision rests on the read model `user_balance`, and
//! is appended on the condition that the user has opened nothing since the read model's state.

use std::time::Duration;

use annals::{
    App, AppendError, CaughtUpError, CommandId, EventType, Execute, ExecuteError, Executed,
    InvalidName, Position, QueryItem, ReadError, ReadModel, StoreError, Tag, TraceContext,
};

use crate::domain::{
    Account, AccountCommand, AccountError, AccountId, Currency, UserBalance, UserId,
};

/// How often an opening is tried while the same user keeps opening other accounts.
const ATTEMPTS: u32 = 20;
/// How long the read model may take to show an account that was opened meanwhile.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(5);

/// An account to open.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The account.
    pub id: AccountId,
    /// Who will own it.
    pub owner: UserId,
    /// What to keep it in.
    pub currency: Currency,
    /// Names the command, so that the same one again opens nothing and answers as this time.
    pub command_id: Option<CommandId>,
    /// What the command id stands for.
    pub fingerprint: Vec<u8>,
    /// The distributed trace that the opening belongs to.
    pub trace: Option<TraceContext>,
}

/// Why an account was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// The owner's id is too long to be found by.
    #[error("the owner's id can't be used")]
    Owner(#[source] InvalidName),
    /// The user's accounts are in another currency.
    #[error("the user keeps accounts in {held}, so no account in {wanted} can be opened")]
    OtherCurrency {
        /// What the user's accounts are in.
        held: Currency,
        /// What this one should have been in.
        wanted: Currency,
    },
    /// The same user kept opening other accounts.
    #[error("the same user opened other accounts during each of {ATTEMPTS} attempts; try again")]
    Busy,
    /// The command failed.
    #[error(transparent)]
    Execute(#[from] ExecuteError<AccountError>),
    /// The read model does not follow the log.
    #[error(transparent)]
    CaughtUp(#[from] CaughtUpError),
    /// The read model can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Opening {
    /// Opens the account.
    ///
    /// # Errors
    /// When the user's accounts are in another currency, the account exists, or the application
    /// is in no state to tell.
    pub async fn execute(&self, app: &App) -> Result<Executed<Account>, OpeningError> {
        self.execute_with(app, |command| command).await
    }

    /// As [`execute`](Self::execute), with the command completed by the caller, such as by an
    /// actor or entries of metadata. Each attempt asks for it anew.
    ///
    /// # Errors
    /// See [`execute`](Self::execute).
    pub async fn execute_with<C>(
        &self,
        app: &App,
        complete: C,
    ) -> Result<Executed<Account>, OpeningError>
    where
        C: for<'a> Fn(Execute<'a, Account>) -> Execute<'a, Account>,
    {
        let others = self.others().map_err(OpeningError::Owner)?;
        for _ in 0..ATTEMPTS {
            // The checkpoint is read before the row, so the row shows at least what lies before
            // the checkpoint. What the row may not show comes after it, where the append's
            // condition finds it: between the two, no other account of the user goes unseen.
            let checkpoint = checkpoint(app).await?;
            let row = app.row::<UserBalance>(&self.owner).await?;
            if let Some(held) = row.map(|row| row.currency)
                && held != self.currency
                && !self.is_repeated(app).await?
            {
                let wanted = self.currency;
                return Err(OpeningError::OtherCurrency { held, wanted });
            }
            let command = complete(self.command(app));
            match command.unless(others.clone(), checkpoint).await {
                Err(ExecuteError::Append(AppendError::ConditionFailed { position })) => {
                    app.caught_up_within::<UserBalance>(position, CAUGHT_UP_WITHIN)
                        .await?;
                }
                done => return Ok(done?),
            }
        }
        Err(OpeningError::Busy)
    }

    /// The openings of the same user's accounts.
    fn others(&self) -> Result<QueryItem, InvalidName> {
        let opened = EventType::new("account.opened")?;
        let owner = owner_tag(&self.owner)?;
        Ok(QueryItem::default().event_type(opened).tag(owner))
    }

    /// Whether the command was carried out before. It then changes nothing, and the answer is the
    /// first one, whatever the user's currency is.
    async fn is_repeated(&self, app: &App) -> Result<bool, StoreError> {
        match self.command_id {
            Some(id) => Ok(app.store().find_append(id.into()).await?.is_some()),
            None => Ok(false),
        }
    }

    fn command<'a>(&'a self, app: &'a App) -> Execute<'a, Account> {
        let open = AccountCommand::Open {
            owner: self.owner.clone(),
            currency: self.currency,
        };
        let mut command = app.execute(&self.id, open);
        if let Some(id) = self.command_id {
            command = command.command_id(id).fingerprint(&self.fingerprint);
        }
        match &self.trace {
            Some(trace) => command.trace(trace.clone()),
            None => command,
        }
    }
}

impl OpeningError {
    /// The failure of the store behind this error, if that is what it is.
    #[must_use]
    pub fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Execute(error) => error.store_error(),
            Self::CaughtUp(CaughtUpError::Store(error))
            | Self::Read(ReadError::Store(error))
            | Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// The tag that a user's openings are found by.
///
/// # Errors
/// When the id is too long for a tag.
pub fn owner_tag(owner: &UserId) -> Result<Tag, InvalidName> {
    Tag::new("owner", owner)
}

/// Up to where the read model shows the log.
async fn checkpoint(app: &App) -> Result<Position, OpeningError> {
    let projection = UserBalance::TABLE.name;
    match app.store().projection(projection).await? {
        Some(record) => Ok(record.checkpoint.position),
        None => Err(CaughtUpError::NotRegistered {
            projection: projection.to_owned(),
        }
        .into()),
    }
}
