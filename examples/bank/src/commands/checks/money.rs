//! Money is neither made nor lost.

use std::collections::HashMap;

use annals::{Aggregate, StoredEvent, StreamName, cli::LogCheck};

use crate::domain::{Account, AccountEvent, Status};

/// At every position of the log, what the accounts hold is what was deposited less what was
/// withdrawn, no account holds less than nothing, and a closed one holds nothing.
#[derive(Debug, Default)]
pub struct MoneyIsConserved {
    accounts: HashMap<StreamName, Account>,
    /// What all accounts hold together.
    held: i128,
    /// What was deposited, less what was withdrawn.
    paid_in: i128,
}

impl LogCheck for MoneyIsConserved {
    fn name(&self) -> &str {
        "money is conserved"
    }

    fn event(&mut self, event: &StoredEvent) -> Option<String> {
        match event.decode::<AccountEvent>() {
            Ok(Some(recorded)) => self.check(&event.stream, &recorded.event),
            Ok(None) => None,
            Err(error) => Some(format!("the event can't be read: {error}")),
        }
    }
}

impl MoneyIsConserved {
    fn check(&mut self, stream: &StreamName, event: &AccountEvent) -> Option<String> {
        let account = self.accounts.entry(stream.clone()).or_default();
        let before = account.clone();
        account.evolve(event);
        let (held, holds) = (before.balance.minor_units(), account.balance.minor_units());
        self.held += i128::from(holds) - i128::from(held);
        self.paid_in += match event {
            AccountEvent::Deposited { amount, .. } => i128::from(amount.minor_units()),
            AccountEvent::Withdrawn { amount, .. } => -i128::from(amount.minor_units()),
            AccountEvent::Opened { .. } | AccountEvent::Closed { .. } => 0,
        };
        let opens = matches!(event, AccountEvent::Opened { .. });
        if opens != (before.status == Status::Absent) || before.status == Status::Closed {
            return Some(format!(
                "`{stream}` can't have this event while it is {:?}",
                before.status
            ));
        }
        if holds < 0 {
            return Some(format!("`{stream}` holds {holds}, less than nothing"));
        }
        if account.status == Status::Closed && holds != 0 {
            return Some(format!("`{stream}` is closed, but holds {holds}"));
        }
        (self.held != self.paid_in).then(|| {
            let (held, paid_in) = (self.held, self.paid_in);
            // Later events are judged by themselves.
            self.paid_in = held;
            format!("the accounts hold {held}, but {paid_in} was paid in and not withdrawn")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Amount, Currency, UserId};

    fn owner() -> UserId {
        "alice".parse().unwrap()
    }

    fn opened() -> AccountEvent {
        AccountEvent::Opened {
            owner: owner(),
            currency: Currency::default(),
        }
    }

    fn deposited(amount: i64) -> AccountEvent {
        AccountEvent::Deposited {
            owner: owner(),
            amount: Amount::new(amount).unwrap(),
        }
    }

    fn withdrawn(amount: i64) -> AccountEvent {
        AccountEvent::Withdrawn {
            owner: owner(),
            amount: Amount::new(amount).unwrap(),
        }
    }

    fn problems(events: Vec<AccountEvent>) -> Vec<Option<String>> {
        let stream = StreamName::parse("account-a").unwrap();
        let mut check = MoneyIsConserved::default();
        events
            .iter()
            .map(|event| check.check(&stream, event))
            .collect()
    }

    #[test]
    fn a_sound_history_has_no_problems() {
        let closed = AccountEvent::Closed { owner: owner() };
        let events = vec![opened(), deposited(10), withdrawn(10), closed];
        assert_eq!(problems(events), [None, None, None, None]);
    }

    #[test]
    fn an_overdraft_is_found() {
        let found = problems(vec![opened(), deposited(10), withdrawn(11)]);
        assert_eq!(
            found[2].as_deref(),
            Some("`account-a` holds -1, less than nothing")
        );
    }

    #[test]
    fn money_that_the_account_could_not_take_in_is_found() {
        // The balance can't hold the last deposit, and evolving leaves it out.
        let most = 1_000_000_000_000_000;
        let deposits = std::iter::repeat_n(deposited(most), 9_224);
        let found = problems(std::iter::once(opened()).chain(deposits).collect());
        assert!(found[..9_224].iter().all(Option::is_none));
        assert!(
            found[9_224]
                .as_deref()
                .is_some_and(|what| what.contains("was paid in"))
        );
    }

    #[test]
    fn an_event_that_does_not_fit_the_account_is_found() {
        let closed = || AccountEvent::Closed { owner: owner() };
        for (events, wrong) in [
            (vec![deposited(1)], 0),
            (vec![opened(), opened()], 1),
            (vec![opened(), closed(), closed()], 2),
            (vec![opened(), deposited(1), closed()], 2),
        ] {
            let found = problems(events);
            let first = found.iter().position(Option::is_some);
            assert_eq!(first, Some(wrong), "{found:?}");
        }
    }
}
