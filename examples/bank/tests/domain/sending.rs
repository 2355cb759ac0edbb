//! Both ends of a transfer.

use annals_testing::given::ProjectionScenario;
use bank::domain::{
    AccountCommand, AccountError, AccountEvent, Currency, Money, MoneyError, Status, TransferId,
    UserBalance,
};

use crate::{
    almost_everything, amount, balance, closed, deposited, eur, frozen::frozen, given, money,
    opened, user,
};

fn transfer() -> TransferId {
    "t1".parse().unwrap()
}

fn usd() -> Currency {
    "USD".parse().unwrap()
}

fn send_in(units: i64, currency: Currency) -> AccountCommand {
    AccountCommand::SendTransfer {
        transfer: transfer(),
        to: "b".parse().unwrap(),
        amount: amount(units),
        currency,
    }
}

fn receive_in(units: i64, currency: Currency) -> AccountCommand {
    AccountCommand::ReceiveTransfer {
        transfer: transfer(),
        from: "a".parse().unwrap(),
        amount: amount(units),
        currency,
    }
}

fn send(units: i64) -> AccountCommand {
    send_in(units, eur())
}

fn receive(units: i64) -> AccountCommand {
    receive_in(units, eur())
}

fn take_back(units: i64) -> AccountCommand {
    AccountCommand::ReturnTransfer {
        transfer: transfer(),
        amount: amount(units),
    }
}

fn sent(owner: &str, units: i64) -> AccountEvent {
    AccountEvent::TransferSent {
        owner: user(owner),
        transfer: transfer(),
        to: "b".parse().unwrap(),
        amount: amount(units),
    }
}

fn received(owner: &str, units: i64) -> AccountEvent {
    AccountEvent::TransferReceived {
        owner: user(owner),
        transfer: transfer(),
        from: "a".parse().unwrap(),
        amount: amount(units),
    }
}

fn returned(owner: &str, units: i64) -> AccountEvent {
    AccountEvent::TransferReturned {
        owner: user(owner),
        transfer: transfer(),
        amount: amount(units),
    }
}

fn reopened(owner: &str) -> AccountEvent {
    AccountEvent::Reopened { owner: user(owner) }
}

#[test]
fn an_account_sends_what_it_has() {
    given([opened("alice"), deposited("alice", 5)])
        .when(send(5))
        .then([sent("alice", 5)])
        .then_state(|account| assert_eq!(account.balance, Money::ZERO));
    let short = AccountError::InsufficientFunds {
        balance: money(5),
        amount: amount(6),
    };
    given([opened("alice"), deposited("alice", 5)])
        .when(send(6))
        .then_rejected(short);
}

#[test]
fn an_account_receives_what_it_can_count() {
    given([opened("bob")])
        .when(receive(5))
        .then([received("bob", 5)])
        .then_state(|account| assert_eq!(account.balance, money(5)));
    let rest = i64::MAX - 9_223 * amount(1_000_000_000_000_000).minor_units();
    given(almost_everything("bob"))
        .when(receive(rest + 1))
        .then_rejected(AccountError::Money(MoneyError::Overflow));
}

#[test]
fn a_transfer_in_another_currency_is_refused_at_both_ends() {
    let refused = || AccountError::OtherCurrency {
        held: eur(),
        wanted: usd(),
    };
    for command in [send_in(1, usd()), receive_in(1, usd())] {
        given([opened("alice"), deposited("alice", 5)])
            .when(command)
            .then_rejected(refused());
    }
}

#[test]
fn accounts_that_are_not_in_use_neither_send_nor_receive() {
    for command in [send(1), receive(1)] {
        given([])
            .when(command.clone())
            .then_rejected(AccountError::NotFound);
        given([opened("alice"), deposited("alice", 5), frozen("alice")])
            .when(command.clone())
            .then_rejected(AccountError::Frozen);
        given([opened("alice"), closed("alice")])
            .when(command)
            .then_rejected(AccountError::Closed);
    }
}

#[test]
fn money_comes_back_to_an_open_or_frozen_account() {
    let history = [opened("alice"), deposited("alice", 5), sent("alice", 5)];
    given(history.clone())
        .when(take_back(5))
        .then([returned("alice", 5)])
        .then_state(|account| assert_eq!(account.balance, money(5)));
    given(history.into_iter().chain([frozen("alice")]))
        .when(take_back(5))
        .then([returned("alice", 5)])
        .then_state(|account| assert_eq!(account.status, Status::Frozen));
}

#[test]
fn money_that_comes_back_to_a_closed_account_opens_it_again() {
    given([
        opened("alice"),
        deposited("alice", 5),
        sent("alice", 5),
        closed("alice"),
    ])
    .when(take_back(5))
    .then([reopened("alice"), returned("alice", 5)])
    .then_state(|account| {
        assert_eq!((account.status, account.balance), (Status::Open, money(5)));
    });
}

#[test]
fn money_comes_back_only_where_an_account_is_and_can_count_it() {
    given([])
        .when(take_back(5))
        .then_rejected(AccountError::NotFound);
    let most = amount(1_000_000_000_000_000).minor_units();
    given(almost_everything("alice"))
        .when(take_back(most))
        .then_rejected(AccountError::Money(MoneyError::Overflow));
}

#[test]
fn the_users_balances_follow_both_ends() {
    ProjectionScenario::<UserBalance>::given([
        ("account-a", opened("alice")),
        ("account-b", opened("bob")),
        ("account-a", deposited("alice", 9)),
        ("account-a", sent("alice", 5)),
        ("account-b", received("bob", 5)),
    ])
    .then([balance("alice", 4, 1, 4), balance("bob", 5, 1, 5)]);
}

#[test]
fn an_account_that_is_opened_again_counts_again() {
    ProjectionScenario::<UserBalance>::given([
        ("account-a", opened("alice")),
        ("account-a", deposited("alice", 5)),
        ("account-a", sent("alice", 5)),
        ("account-a", closed("alice")),
    ])
    .then([balance("alice", 0, 0, 4)])
    .and([
        ("account-a", reopened("alice")),
        ("account-a", returned("alice", 5)),
    ])
    .then([balance("alice", 5, 1, 6)]);
}
