//! A transfer from its start to each of its ends, by given, when, then; the clock included.

use std::time::Duration;

use annals::saga::{Linear, SagaStatus};
use annals_testing::given::SagaScenario;
use bank::domain::{Account, AccountCommand, AccountError, MoneyError, Transfer, TransferId};

use crate::{amount, eur, money};

/// How long the transfer may take.
const WITHIN: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn id() -> TransferId {
    "rent".parse().unwrap()
}

fn transfer() -> Transfer {
    Transfer {
        from: "a".parse().unwrap(),
        to: "b".parse().unwrap(),
        amount: amount(30),
        currency: eur(),
        within: WITHIN,
    }
}

fn give_back() -> AccountCommand {
    AccountCommand::ReturnTransfer {
        transfer: id(),
        amount: amount(30),
    }
}

/// A transfer that was asked for.
fn started() -> SagaScenario<Linear<Transfer>> {
    SagaScenario::started(&id(), transfer())
}

/// A transfer whose money has left the first account.
fn sent() -> SagaScenario<Linear<Transfer>> {
    started().when_done("debit").then_waits_for(["credit"])
}

/// A transfer whose second account is frozen.
fn put_off() -> SagaScenario<Linear<Transfer>> {
    sent().when_refused("credit", &AccountError::Frozen)
}

#[test]
fn money_leaves_one_account_and_then_arrives_at_the_other() {
    let arrived = started()
        .then_waits_for(["debit"])
        .then_sends::<Account>("debit", "a", &transfer().debit(&id()))
        .then_deadlines([("plan", WITHIN)])
        .when_done("debit")
        .then_waits_for(["credit"])
        .then_sends::<Account>("credit", "b", &transfer().credit(&id()))
        .then_stands(SagaStatus::Running, None)
        .when_done("credit");
    let _ended = arrived
        .then_waits_for([])
        .then_deadlines([])
        .then_stands(SagaStatus::Completed, None);
}

#[test]
fn a_transfer_of_more_than_there_is_fails_and_undoes_nothing() {
    let short = AccountError::InsufficientFunds {
        balance: money(29),
        amount: amount(30),
    };
    let refused = started().when_refused("debit", &short);
    let reason = "debit: the account holds 29, which is less than 30";
    let _ended = refused
        .then_waits_for([])
        .then_deadlines([])
        .then_stands(SagaStatus::Failed, Some(reason));
}

#[test]
fn money_goes_back_at_once_when_the_other_account_can_never_take_it() {
    for (refusal, reason) in [
        (AccountError::Closed, "credit: the account is closed"),
        (AccountError::NotFound, "credit: there is no such account"),
        (
            AccountError::Money(MoneyError::Overflow),
            "credit: the balance would exceed what the bank can count",
        ),
    ] {
        let undoing = sent()
            .when_refused("credit", &refusal)
            .then_waits_for(["undo:debit"])
            .then_sends::<Account>("undo:debit", "a", &give_back())
            .then_deadlines([])
            .then_stands(SagaStatus::Compensating, Some(reason));
        let _ended = undoing
            .when_done("undo:debit")
            .then_waits_for([])
            .then_stands(SagaStatus::Compensated, Some(reason));
    }
}

#[test]
fn a_frozen_account_gets_its_money_when_it_is_unfrozen_in_time() {
    let arrived = put_off()
        .then_waits_for(["credit"])
        .then_stands(SagaStatus::Running, None)
        .when_time_passes(WITHIN - SECOND)
        .then_deadlines([("plan", SECOND)])
        .when_done("credit");
    let _ended = arrived
        .then_deadlines([])
        .then_stands(SagaStatus::Completed, None)
        .when_time_passes(WITHIN)
        .then_stands(SagaStatus::Completed, None);
}

#[test]
fn money_goes_back_when_the_other_account_stays_frozen_for_too_long() {
    let too_late = "not done within 30s (the account is frozen)";
    let undoing = put_off()
        .when_time_passes(WITHIN - SECOND)
        .then_waits_for(["credit"])
        .when_time_passes(SECOND)
        .then_waits_for(["undo:debit"])
        .then_sends::<Account>("undo:debit", "a", &give_back())
        .then_stands(SagaStatus::Compensating, Some(too_late));
    let _ended = undoing
        .when_done("undo:debit")
        .then_deadlines([])
        .then_stands(SagaStatus::Compensated, Some(too_late));
}

#[test]
fn a_transfer_whose_money_has_not_left_in_time_fails() {
    let late = started().when_time_passes(WITHIN);
    let _ended = late
        .then_waits_for([])
        .then_deadlines([])
        .then_stands(SagaStatus::Failed, Some("not done within 30s"));
}

#[test]
fn money_that_can_not_go_back_is_left_to_an_operator_after_six_attempts() {
    let overflow = AccountError::Money(MoneyError::Overflow);
    let mut undoing = sent().when_refused("credit", &AccountError::Closed);
    for _ in 0..6 {
        undoing = undoing
            .then_waits_for(["undo:debit"])
            .then_stands(
                SagaStatus::Compensating,
                Some("credit: the account is closed"),
            )
            .when_refused("undo:debit", &overflow);
    }
    let reason = "the balance would exceed what the bank can count";
    let _stuck = undoing.then_stands(SagaStatus::Stuck, Some(reason));
}
