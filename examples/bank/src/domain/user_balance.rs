//! What each user has: the read model `user_balance`.

use annals::{FailurePolicy, Position, Projection, ProjectionError, ReadModel, Recorded};

use super::{
    account::AccountEvent,
    ids::{Currency, UserId},
    money::Money,
};

/// All that a user has, over all accounts.
#[derive(ReadModel, Clone, Debug, PartialEq, Eq)]
pub struct UserBalance {
    /// The user.
    #[key]
    pub owner: UserId,
    /// The sum of the accounts' balances.
    pub balance: Money,
    /// How many accounts are open.
    pub accounts: i64,
    /// What the accounts are kept in. A user has accounts in one currency only.
    pub currency: Currency,
    /// The last event that changed the row.
    pub position: Position,
}

impl Projection for UserBalance {
    type Event = AccountEvent;

    // A user whose sum can't be counted any more must not stop everybody else's.
    const ON_FAILURE: FailurePolicy = FailurePolicy::Park;

    fn keys(event: &Recorded<AccountEvent>) -> impl IntoIterator<Item = UserId> {
        [event.event.owner().clone()]
    }

    fn fold(
        owner: &UserId,
        row: Option<Self>,
        event: &Recorded<AccountEvent>,
    ) -> Result<Option<Self>, ProjectionError> {
        let mut row = row.unwrap_or_else(|| Self::new(owner.clone()));
        row.position = event.position;
        match &event.event {
            AccountEvent::Opened { currency, .. } => {
                row.accounts += 1;
                row.currency = *currency;
            }
            AccountEvent::Deposited { amount, .. }
            | AccountEvent::TransferReceived { amount, .. }
            | AccountEvent::TransferReturned { amount, .. } => {
                row.balance = row.balance.plus(*amount)?;
            }
            AccountEvent::Withdrawn { amount, .. } | AccountEvent::TransferSent { amount, .. } => {
                row.balance = row.balance.minus(*amount)?;
            }
            // Frozen money is the user's all the same.
            AccountEvent::Frozen { .. } | AccountEvent::Unfrozen { .. } => {}
            AccountEvent::Closed { .. } => row.accounts -= 1,
            AccountEvent::Reopened { .. } => row.accounts += 1,
        }
        Ok(Some(row))
    }
}

impl UserBalance {
    /// A user who has nothing yet.
    pub fn new(owner: UserId) -> Self {
        Self {
            owner,
            balance: Money::ZERO,
            accounts: 0,
            currency: Currency::default(),
            position: Position::START,
        }
    }
}
