//! The demo's accounts: new ones in each run, so that it can be run again and again.

use annals::{App, InvalidName, StreamName, Version};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    commands::error::BankError,
    domain::{Account, AccountCommand, AccountId, Amount, Currency, TransferId, UserId},
    opening::Opening,
};

/// How many commands are on their way at a time: enough to fill the store's group commits.
pub(super) const IN_FLIGHT: usize = 256;
/// What every account begins with: 10,000.00.
pub(super) const FIRST_DEPOSIT: i64 = 1_000_000;
/// How many accounts a user has.
const ACCOUNTS_PER_USER: u64 = 4;

/// The accounts of one run of the demo.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    run: u64,
    count: u64,
}

impl Accounts {
    /// So many accounts that the store does not have yet.
    pub(super) async fn next_run(app: &App, count: u64) -> Result<Self, BankError> {
        let mut accounts = Self { run: 1, count };
        while app.load::<Account>(&accounts.id(0)?).await?.version != Version::NONE {
            accounts.run += 1;
        }
        Ok(accounts)
    }

    /// Whether the store has no accounts of an earlier demo.
    pub(super) fn is_first_run(&self) -> bool {
        self.run == 1
    }

    /// The account with this number; the first is 0.
    pub(super) fn id(&self, number: u64) -> Result<AccountId, BankError> {
        Ok(format!("demo{}-{:04}", self.run, number + 1).parse()?)
    }

    /// An account that is not one of those that are counted, by a word for what is special.
    pub(super) fn special(&self, word: &str) -> Result<AccountId, BankError> {
        Ok(format!("demo{}-{word}", self.run).parse()?)
    }

    /// The transfer with this number.
    pub(super) fn transfer(&self, number: u64) -> Result<TransferId, BankError> {
        Ok(format!("demo{}-{:05}", self.run, number + 1).parse()?)
    }

    /// One of the transfers to a [special](Self::special) account.
    pub(super) fn special_transfer(
        &self,
        word: &str,
        number: u64,
    ) -> Result<TransferId, BankError> {
        Ok(format!("demo{}-to-{word}-{:02}", self.run, number + 1).parse()?)
    }

    /// Who owns the account with this number.
    pub(super) fn owner(&self, number: u64) -> Result<UserId, BankError> {
        let user = number / ACCOUNTS_PER_USER + 1;
        Ok(format!("demo{}-user-{user:03}", self.run).parse()?)
    }

    /// The stream of the first account.
    pub(super) fn first_stream(&self) -> Result<StreamName, InvalidName> {
        StreamName::parse(&format!("account-demo{}-0001", self.run))
    }

    /// Opens them all, each with a first deposit: the users side by side, the accounts of each
    /// one after another, since an opening starts over when the same user opens another account.
    pub(super) async fn open(&self, app: &App) -> Result<(), BankError> {
        let users = self.count.div_ceil(ACCOUNTS_PER_USER);
        stream::iter((0..users).map(|user| self.open_of(app, user)))
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await
    }

    async fn open_of(&self, app: &App, user: u64) -> Result<(), BankError> {
        let first = user * ACCOUNTS_PER_USER;
        for number in first..self.count.min(first + ACCOUNTS_PER_USER) {
            self.open_one(app, number).await?;
        }
        Ok(())
    }

    async fn open_one(&self, app: &App, number: u64) -> Result<(), BankError> {
        let id = self.id(number)?;
        open_empty(app, id.clone(), self.owner(number)?).await?;
        let amount = Amount::new(FIRST_DEPOSIT)?;
        app.execute::<Account>(&id, AccountCommand::Deposit { amount })
            .await?;
        Ok(())
    }

    /// Opens a [special](Self::special) account, of a user of its own.
    pub(super) async fn open_special(&self, app: &App, id: &AccountId) -> Result<(), BankError> {
        let owner = format!("demo{}-user-000", self.run).parse()?;
        open_empty(app, id.clone(), owner).await
    }
}

async fn open_empty(app: &App, id: AccountId, owner: UserId) -> Result<(), BankError> {
    let opening = Opening {
        id,
        owner,
        currency: Currency::default(),
        command_id: None,
        fingerprint: Vec::new(),
        trace: None,
    };
    opening.execute(app).await.map_err(Box::new)?;
    Ok(())
}
