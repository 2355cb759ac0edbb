//! Process managers: events in, commands out.

use std::{sync::Arc, time::Duration};

use annals_core::{
    Clock as _, EventStore as _, MemoryStore, Recorded,
    saga::{Actions, Correlation, Input, ProcessManager, ReactError, SagaStatus},
};
use annals_runtime::App;
use annals_testing::clock::ManualClock;

use crate::{
    accounts::{Account, AccountCommand, AccountEvent},
    bank::{PATIENCE, builder, until},
};

/// Unfreezes an account a day after it was frozen, unless it is closed before.
#[derive(Clone, Debug, Default)]
struct Thaw {
    account: String,
}

impl ProcessManager for Thaw {
    const NAME: &'static str = "thaw";
    type Id = String;
    type Start = ();
    type Event = AccountEvent;
    type SendsTo = (Account,);

    fn correlate(event: &Recorded<AccountEvent>) -> Correlation<String> {
        let account = event.stream.id().to_owned();
        match event.event {
            AccountEvent::Frozen => Correlation::Start(account),
            AccountEvent::Closed => Correlation::Continue(account),
            _ => Correlation::None,
        }
    }

    fn evolve(&mut self, input: &Input<'_, (), AccountEvent>) {
        if let Input::Event(event) = input {
            event.stream.id().clone_into(&mut self.account);
        }
    }

    fn react(
        &self,
        input: &Input<'_, (), AccountEvent>,
        actions: &mut Actions,
    ) -> Result<(), ReactError> {
        match input {
            Input::Event(event) => match event.event {
                AccountEvent::Frozen if self.account == "cursed" => {
                    return Err("it is cursed".into());
                }
                AccountEvent::Frozen => actions.schedule("thaw", Duration::from_secs(86_400)),
                _ => actions.complete(),
            },
            Input::Deadline { .. } => {
                actions.send::<Account>("unfreeze", &self.account, AccountCommand::Unfreeze);
            }
            Input::Succeeded { .. } => actions.complete(),
            Input::Rejected { reason, .. } => actions.fail(*reason),
            Input::Started(()) => {}
        }
        Ok(())
    }
}

async fn thawing(store: &Arc<MemoryStore>, clock: &Arc<ManualClock>) -> App {
    let builder = builder(store.clone(), clock.clone()).process_manager::<Thaw>();
    builder.start().await.unwrap()
}

async fn tell(app: &App, account: &str, command: AccountCommand) {
    let done = app.execute::<Account>(&account.to_owned(), command);
    done.await.unwrap();
}

async fn until_there(app: &App, id: &str) {
    let id = id.to_owned();
    until(async || app.process::<Thaw>(&id).await.unwrap().is_some()).await;
}

#[tokio::test]
async fn an_event_starts_a_process_and_its_deadline_leads_to_a_command() {
    let (store, clock) = (Arc::default(), Arc::default());
    let app = thawing(&store, &clock).await;
    tell(&app, "a", AccountCommand::Freeze).await;
    until_there(&app, "a").await;
    let thaw = app.process::<Thaw>(&"a".to_owned()).await.unwrap().unwrap();
    let day = Duration::from_secs(86_400);
    assert_eq!(thaw.deadlines()["thaw"], clock.now() + day);
    clock.advance(day);
    let ended = app
        .process_ended::<Thaw>(&"a".to_owned(), PATIENCE)
        .await
        .unwrap();
    assert_eq!(ended.status(), SagaStatus::Completed);
    tell(&app, "a", AccountCommand::Deposit { cents: 1 }).await;
}

#[tokio::test]
async fn a_later_event_reaches_the_process_it_is_for_and_lifts_its_deadline() {
    let (store, clock) = (Arc::default(), Arc::default());
    let app = thawing(&store, &clock).await;
    tell(&app, "a", AccountCommand::Freeze).await;
    tell(&app, "a", AccountCommand::Close).await;
    tell(&app, "b", AccountCommand::Close).await;
    until_there(&app, "a").await;
    let ended = app
        .process_ended::<Thaw>(&"a".to_owned(), PATIENCE)
        .await
        .unwrap();
    assert_eq!(ended.status(), SagaStatus::Completed);
    assert!(ended.deadlines().is_empty());
    assert!(
        app.process::<Thaw>(&"b".to_owned())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_process_takes_each_event_in_once_however_often_it_is_started() {
    let (store, clock) = (Arc::default(), Arc::default());
    for round in 0..5 {
        let app = thawing(&store, &clock).await;
        if round == 0 {
            tell(&app, "a", AccountCommand::Freeze).await;
        }
        until_there(&app, "a").await;
        app.sagas().shutdown().await;
        app.projections().shutdown().await;
    }
    let stream = "saga-thaw:a".parse().unwrap();
    assert_eq!(store.stream_version(&stream).await.unwrap().get(), 2); // received, scheduled
}

#[tokio::test]
async fn a_process_whose_code_fails_is_stuck_with_the_reason_and_keeps_what_comes_in() {
    let (store, clock) = (Arc::default(), Arc::default());
    let app = thawing(&store, &clock).await;
    tell(&app, "cursed", AccountCommand::Freeze).await;
    until_there(&app, "cursed").await;
    let id = "cursed".to_owned();
    let stuck = app.process_ended::<Thaw>(&id, PATIENCE).await.unwrap();
    assert_eq!(
        (stuck.status(), stuck.reason()),
        (SagaStatus::Stuck, Some("it is cursed"))
    );
    let again = app.sagas().retry("thaw", "cursed").await.unwrap_err();
    let source = std::error::Error::source(&again).unwrap().to_string();
    assert_eq!(source, "it fails again: it is cursed");
}
