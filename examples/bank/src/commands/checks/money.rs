//! Money is neither made nor lost.

use std::collections::HashMap;

use annals::{
    Aggregate, StoredEvent, StreamName,
    cli::{LogCheck, count, things},
};

use super::transfers::Transfers;
use crate::domain::{Account, AccountEvent, Status};

/// At every position of the log, what the accounts hold, and what is on its way between them, is
/// what was deposited less what was withdrawn; no account holds less than nothing, and a closed
/// one holds nothing; no transfer is sent, received or returned twice, or ends both ways.
#[derive(Debug, Default)]
pub struct MoneyIsConserved {
    accounts: HashMap<StreamName, Account>,
    transfers: Transfers,
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

    fn note(&self) -> Option<String> {
        let in_flight = self.transfers.in_flight().into_iter();
        let sums = in_flight.map(|(currency, flight)| {
            let (transfers, sum) = (things(flight.transfers, "transfer"), shown(flight.sum));
            format!("{sum} {currency} (minor units) in flight in {transfers}")
        });
        let sums: Vec<_> = sums.collect();
        Some(match sums.is_empty() {
            true => "nothing in flight".to_owned(),
            false => sums.join(", "),
        })
    }
}

/// A sum with its thousands set apart.
fn shown(sum: i128) -> String {
    u64::try_from(sum).map_or_else(|_| sum.to_string(), count)
}

