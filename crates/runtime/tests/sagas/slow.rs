//! A command that takes its time keeps nothing else of its saga waiting.

use std::time::Duration;

use annals_core::{
    Recorded,
    saga::{
        Actions, Correlation, Input, Instance, Linear, Plan, ProcessManager, ReactError, Retry,
        Saga, SagaStatus,
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    accounts::{Account, AccountCommand, AccountEvent},
    bank::PATIENCE,
    unsteady::Bank,
};

/// Puts a cent into the account `slow` and into another one, at the same time.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Gift {
    to: String,
}

impl Saga for Gift {
    const NAME: &'static str = "gift";
    type Id = String;
    type SendsTo = (Account,);

    fn plan(&self, _: &String, plan: &mut Plan) {
        let give = || AccountCommand::Deposit { cents: 1 };
        let second = Duration::from_secs(1);
        plan.step("slow")
            .command::<Account>(&"slow".to_owned(), give())
            .undo(AccountCommand::Withdraw { cents: 1 })
            .deadline(Duration::from_secs(60));
        plan.also("other")
            .command::<Account>(&self.to, give())
            .undo(AccountCommand::Withdraw { cents: 1 })
            .retry(Retry::until_deadline().waiting(second, second))
            .deadline(Duration::from_secs(30));
    }
}

/// A gift whose part for the account `slow` is on its way.
async fn under_way(to: &str, prepare: Option<AccountCommand>) -> Bank {
    let bank = Bank::open(100, |builder| builder.saga::<Gift>()).await;
    if let Some(command) = prepare {
        bank.tell(to, command).await;
    }
    bank.start("1", Gift { to: to.to_owned() }).await;
    bank.until_slow().await;
    bank
}

