//! The demo's transfers: most arrive, and some come back, each for another reason.

use std::{fmt, time::Duration};

use annals::{
    App, WaitError,
    cli::{Meter, Output, count},
    saga::SagaStatus,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    accounts::{Accounts, IN_FLIGHT},
    traffic::Traffic,
};
use crate::{
    commands::error::BankError,
    domain::{Account, AccountCommand, AccountId, Amount, Transfer, TransferId},
    transferring::{TRANSFERRED_WITHIN, Transferring},
};

/// How many transfers go to each account that takes none.
const PER_MISHAP: u64 = 20;
/// How long those to the frozen account may take: long enough to be tried more than once.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the end of a transfer is waited for.
const ENDED_WITHIN: Duration = Duration::from_secs(60);
/// How often the meter moves.
const SHOWN_EVERY: u64 = 20;

/// Accounts that take no money.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    Closed,
    Unknown,
    Frozen,
}

/// What came of the transfers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    completed: u64,
    compensated: u64,
    /// Neither, which should not be.
    others: u64,
}

/// Makes transfers between the demo's accounts, and some to accounts that take none; answers one
/// that came back.
pub(super) async fn run(
    app: &App,
    accounts: &Accounts,
    traffic: &mut Traffic,
    transfers: u64,
) -> Result<(Ends, TransferId), BankError> {
    for mishap in Mishap::ALL {
        mishap.prepare(app, accounts).await?;
    }
    let mut orders = Vec::new();
    for number in 0..transfers {
        let (from, to, amount) = traffic.transfer()?;
        let id = accounts.transfer(number)?;
        let to = accounts.id(to)?;
        orders.push(order(
            id,
            accounts.id(from)?,
            to,
            amount,
            TRANSFERRED_WITHIN,
        ));
    }
    for (mishap, number) in Mishap::ALL
        .into_iter()
        .flat_map(|mishap| (0..PER_MISHAP).map(move |number| (mishap, number)))
    {
        let (from, _, amount) = traffic.transfer()?;
        let to = mishap.account(accounts)?;
        let id = mishap.transfer(accounts, number)?;
        orders.push(order(id, accounts.id(from)?, to, amount, mishap.patience()));
    }
    let ends = make(app, orders).await?;
    Ok((ends, Mishap::Frozen.transfer(accounts, 0)?))
}

fn order(
    id: TransferId,
    from: AccountId,
    to: AccountId,
    amount: Amount,
    within: Duration,
) -> Transferring {
    Transferring {
        id,
        from,
        to,
        amount,
        within,
        command_id: None,
        fingerprint: Vec::new(),
    }
}

/// Makes transfers, many at a time, each to its end.
async fn make(app: &App, orders: Vec<Transferring>) -> Result<Ends, BankError> {
    let mut meter = Meter::new("making transfers", "transfers");
    let all = u64::try_from(orders.len()).unwrap_or(u64::MAX);
    let making = orders.into_iter().map(|order| async move {
        order.begin(app).await.map_err(Box::new)?;
        let ended = app.saga_ended::<Transfer>(&order.id, ENDED_WITHIN).await?;
        Ok::<_, BankError>(ended.status())
    });
    let mut making = stream::iter(making).buffer_unordered(IN_FLIGHT);
    let (mut ends, mut done) = (Ends::default(), 0);
    while let Some(status) = making.try_next().await? {
        match status {
            SagaStatus::Completed => ends.completed += 1,
            SagaStatus::Compensated => ends.compensated += 1,
            _ => ends.others += 1,
        }
        done += 1;
        if done % SHOWN_EVERY == 0 {
            meter.at(done, all);
        }
    }
    Ok(ends)
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (completed, compensated) = (count(self.completed), count(self.compensated));
        write!(f, "{completed} arrived, {compensated} came back")?;
        match self.others {
            0 => Ok(()),
            others => write!(f, ", {others} ended otherwise, which should not be"),
        }
    }
}

/// Says why those came back that did.
pub(super) fn tell(ends: Ends, output: Output) -> Result<(), BankError> {
    output.line(&format!(
        "   {ends}: {PER_MISHAP} each from an account that is closed, one that nobody has \
         opened,\n   and one that is frozen, when their time was over"
    ))?;
    Ok(())
}

impl Mishap {
    const ALL: [Self; 3] = [Self::Closed, Self::Unknown, Self::Frozen];

    fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Unknown => "unknown",
            Self::Frozen => "frozen",
        }
    }

    fn account(self, accounts: &Accounts) -> Result<AccountId, BankError> {
        accounts.special(self.word())
    }

    fn transfer(self, accounts: &Accounts, number: u64) -> Result<TransferId, BankError> {
        accounts.special_transfer(self.word(), number)
    }

    fn patience(self) -> Duration {
        match self {
            Self::Frozen => PATIENCE,
            Self::Closed | Self::Unknown => TRANSFERRED_WITHIN,
        }
    }

    /// Brings the account into the state in which it takes nothing.
    async fn prepare(self, app: &App, accounts: &Accounts) -> Result<(), BankError> {
        let last = match self {
            Self::Closed => AccountCommand::Close,
            Self::Frozen => AccountCommand::Freeze,
            Self::Unknown => return Ok(()),
        };
        let id = self.account(accounts)?;
        accounts.open_special(app, &id).await?;
        app.execute::<Account>(&id, last).await?;
        Ok(())
    }
}

impl From<WaitError> for BankError {
    fn from(error: WaitError) -> Self {
        Self::TransferEnd(Box::new(error))
    }
}
