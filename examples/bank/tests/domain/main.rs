//! Accounts and balances by given, when, then; no store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod frozen;
mod sending;
mod transfer_plan;

use annals::Position;
use annals_testing::given::{ProjectionScenario, Scenario};
use bank::domain::{
    Account, AccountCommand, AccountError, AccountEvent, Amount, Currency, Money, MoneyError,
    Status, UserBalance, UserId, money::MAX_AMOUNT,
};

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

fn amount(minor_units: i64) -> Amount {
    Amount::new(minor_units).unwrap()
}

fn money(minor_units: i64) -> Money {
    match minor_units {
        0 => Money::ZERO,
        minor_units => amount(minor_units).into(),
    }
}

fn eur() -> Currency {
    Currency::default()
}

fn opened(owner: &str) -> AccountEvent {
    AccountEvent::Opened {
        owner: user(owner),
        currency: eur(),
    }
}

fn deposited(owner: &str, units: i64) -> AccountEvent {
    AccountEvent::Deposited {
        owner: user(owner),
        amount: amount(units),
    }
}

fn withdrawn(owner: &str, units: i64) -> AccountEvent {
    AccountEvent::Withdrawn {
        owner: user(owner),
        amount: amount(units),
    }
}

fn closed(owner: &str) -> AccountEvent {
    AccountEvent::Closed { owner: user(owner) }
}

fn open() -> AccountCommand {
    AccountCommand::Open {
        owner: user("alice"),
        currency: eur(),
    }
}

fn deposit(units: i64) -> AccountCommand {
    AccountCommand::Deposit {
        amount: amount(units),
    }
}

fn withdraw(units: i64) -> AccountCommand {
    AccountCommand::Withdraw {
        amount: amount(units),
    }
}

fn given(history: impl IntoIterator<Item = AccountEvent>) -> Scenario<Account> {
    Scenario::given(history)
}

#[test]
fn an_account_that_nobody_opened_can_only_be_opened() {
    given([])
        .when(open())
        .then([opened("alice")])
        .then_state(|account| {
            assert_eq!(
                (account.status, account.balance),
                (Status::Open, Money::ZERO)
            );
        });
    for command in [deposit(1), withdraw(1), AccountCommand::Close] {
        given([])
            .when(command)
            .then_rejected(AccountError::NotFound);
    }
}

#[test]
fn an_empty_account_takes_money_or_is_closed() {
    let empty = || given([opened("alice")]);
    empty()
        .when(open())
        .then_rejected(AccountError::AlreadyOpen);
    empty().when(deposit(5)).then([deposited("alice", 5)]);
    empty().when(AccountCommand::Close).then([closed("alice")]);
    let short = AccountError::InsufficientFunds {
        balance: Money::ZERO,
        amount: amount(1),
    };
    empty().when(withdraw(1)).then_rejected(short);
}

#[test]
fn an_account_with_money_gives_what_it_has_and_is_not_closed() {
    let filled = || given([opened("alice"), deposited("alice", 500)]);
    filled()
        .when(open())
        .then_rejected(AccountError::AlreadyOpen);
    filled()
        .when(deposit(5))
        .then([deposited("alice", 5)])
        .then_state(|account| {
            assert_eq!(account.balance, money(505));
        });
    filled()
        .when(withdraw(500))
        .then([withdrawn("alice", 500)])
        .then_state(|account| {
            assert_eq!(account.balance, Money::ZERO);
        });
    let short = AccountError::InsufficientFunds {
        balance: money(500),
        amount: amount(501),
    };
    filled().when(withdraw(501)).then_rejected(short);
    let full = AccountError::NotEmpty {
        balance: money(500),
    };
    filled().when(AccountCommand::Close).then_rejected(full);
}

#[test]
fn a_closed_account_stays_closed() {
    let history = || given([opened("alice"), closed("alice")]);
    history()
        .when(open())
        .then_rejected(AccountError::AlreadyOpen);
    for command in [deposit(1), withdraw(1), AccountCommand::Close] {
        history().when(command).then_rejected(AccountError::Closed);
    }
}

