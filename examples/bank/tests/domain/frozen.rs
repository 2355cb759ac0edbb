//! Accounts that neither give nor take money for the time being.

use bank::domain::{Account, AccountCommand, AccountError, AccountEvent, Status, UserBalance};

use annals_testing::given::{ProjectionScenario, Scenario};

use crate::{balance, closed, deposit, deposited, given, open, opened, user, withdraw};

pub(crate) fn frozen(owner: &str) -> AccountEvent {
    AccountEvent::Frozen { owner: user(owner) }
}

fn unfrozen(owner: &str) -> AccountEvent {
    AccountEvent::Unfrozen { owner: user(owner) }
}

fn on_ice() -> Scenario<Account> {
    given([opened("alice"), deposited("alice", 5), frozen("alice")])
}

#[test]
fn an_account_is_frozen_and_unfrozen() {
    given([opened("alice")])
        .when(AccountCommand::Freeze)
        .then([frozen("alice")])
        .then_state(|account| assert_eq!(account.status, Status::Frozen));
    on_ice()
        .when(AccountCommand::Unfreeze)
        .then([unfrozen("alice")])
        .then_state(|account| assert_eq!(account.status, Status::Open));
}

#[test]
fn freezing_and_unfreezing_again_changes_nothing() {
    on_ice().when(AccountCommand::Freeze).then_nothing();
    given([opened("alice")])
        .when(AccountCommand::Unfreeze)
        .then_nothing();
}

#[test]
fn a_frozen_account_neither_gives_nor_takes_and_is_not_closed() {
    for command in [deposit(1), withdraw(1), AccountCommand::Close] {
        on_ice().when(command).then_rejected(AccountError::Frozen);
    }
    on_ice()
        .when(open())
        .then_rejected(AccountError::AlreadyOpen);
}

#[test]
fn only_an_account_in_use_is_frozen() {
    for command in [AccountCommand::Freeze, AccountCommand::Unfreeze] {
        given([])
            .when(command.clone())
            .then_rejected(AccountError::NotFound);
        given([opened("alice"), closed("alice")])
            .when(command)
            .then_rejected(AccountError::Closed);
    }
}

#[test]
fn frozen_money_is_the_users_all_the_same() {
    ProjectionScenario::<UserBalance>::given([
        ("account-1", opened("alice")),
        ("account-1", deposited("alice", 5)),
        ("account-1", frozen("alice")),
        ("account-1", unfrozen("alice")),
    ])
    .then([balance("alice", 5, 1, 4)]);
}
