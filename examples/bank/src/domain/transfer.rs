//! A transfer: money from one account to another, whole or not at all.

use std::{error::Error, time::Duration};

use annals::saga::{Plan, Retry, Saga, SagaStatus};
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
    /// How long it may take before the money goes back. It is part of the plan, and so kept there;
    /// the same transfer asked for with another patience is the same one.
    #[serde(skip)]
    pub within: Duration,
}

impl Saga for Transfer {
    const NAME: &'static str = "transfer";
    type Id = TransferId;
    type SendsTo = (Account,);

    fn plan(&self, id: &TransferId, plan: &mut Plan) {
        plan.deadline(self.within);
        // It takes the money back unless it can't be counted, which rarely mends by itself.
        plan.undo_retry(Retry::times(6).waiting(PATIENCE.0, PATIENCE.1));
        plan.step("debit")
            .command::<Account>(&self.from, self.debit(id))
            .undo(AccountCommand::ReturnTransfer {
                transfer: id.clone(),
                amount: self.amount,
            });
        plan.step("credit")
            .command::<Account>(&self.to, self.credit(id))
            .retry(Retry::until_deadline().waiting(PATIENCE.0, PATIENCE.1));
    }

    /// A frozen account may be unfrozen in time; any other refusal is for good.
    fn retries(step: &str, refusal: &(dyn Error + 'static)) -> bool {
        let frozen = matches!(refusal.downcast_ref(), Some(AccountError::Frozen));
        frozen || step != "credit"
    }
}

impl Transfer {
    /// What the account that the money comes from is asked to do.
    pub fn debit(&self, id: &TransferId) -> AccountCommand {
        AccountCommand::SendTransfer {
            transfer: id.clone(),
            to: self.to.clone(),
            amount: self.amount,
            currency: self.currency,
        }
    }

    /// What the account that the money goes to is asked to do.
    pub fn credit(&self, id: &TransferId) -> AccountCommand {
        AccountCommand::ReceiveTransfer {
            transfer: id.clone(),
            from: self.from.clone(),
            amount: self.amount,
            currency: self.currency,
        }
    }
}

/// Where a transfer is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferStatus {
    /// On its way, forwards or backwards, or waiting for an operator.
    Pending,
    /// The money has arrived.
    Completed,
    /// The money has gone back.
    Compensated,
    /// The money did not leave, or an operator gave the transfer up.
    Failed,
}

impl From<SagaStatus> for TransferStatus {
    fn from(status: SagaStatus) -> Self {
        match status {
            SagaStatus::Running | SagaStatus::Compensating | SagaStatus::Stuck => Self::Pending,
            SagaStatus::Completed => Self::Completed,
            SagaStatus::Compensated => Self::Compensated,
            SagaStatus::Failed | SagaStatus::Abandoned => Self::Failed,
        }
    }
}