#[test]
fn an_account_remembers_its_owner_and_currency() {
    let currency: Currency = "USD".parse().unwrap();
    let open = AccountCommand::Open {
        owner: user("bob"),
        currency,
    };
    given([])
        .when(open)
        .then([AccountEvent::Opened {
            owner: user("bob"),
            currency,
        }])
        .then_state(|account| {
            assert_eq!(
                (account.owner.clone(), account.currency),
                (Some(user("bob")), currency)
            )
        });
}

#[test]
fn amounts_are_from_1_to_10_to_the_15() {
    assert_eq!(amount(1).minor_units(), 1);
    assert_eq!(amount(MAX_AMOUNT).minor_units(), 1_000_000_000_000_000);
    for wrong in [0, -1, MAX_AMOUNT + 1, i64::MAX, i64::MIN] {
        assert_eq!(Amount::new(wrong), Err(MoneyError::AmountOutOfRange(wrong)));
    }
}

/// 9,223 times the largest amount is just below what 64 bits can count.
fn almost_everything(owner: &str) -> impl Iterator<Item = AccountEvent> {
    let deposits = (0..9_223)
        .map(|_| deposited(owner, MAX_AMOUNT))
        .collect::<Vec<_>>();
    [opened(owner)].into_iter().chain(deposits)
}

#[test]
fn a_balance_that_can_not_be_counted_is_rejected() {
    let rest = i64::MAX - 9_223 * MAX_AMOUNT;
    let full = || given(almost_everything("alice"));
    let overflow = AccountError::Money(MoneyError::Overflow);
    full().when(deposit(rest + 1)).then_rejected(overflow);
    full()
        .when(deposit(rest))
        .then([deposited("alice", rest)])
        .then_state(|account| {
            assert_eq!(account.balance.minor_units(), i64::MAX);
        });
}

#[test]
fn currencies_are_three_capital_letters() {
    assert_eq!("EUR".parse::<Currency>().unwrap(), eur());
    for wrong in ["", "EU", "EURO", "eur", "E1R", "ÄÖ", "E R"] {
        assert!(wrong.parse::<Currency>().is_err(), "{wrong}");
    }
}

fn balance(owner: &str, units: i64, accounts: i64, position: u64) -> UserBalance {
    UserBalance {
        balance: money(units),
        accounts,
        position: Position::new(position),
        ..UserBalance::new(user(owner))
    }
}

#[test]
fn a_user_has_the_sum_of_all_accounts() {
    ProjectionScenario::<UserBalance>::given([
        ("account-1", opened("alice")),
        ("account-2", opened("alice")),
        ("account-3", opened("bob")),
        ("account-1", deposited("alice", 500)),
        ("account-2", deposited("alice", 70)),
        ("account-1", withdrawn("alice", 100)),
    ])
    .then([balance("alice", 470, 2, 6), balance("bob", 0, 1, 3)]);
}

#[test]
fn a_closed_account_no_longer_counts_but_the_user_stays() {
    ProjectionScenario::<UserBalance>::given([("account-1", opened("alice"))])
        .when("account-1", closed("alice"))
        .then_row(user("alice"), Some(balance("alice", 0, 0, 2)));
}

#[test]
fn a_balance_has_the_currency_of_the_accounts() {
    let currency: Currency = "CHF".parse().unwrap();
    let opened = AccountEvent::Opened {
        owner: user("alice"),
        currency,
    };
    ProjectionScenario::<UserBalance>::given([("account-1", opened)]).then_row(
        user("alice"),
        Some(UserBalance {
            currency,
            ..balance("alice", 0, 1, 1)
        }),
    );
}

#[test]
fn a_sum_that_can_not_be_counted_stops_the_projection() {
    let history = almost_everything("alice").map(|event| ("account-1", event));
    ProjectionScenario::<UserBalance>::given(history)
        .and([("account-2", opened("alice"))])
        .when("account-2", deposited("alice", MAX_AMOUNT))
        .then_fails_with(&MoneyError::Overflow.to_string());
}
