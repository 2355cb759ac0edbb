//! A process manager on every store, where one application takes over from another half-way.

use std::{sync::Arc, time::Duration};

use annals::{
    Annals, App, Builder, Recorded, Store,
    saga::{Actions, Correlation, Input, ProcessManager, ReactError, SagaStatus},
};
use annals_testing::clock::ManualClock;
use tokio::time::{sleep, timeout};

use crate::accounts::{Account, AccountCommand, AccountEvent, PATIENCE, cents, tell};

on_every_store! {
    a_process_that_events_begin_and_end_survives_the_application_that_runs_it
}

/// How long an account may be frozen.
const LIMIT: Duration = Duration::from_secs(3_600);

/// Unfreezes an account that has been frozen for too long.
#[derive(Clone, Debug, Default)]
struct Thaw {
    account: String,
    limit_reached: bool,
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
            AccountEvent::Frozen { frozen: true } => Correlation::Start(account),
            AccountEvent::Frozen { frozen: false } => Correlation::Continue(account),
            AccountEvent::Changed { .. } => Correlation::None,
        }
    }

    fn evolve(&mut self, input: &Input<'_, (), AccountEvent>) {
        match input {
            Input::Event(event) => event.stream.id().clone_into(&mut self.account),
            Input::Deadline { .. } => self.limit_reached = true,
            _ => {}
        }
    }

    fn react(
        &self,
        input: &Input<'_, (), AccountEvent>,
        actions: &mut Actions,
    ) -> Result<(), ReactError> {
        match input {
            Input::Event(event) => match event.event {
                AccountEvent::Frozen { frozen: true } => actions.schedule("limit", LIMIT),
                _ if self.limit_reached => {}
                _ => {
                    actions.cancel("limit");
                    actions.complete();
                }
            },
            Input::Deadline { .. } => {
                actions.send::<Account>("thaw", &self.account, AccountCommand::Unfreeze);
            }
            Input::Succeeded { .. } => actions.complete(),
            Input::Rejected { reason, .. } => actions.fail(*reason),
            Input::Started(()) => {}
        }
        Ok(())
    }
}

fn builder(store: &Arc<dyn Store>, clock: &Arc<ManualClock>) -> Builder {
    let builder = Annals::on(Arc::clone(store)).clock(clock.clone());
    builder.process_manager::<Thaw>()
}

async fn open(store: &Arc<dyn Store>, clock: &Arc<ManualClock>) -> App {
    builder(store, clock).start().await.unwrap()
}

/// Waits until the limit of an account's freeze is set.
async fn until_limited(app: &App, account: &str) {
    let id = account.to_owned();
    let limited = async {
        loop {
            let process = app.process::<Thaw>(&id).await.unwrap();
            if process.is_some_and(|process| process.deadlines().contains_key("limit")) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let limited = timeout(PATIENCE, limited).await;
    limited.expect("the process does not begin");
}

async fn ended(app: &App, account: &str) -> (SagaStatus, i64) {
    let id = account.to_owned();
    let ended = app.process_ended::<Thaw>(&id, PATIENCE);
    let status = ended.await.unwrap().status();
    // An account that is still frozen refuses this.
    tell(app, account, AccountCommand::Change(1)).await;
    (status, cents(app, account).await)
}

async fn a_process_that_events_begin_and_end_survives_the_application_that_runs_it(
    store: Arc<dyn Store>,
) {
    const ENDED: (SagaStatus, i64) = (SagaStatus::Completed, 1);
    let clock = Arc::new(ManualClock::default());
    let app = open(&store, &clock).await;
    for account in ["early", "late"] {
        tell(&app, account, AccountCommand::Freeze).await;
        until_limited(&app, account).await;
    }
    tell(&app, "early", AccountCommand::Unfreeze).await;
    assert_eq!(ended(&app, "early").await, ENDED);
    app.sagas().shutdown().await;
    app.projections().shutdown().await;

    // Nobody runs it while this happens.
    let nobody = builder(&store, &clock).connect().await.unwrap();
    tell(&nobody, "meanwhile", AccountCommand::Freeze).await;
    clock.advance(LIMIT);
    let app = open(&store, &clock).await;
    assert_eq!(ended(&app, "late").await, ENDED);
    until_limited(&app, "meanwhile").await;
    clock.advance(LIMIT);
    assert_eq!(ended(&app, "meanwhile").await, ENDED);
    app.shutdown().await;
}
