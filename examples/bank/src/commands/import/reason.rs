//! Why the bank rejects a row, in a word.

use annals::Fingerprint;
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{AccountError, Currency, MoneyError, Transfer};

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
    ToItself,
    CounterpartyNotFound,
    CounterpartyClosed,
    CounterpartyOverflow,
    DeadlinePassed,
    TransferRefused,
}

impl Reason {
    /// The reasons that are remembered.
    const REMEMBERED: [Self; 9] = [
        Self::AlreadyOpen,
        Self::NotFound,
        Self::Closed,
        Self::InsufficientFunds,
        Self::NotEmpty,
        Self::Frozen,
        Self::BalanceOverflow,
        Self::OtherCurrency,
        Self::ToItself,
    ];

    pub(super) fn of(error: &AccountError) -> Self {
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
            Self::ToItself => "to_itself",
            Self::CounterpartyNotFound => "counterparty_not_found",
            Self::CounterpartyClosed => "counterparty_closed",
            Self::CounterpartyOverflow => "counterparty_overflow",
            Self::DeadlinePassed => "deadline_passed",
            Self::TransferRefused => "transfer_refused",
        }
    }

    /// What stands in the store for a rejection for this reason.
    pub(super) fn fingerprint(self) -> Fingerprint {
        let rejected = Uuid::new_v5(&Uuid::NAMESPACE_OID, b"bank import rejected");
        Uuid::new_v5(&rejected, self.word().as_bytes()).into_bytes()
    }

    pub(super) fn remembered_as(fingerprint: Fingerprint) -> Option<Self> {
        let mut reasons = Self::REMEMBERED.into_iter();
        reasons.find(|reason| reason.fingerprint() == fingerprint)
    }

    /// Why a transfer came to nothing. Its saga keeps what an account said as text, and by that it
    /// is recognised; `counterparty` is the currency of the account that the money should go to.
    pub(super) fn of_transfer(said: &str, transfer: &Transfer, counterparty: Currency) -> Self {
        let other_currency = AccountError::OtherCurrency {
            held: counterparty,
            wanted: transfer.currency,
        };
        let overflow = || AccountError::from(MoneyError::Overflow);
        let known = [
            ("debit", AccountError::Closed, Self::Closed),
            ("debit", AccountError::Frozen, Self::Frozen),
            ("credit", AccountError::NotFound, Self::CounterpartyNotFound),
            ("credit", AccountError::Closed, Self::CounterpartyClosed),
            ("credit", overflow(), Self::CounterpartyOverflow),
            ("credit", other_currency, Self::OtherCurrency),
        ];
        let mut known = known.into_iter();
        let found = known.find(|(step, error, _)| said == format!("{step}: {error}"));
        match found {
            Some((.., reason)) => reason,
            None if said.starts_with("not done within ") => Self::DeadlinePassed,
            None => Self::TransferRefused,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Amount;

    #[test]
    fn every_remembered_reason_is_recognised() {
        for reason in Reason::REMEMBERED {
            assert_eq!(Reason::remembered_as(reason.fingerprint()), Some(reason));
        }
        assert_eq!(Reason::remembered_as(Fingerprint::default()), None);
    }

    #[test]
    fn what_an_account_said_to_a_transfer_becomes_a_word() {
        let transfer = Transfer {
            from: "a".parse().unwrap(),
            to: "b".parse().unwrap(),
            amount: Amount::new(5).unwrap(),
            currency: Currency::default(),
            within: Duration::ZERO,
        };
        let usd: Currency = "USD".parse().unwrap();
        for (said, reason) in [
            ("credit: the account is closed", Reason::CounterpartyClosed),
            ("debit: the account is closed", Reason::Closed),
            (
                "credit: there is no such account",
                Reason::CounterpartyNotFound,
            ),
            (
                "credit: the account is kept in USD, so it has nothing to do with EUR",
                Reason::OtherCurrency,
            ),
            ("not done within 30s", Reason::DeadlinePassed),
            (
                "not done within 30s (the account is frozen)",
                Reason::DeadlinePassed,
            ),
            ("given up", Reason::TransferRefused),
        ] {
            assert_eq!(Reason::of_transfer(said, &transfer, usd), reason, "{said}");
        }
    }
}