fn waits_for(step: &'static str) -> impl Fn(&Instance<Linear<Gift>>) -> bool {
    move |saga| saga.outstanding().contains_key(step)
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_slow_step_takes_it_back_for_good() {
    let bank = under_way("b", None).await;
    bank.until::<Gift>("1", |saga| !waits_for("other")(saga))
        .await;
    bank.clock.advance(Duration::from_secs(61));
    let ended = bank.ended::<Gift>("1").await;
    assert_eq!(
        (ended.status(), ended.reason()),
        (SagaStatus::Compensated, Some("slow: not done within 60s"))
    );
    // The store gets to it only now, when it has no effect any more.
    bank.hurry();
    bank.until_decided().await;
    assert_eq!((bank.cents("slow").await, bank.cents("b").await), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_step_does_not_wait_for_a_slow_one() {
    let bank = under_way("frozen", Some(AccountCommand::Freeze)).await;
    bank.until::<Gift>("1", |saga| {
        let other = saga.outstanding().get("other");
        other.is_some_and(|other| other.refusals > 0)
    })
    .await;
    bank.clock.advance(Duration::from_secs(31));
    bank.until::<Gift>("1", |saga| !waits_for("other")(saga))
        .await;
    let saga = bank.saga::<Gift>("1").await;
    assert!(!saga.deadlines().contains_key("step:other"), "{saga:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_command_is_sent_again_beside_a_slow_one() {
    let bank = under_way("frozen", Some(AccountCommand::Freeze)).await;
    bank.until::<Gift>("1", |saga| {
        let other = saga.outstanding().get("other");
        other.is_some_and(|other| other.refusals > 0)
    })
    .await;
    bank.tell("frozen", AccountCommand::Unfreeze).await;
    bank.clock.advance(Duration::from_secs(2));
    bank.until::<Gift>("1", |saga| !waits_for("other")(saga))
        .await;
    assert!(waits_for("slow")(&bank.saga("1").await));
    assert_eq!(bank.cents("frozen").await, 1);
    bank.hurry();
    let ended = bank.ended::<Gift>("1").await;
    assert_eq!(ended.status(), SagaStatus::Completed);
    assert_eq!(bank.cents("slow").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_command_in_trouble_is_sent_again_beside_a_slow_one() {
    let bank = under_way("broken", None).await;
    bank.mend();
    bank.until::<Gift>("1", |saga| !waits_for("other")(saga))
        .await;
    assert!(waits_for("slow")(&bank.saga("1").await));
    bank.hurry();
    let ended = bank.ended::<Gift>("1").await;
    assert_eq!(ended.status(), SagaStatus::Completed);
    assert_eq!(
        (bank.cents("slow").await, bank.cents("broken").await),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_is_abandoned_takes_back_what_is_slow() {
    let bank = under_way("b", None).await;
    bank.until::<Gift>("1", |saga| !waits_for("other")(saga))
        .await;
    let abandoned = bank.app.sagas().abandon("gift", "1", "enough").await;
    assert_eq!(abandoned.unwrap().status, SagaStatus::Abandoned);
    bank.until::<Gift>("1", |saga| !waits_for("slow")(saga))
        .await;
    bank.hurry();
    bank.until_decided().await;
    assert_eq!((bank.cents("slow").await, bank.cents("b").await), (0, 1));
}

/// Gives a cent to the account `slow` when another one is frozen, unless that is closed first.
#[derive(Clone, Debug, Default)]
struct Relief;

impl ProcessManager for Relief {
    const NAME: &'static str = "relief";
    type Id = String;
    type Start = ();
    type Event = AccountEvent;
    type SendsTo = (Account,);

    fn correlate(event: &Recorded<AccountEvent>) -> Correlation<String> {
        let account = event.stream.id().to_owned();
        match event.event {
            AccountEvent::Frozen => Correlation::Start(account),
            AccountEvent::Closed | AccountEvent::Deposited { .. } => Correlation::Continue(account),
            _ => Correlation::None,
        }
    }

    fn evolve(&mut self, _: &Input<'_, (), AccountEvent>) {}

    fn react(
        &self,
        input: &Input<'_, (), AccountEvent>,
        actions: &mut Actions,
    ) -> Result<(), ReactError> {
        match input {
            Input::Event(event) if event.event == AccountEvent::Frozen => {
                let give = AccountCommand::Deposit { cents: 1 };
                actions.send::<Account>("give", &"slow".to_owned(), give);
            }
            Input::Event(event) if event.event == AccountEvent::Closed => {
                actions.recall("give", "it is closed");
            }
            Input::Event(_) => {}
            Input::Rejected { reason, .. } => actions.fail(*reason),
            _ => actions.complete(),
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_reaches_a_process_beside_its_slow_command() {
    let bank = Bank::open(100, |builder| builder.process_manager::<Relief>()).await;
    bank.tell("a", AccountCommand::Freeze).await;
    bank.until_slow().await;
    bank.tell("a", AccountCommand::Close).await;
    let id = "a".to_owned();
    let ended = bank.app.process_ended::<Relief>(&id, PATIENCE);
    let ended = ended.await.unwrap();
    assert_eq!(
        (ended.status(), ended.reason()),
        (SagaStatus::Failed, Some("it is closed"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_process_takes_in_beside_its_slow_command_does_not_add_up() {
    const WAITING: usize = 4;
    let bank = Bank::open(WAITING, |builder| builder.process_manager::<Relief>()).await;
    bank.tell("a", AccountCommand::Freeze).await;
    bank.until_slow().await;
    bank.tell("a", AccountCommand::Unfreeze).await;
    for _ in 0..3 * WAITING {
        bank.tell("a", AccountCommand::Deposit { cents: 1 }).await;
        bank.until_read().await;
    }
    bank.tell("a", AccountCommand::Close).await;
    let id = "a".to_owned();
    let ended = bank.app.process_ended::<Relief>(&id, PATIENCE);
    assert_eq!(ended.await.unwrap().reason(), Some("it is closed"));
}