/// Whether this can happen to an account that is at this point of its life.
fn fits(status: Status, event: &AccountEvent) -> bool {
    match event {
        AccountEvent::Opened { .. } => status == Status::Absent,
        AccountEvent::Reopened { .. } => status == Status::Closed,
        AccountEvent::Unfrozen { .. } => status == Status::Frozen,
        AccountEvent::TransferReturned { .. } => matches!(status, Status::Open | Status::Frozen),
        AccountEvent::Deposited { .. }
        | AccountEvent::Withdrawn { .. }
        | AccountEvent::TransferSent { .. }
        | AccountEvent::TransferReceived { .. }
        | AccountEvent::Frozen { .. }
        | AccountEvent::Closed { .. } => status == Status::Open,
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
            _ => 0,
        };
        let moved = self.transfers.check(stream, account.currency, event);
        let accounted = self.held + self.transfers.sum();
        let paid_in = std::mem::replace(&mut self.paid_in, accounted); // later events are judged by themselves
        if let Err(wrong) = moved {
            return Some(wrong);
        }
        if !fits(before.status, event) {
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
        (accounted != paid_in).then(|| {
            let (held, in_flight) = (self.held, self.transfers.sum());
            format!(
                "the accounts hold {held} and {in_flight} is in flight, \
                 but {paid_in} was paid in and not withdrawn"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Amount, Currency, TransferId, UserId};

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

    /// Alice's account holds 10, bob's nothing.
    fn two_accounts() -> MoneyIsConserved {
        let mut check = MoneyIsConserved::default();
        for (stream, event) in [
            ("account-a", opened()),
            ("account-a", deposited(10)),
            ("account-b", opened()),
        ] {
            assert_eq!(
                check.check(&StreamName::parse(stream).unwrap(), &event),
                None
            );
        }
        check
    }

    fn transfer() -> TransferId {
        "t".parse().unwrap()
    }

    fn sent(amount: i64) -> (&'static str, AccountEvent) {
        let event = AccountEvent::TransferSent {
            owner: owner(),
            transfer: transfer(),
            to: "b".parse().unwrap(),
            amount: Amount::new(amount).unwrap(),
        };
        ("account-a", event)
    }

    fn received(amount: i64) -> (&'static str, AccountEvent) {
        let event = AccountEvent::TransferReceived {
            owner: owner(),
            transfer: transfer(),
            from: "a".parse().unwrap(),
            amount: Amount::new(amount).unwrap(),
        };
        ("account-b", event)
    }

    fn returned(amount: i64) -> (&'static str, AccountEvent) {
        let event = AccountEvent::TransferReturned {
            owner: owner(),
            transfer: transfer(),
            amount: Amount::new(amount).unwrap(),
        };
        ("account-a", event)
    }

    fn moved(events: Vec<(&str, AccountEvent)>) -> (MoneyIsConserved, Vec<Option<String>>) {
        let mut check = two_accounts();
        let found = events.iter().map(|(stream, event)| {
            let stream = StreamName::parse(stream).unwrap();
            check.check(&stream, event)
        });
        let found = found.collect();
        (check, found)
    }

    #[test]
    fn money_in_flight_is_counted_until_it_arrives_or_comes_back() {
        let (check, found) = moved(vec![sent(4)]);
        assert_eq!(found, [None]);
        assert_eq!(
            check.note().as_deref(),
            Some("4 EUR (minor units) in flight in 1 transfer")
        );
        for end in [received(4), returned(4)] {
            let (check, found) = moved(vec![sent(4), end]);
            assert_eq!(found, [None, None]);
            assert_eq!(check.note().as_deref(), Some("nothing in flight"));
        }
    }

    #[test]
    fn a_double_compensation_is_found() {
        let (_, found) = moved(vec![sent(4), returned(4), returned(4)]);
        let twice = "transfer `t` is returned, but was returned before";
        assert_eq!(found, [None, None, Some(twice.to_owned())]);
    }

    #[test]
    fn a_transfer_that_does_not_end_as_it_should_is_found() {
        let (to_others, of_others) = (("account-a", received(4).1), ("account-b", returned(4).1));
        for (events, wrong) in [
            (
                vec![received(4)],
                "transfer `t` is received, but was never sent",
            ),
            (vec![sent(4), sent(4)], "transfer `t` is sent a second time"),
            (
                vec![sent(4), received(4), returned(4)],
                "transfer `t` is returned, but was received before",
            ),
            (
                vec![sent(4), returned(4), received(4)],
                "transfer `t` is received, but was returned before",
            ),
            (
                vec![sent(4), received(5)],
                "transfer `t` is received with 5 EUR, but was sent with 4 EUR",
            ),
            (
                vec![sent(4), to_others],
                "transfer `t` is received by `a`, but was sent to `b`",
            ),
            (
                vec![sent(4), of_others],
                "transfer `t` is returned to `b`, but was sent by `a`",
            ),
        ] {
            let (_, found) = moved(events);
            let (last, before) = found.split_last().unwrap();
            assert_eq!(last.as_deref(), Some(wrong));
            assert!(before.iter().all(Option::is_none), "{before:?}");
        }
    }

    #[test]
    fn money_that_comes_back_opens_a_closed_account_again() {
        let closed = ("account-a", AccountEvent::Closed { owner: owner() });
        let reopened = ("account-a", AccountEvent::Reopened { owner: owner() });
        let events = vec![sent(10), closed.clone(), reopened, returned(10)];
        assert_eq!(moved(events).1, [None, None, None, None]);
        let found = moved(vec![sent(10), closed, returned(10)]).1;
        assert!(found[2].is_some(), "{found:?}");
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
        let frozen = || AccountEvent::Frozen { owner: owner() };
        for (events, wrong) in [
            (vec![deposited(1)], 0),
            (vec![opened(), opened()], 1),
            (vec![opened(), closed(), closed()], 2),
            (vec![opened(), deposited(1), closed()], 2),
            (vec![opened(), frozen(), deposited(1)], 2),
            (vec![opened(), frozen(), closed()], 2),
            (vec![opened(), AccountEvent::Unfrozen { owner: owner() }], 1),
            (vec![opened(), AccountEvent::Reopened { owner: owner() }], 1),
        ] {
            let found = problems(events);
            let first = found.iter().position(Option::is_some);
            assert_eq!(first, Some(wrong), "{found:?}");
        }
    }
}
