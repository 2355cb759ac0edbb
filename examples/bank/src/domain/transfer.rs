//! A transfer: money from one account to another, whole or not at all.

use std::{error::Error, time::Duration};

use annals::saga::{Plan, Retry, Saga};
use serde::{Deserialize, Serialize};

use super::{
    account::{Account, AccountCommand, AccountError},
    ids::{AccountId, Currency, TransferId},
    money::Amount,
};

/// How long a frozen account is left in peace at first, and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// What a transfer is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Where the money comes from.
    pub from: AccountId,
    /// Where it goes.
    pub to: AccountId,
    /// How much.
    pub amount: Amount,
    /// In what: that of the account it comes from.
    pub currency: Currency,
    /// How long it may take before the money goes back.
    pub within: Duration,
}

impl Saga for Transfer {
    const NAME: &'static str = "transfer";
    type Id = TransferId;
    type SendsTo = (Account,);

    fn plan(&self, id: &TransferId, plan: &mut Plan) {
        let (transfer, amount, currency) = (id.clone(), self.amount, self.currency);
        plan.deadline(self.within);
        plan.step("debit")
            .command::<Account>(
                &self.from,
                AccountCommand::SendTransfer {
                    transfer: transfer.clone(),
                    to: self.to.clone(),
                    amount,
                    currency,
                },
            )
            .undo(AccountCommand::ReturnTransfer {
                transfer: transfer.clone(),
                amount,
            });
        plan.step("credit")
            .command::<Account>(
                &self.to,
                AccountCommand::ReceiveTransfer {
                    transfer,
                    from: self.from.clone(),
                    amount,
                    currency,
                },
            )
            .retry(Retry::until_deadline().waiting(PATIENCE.0, PATIENCE.1));
    }

    /// A frozen account may be unfrozen in time; any other refusal is for good.
    fn retries(step: &str, refusal: &(dyn Error + 'static)) -> bool {
        let frozen = matches!(refusal.downcast_ref(), Some(AccountError::Frozen));
        frozen || step != "credit"
    }
}
