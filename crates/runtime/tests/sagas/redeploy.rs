//! A new release that plans otherwise, while sagas of the one before are on their way.

use std::{error::Error, sync::Arc, time::Duration};

use annals_core::{
    MemoryStore,
    saga::{Instance, Linear, Plan, Saga, SagaStatus},
};
use annals_runtime::App;
use annals_testing::clock::ManualClock;
use serde::{Deserialize, Serialize};

use crate::{
    accounts::{Account, AccountCommand, transfer},
    bank::{Bank, PATIENCE, builder, until},
};

/// What a transfer is in the next release: it takes a fee, does not wait for frozen accounts, and
/// gives back less than it took. `PATIENT` is whether a refusal by one is worth another try.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct NextTransfer<const PATIENT: bool> {
    from: String,
    to: String,
    cents: i64,
}

impl<const PATIENT: bool> Saga for NextTransfer<PATIENT> {
    const NAME: &'static str = "transfer";
    type Id = String;
    type SendsTo = (Account,);

    fn plan(&self, _id: &String, plan: &mut Plan) {
        let cents = self.cents;
        plan.step("debit")
            .command::<Account>(&self.from, AccountCommand::Withdraw { cents: cents + 1 })
            .undo(AccountCommand::Deposit { cents });
        plan.step("fee")
            .command::<Account>(&"bank".to_owned(), AccountCommand::Deposit { cents: 1 });
        plan.step("credit")
            .command::<Account>(&self.to, AccountCommand::Deposit { cents });
    }

    fn retries(_step: &str, _rejection: &(dyn Error + 'static)) -> bool {
        PATIENT
    }
}

/// A transfer of this release that waits for a frozen account, and then the next release.
async fn redeployed<const PATIENT: bool>() -> Bank {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank.tell("b", AccountCommand::Freeze).await;
    bank.start("old", transfer("a", "b", 30)).await;
    until(async || {
        let saga = bank.saga("old").await;
        let credit = saga.outstanding().get("credit");
        credit.is_some_and(|credit| credit.refusals > 0)
    })
    .await;
    bank.app.sagas().shutdown().await;
    bank.app.projections().shutdown().await;
    let Bank { store, clock, .. } = bank;
    let app = next_release::<PATIENT>(&store, &clock).await;
    Bank { app, store, clock }
}

async fn next_release<const PATIENT: bool>(
    store: &Arc<MemoryStore>,
    clock: &Arc<ManualClock>,
) -> App {
    let builder = builder(store.clone(), clock.clone());
    let started = builder.saga::<NextTransfer<PATIENT>>().start().await;
    started.unwrap()
}

type Next<const PATIENT: bool> = Instance<Linear<NextTransfer<PATIENT>>>;

/// Moves the clock on until the next attempt, and waits for the end.
async fn ended<const PATIENT: bool>(bank: &Bank, id: &str) -> Next<PATIENT> {
    bank.clock.advance(Duration::from_secs(10));
    let id = id.to_owned();
    let ended = bank
        .app
        .saga_ended::<NextTransfer<PATIENT>>(&id, PATIENCE)
        .await;
    ended.unwrap()
}

async fn balances(bank: &Bank) -> [i64; 3] {
    [
        bank.cents("a").await,
        bank.cents("b").await,
        bank.cents("bank").await,
    ]
}

#[tokio::test]
async fn a_running_saga_follows_the_plan_it_began_with_and_a_new_one_the_new_plan() {
    let bank = redeployed::<true>().await;
    bank.tell("b", AccountCommand::Unfreeze).await;
    assert_eq!(
        ended::<true>(&bank, "old").await.status(),
        SagaStatus::Completed
    );
    assert_eq!(balances(&bank).await, [70, 30, 0]);

    let new = NextTransfer::<true> {
        from: "a".to_owned(),
        to: "b".to_owned(),
        cents: 30,
    };
    bank.app.start_saga(&"new".to_owned(), new).await.unwrap();
    assert_eq!(
        ended::<true>(&bank, "new").await.status(),
        SagaStatus::Completed
    );
    assert_eq!(balances(&bank).await, [39, 60, 1]);
}

#[tokio::test]
async fn a_running_saga_waits_and_is_undone_as_it_was_planned() {
    let bank = redeployed::<true>().await;
    // The next release plans no deadline, and another way back.
    bank.clock.advance(Duration::from_secs(30));
    let ended = ended::<true>(&bank, "old").await;
    assert_eq!(ended.status(), SagaStatus::Compensated);
    let reason = "credit: not done within 30s (the account is frozen)";
    assert_eq!(ended.reason(), Some(reason));
    assert_eq!(balances(&bank).await, [100, 0, 0]);
}

/// How a refusal is judged is code, and so the release's that runs.
#[tokio::test]
async fn whether_a_refusal_is_worth_another_try_is_for_the_release_that_runs() {
    let bank = redeployed::<false>().await;
    let ended = ended::<false>(&bank, "old").await;
    assert_eq!(ended.status(), SagaStatus::Compensated);
    assert_eq!(ended.reason(), Some("credit: the account is frozen"));
    assert_eq!(balances(&bank).await, [100, 0, 0]);
}
