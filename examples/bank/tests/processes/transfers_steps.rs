//! Kills of a server at each of a transfer's steps, with and without the transfer's deadline passing
//! before another server comes.

use tokio::time::{Instant, sleep};

use crate::{
    bank::{Bank, SOON, Store},
    client::Connection,
    courses::{Stage, Timer, stages, timers},
    database::Database,
    log::Storage,
    transfers::{FROZEN, LOOK, NOBODY, Wish, assert_nothing_in_flight, ended, freeze, funded},
};

crate::bank::on_each_store!(
    a_transfer_ends_well_when_the_server_is_killed_at_any_of_its_steps,
    a_transfer_ends_well_when_its_deadline_is_near_while_the_server_is_killed_at_a_step,
    a_transfer_ends_well_when_its_deadline_passes_before_the_next_server_comes,
);

const SOMEBODY: &str = "a1";

/// How often a kill is tried again that came too late, because the machine was slow.
const ATTEMPTS: usize = 10;

/// An instant of a transfer: right before an append, while another event stands in the log for
/// the so-manieth time.
struct Step {
    before: &'static str,
    after: (&'static str, i64),
    to: &'static str,
    /// How the transfer ends, and where its money is then.
    end: (&'static str, Option<Stage>),
}

/// When the transfer's deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passes {
    /// Not at all.
    Never,
    /// Before the server is killed, which can't write that down if the step says so.
    BeforeTheKill,
    /// After it is killed, while none runs.
    BeforeTheNextServer,
    /// While the next server runs.
    Later,
}

const ARRIVED: (&str, Option<Stage>) = ("completed", Some(Stage::Received));
const CAME_BACK: (&str, Option<Stage>) = ("compensated", Some(Stage::Returned));
const NEVER_LEFT: (&str, Option<Stage>) = ("failed", None);

const fn step(
    before: &'static str,
    after: (&'static str, i64),
    to: &'static str,
    end: (&'static str, Option<Stage>),
) -> Step {
    Step {
        before,
        after,
        to,
        end,
    }
}

/// The appends of a transfer that arrives, and of one that is refused for good. Between two of
/// them nothing is kept of it but the log; what a kill can make of it is up to what the log says
/// then, and to whether the deadline has passed when the next server looks.
const PROMPT: [Step; 7] = [
    step("account.transfer_sent", ("saga.sent", 1), SOMEBODY, ARRIVED),
    step(
        "saga.succeeded",
        ("account.transfer_sent", 1),
        SOMEBODY,
        ARRIVED,
    ),
    step(
        "account.transfer_received",
        ("saga.sent", 2),
        SOMEBODY,
        ARRIVED,
    ),
    step(
        "saga.completed",
        ("account.transfer_received", 1),
        SOMEBODY,
        ARRIVED,
    ),
    step("saga.rejected", ("saga.sent", 2), NOBODY, CAME_BACK),
    step(
        "account.transfer_returned",
        ("saga.compensating", 1),
        NOBODY,
        CAME_BACK,
    ),
    step(
        "saga.compensated",
        ("account.transfer_returned", 1),
        NOBODY,
        CAME_BACK,
    ),
];

/// The appends of a transfer that waits for a frozen account until its deadline. `saga.fired` and
/// `saga.recalled` are one append, of which neither may go in without the other.
const LATE: [Step; 5] = [
    step("saga.fired", ("saga.postponed", 1), FROZEN, CAME_BACK),
    step("saga.recalled", ("saga.postponed", 1), FROZEN, CAME_BACK),
    step("saga.rejected", ("saga.recalled", 1), FROZEN, CAME_BACK),
    step(
        "account.transfer_returned",
        ("saga.compensating", 1),
        FROZEN,
        CAME_BACK,
    ),
    step(
        "saga.compensated",
        ("account.transfer_returned", 1),
        FROZEN,
        CAME_BACK,
    ),
];

/// A command that was carried out counts as such, though that was not written down before the
/// deadline passed: what has arrived stays, and what has left comes back.
const MEANWHILE: [Step; 6] = [
    step(
        "account.transfer_sent",
        ("saga.sent", 1),
        SOMEBODY,
        NEVER_LEFT,
    ),
    step(
        "saga.succeeded",
        ("account.transfer_sent", 1),
        SOMEBODY,
        CAME_BACK,
    ),
    step(
        "account.transfer_received",
        ("saga.sent", 2),
        SOMEBODY,
        CAME_BACK,
    ),
    step(
        "saga.completed",
        ("account.transfer_received", 1),
        SOMEBODY,
        ARRIVED,
    ),
    step("saga.rejected", ("saga.sent", 2), NOBODY, CAME_BACK),
    step("saga.postponed", ("saga.sent", 2), FROZEN, CAME_BACK),
];

async fn a_transfer_ends_well_when_the_server_is_killed_at_any_of_its_steps(store: Store) {
    kill_at(store, &PROMPT, Passes::Never).await;
}

async fn a_transfer_ends_well_when_its_deadline_is_near_while_the_server_is_killed_at_a_step(
    store: Store,
) {
    kill_at(store, &LATE, Passes::BeforeTheKill).await;
    let postponed = step("saga.postponed", ("saga.sent", 2), FROZEN, CAME_BACK);
    kill_at(store, &[postponed], Passes::Later).await;
}

async fn a_transfer_ends_well_when_its_deadline_passes_before_the_next_server_comes(store: Store) {
    kill_at(store, &MEANWHILE, Passes::BeforeTheNextServer).await;
}

async fn kill_at(store: Store, steps: &[Step], passes: Passes) {
    let (bank, mut storage) = funded(store).await;
    freeze(&bank).await;
    for (number, step) in steps.iter().enumerate() {
        for attempt in 0.. {
            assert!(
                attempt < ATTEMPTS,
                "the server is too slow for {}",
                step.before
            );
            let wish = Wish {
                id: format!("step-{number}-{attempt}"),
                from: "a0".to_owned(),
                to: step.to.to_owned(),
                amount: 7,
            };
            let in_time = step.strike(&bank, &mut storage, &wish, passes).await;
            let server = bank.serve().await;
            let status = ended(&server, &wish.id).await;
            server.stop().await;
            if in_time {
                step.check(&bank, &mut storage, &wish, &status, passes)
                    .await;
                break;
            }
        }
    }
}

impl Step {
    /// Kills a server at this step; answers whether the transfer got there before its deadline.
    async fn strike(
        &self,
        bank: &Bank,
        storage: &mut Storage,
        wish: &Wish,
        passes: Passes,
    ) -> bool {
        let (event, times) = self.after;
        let wanted = count(storage, event).await + times;
        refuse(storage, self.before).await;
        let server = bank.serve_within(passes.deadline()).await;
        let mut connection = Connection::to(server.address).await.unwrap();
        connection.send(&wish.request()).await.unwrap().ok(202);
        let late = Instant::now() + SOON;
        while count(storage, event).await < wanted && !passes.too_early(&timer(storage, wish).await)
        {
            assert!(Instant::now() < late, "{event} does not come");
            sleep(LOOK).await;
        }
        if passes == Passes::BeforeTheKill {
            timer(storage, wish).await.passes().await;
        }
        server.kill().await;
        accept(storage).await;
        let timer = timer(storage, wish).await;
        if passes == Passes::BeforeTheNextServer {
            timer.passes().await;
        }
        !passes.too_early(&timer)
    }

    /// Checks that the transfer has ended as it should.
    async fn check(
        &self,
        bank: &Bank,
        storage: &mut Storage,
        wish: &Wish,
        status: &str,
        passes: Passes,
    ) {
        let step = format!("killed before {}, deadline passes {passes:?}", self.before);
        let stages = stages(storage).await;
        let stages = stages.unwrap_or_else(|error| panic!("{step}: {error}"));
        let stage = stages.get(&wish.id).copied();
        assert_eq!((status, stage), self.end, "{step}");
        let fired = timer(storage, wish).await.fired();
        assert_eq!(fired, passes != Passes::Never, "{step}");
        assert_nothing_in_flight(bank).await;
    }
}

impl Passes {
    /// After how many seconds.
    fn deadline(self) -> u64 {
        match self {
            Self::Never => 3_600,
            Self::BeforeTheKill | Self::BeforeTheNextServer | Self::Later => 2,
        }
    }

    /// Whether the deadline has passed before the transfer got where it was to be killed.
    fn too_early(self, timer: &Timer) -> bool {
        match self {
            Self::BeforeTheKill => timer.fired() && !timer.put_off,
            Self::Never | Self::BeforeTheNextServer | Self::Later => timer.fired(),
        }
    }
}

async fn timer(storage: &mut Storage, wish: &Wish) -> Timer {
    timers(storage).await.unwrap()[&wish.id]
}

/// Has the store refuse each append with an event of this type.
async fn refuse(storage: &mut Storage, event_type: &str) {
    let trigger = match storage.database {
        Database::Sqlite(_) => format!(
            "CREATE TRIGGER step BEFORE INSERT ON events WHEN NEW.type = '{event_type}' \
             BEGIN SELECT RAISE(ABORT, 'not now'); END"
        ),
        Database::Postgres(_) => format!(
            "CREATE FUNCTION not_now() RETURNS trigger LANGUAGE plpgsql \
             AS $$ BEGIN RAISE 'not now'; END $$; \
             CREATE TRIGGER step BEFORE INSERT ON events FOR EACH ROW \
             WHEN (NEW.type = '{event_type}') EXECUTE FUNCTION not_now()"
        ),
    };
    storage.run(trigger).await;
}

/// Has the store take all appends again.
async fn accept(storage: &mut Storage) {
    let drop = match storage.database {
        Database::Sqlite(_) => "DROP TRIGGER step",
        Database::Postgres(_) => "DROP FUNCTION not_now CASCADE",
    };
    storage.run(drop).await;
}

async fn count(storage: &mut Storage, event_type: &str) -> i64 {
    let types: Vec<(String,)> = storage
        .database
        .rows("SELECT type FROM events", &[])
        .await
        .unwrap();
    let count = types.iter().filter(|(found,)| found == event_type).count();
    i64::try_from(count).unwrap()
}
