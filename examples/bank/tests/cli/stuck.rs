//! Transfers whose money can't go back: what an operator sees of them, and does about them.
//!
//! An account takes its money back whatever has become of it, unless it holds so much by then that
//! the sum can't be counted.

use std::time::Duration;

use annals::{
    Annals, App, Append, EventId, Expected, Metadata, NewEvent, SagaOverview, StreamName, Version,
    saga::SagaStatus,
};
use annals_testing::postgres::TestSchema;
use bank::{
    domain::{
        Account, AccountCommand, AccountEvent, Amount, Currency, Transfer, TransferId, UserBalance,
        UserId, money::MAX_AMOUNT,
    },
    transferring::Transferring,
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{bank::Bank, server::Server};

/// Longer than anything takes, on a machine that does much else.
const SOON: Duration = Duration::from_secs(60);
/// So many times the largest amount is just below what 64 bits can count.
const FULL: u16 = 9_223;
const TOO_MUCH: &str = "the balance would exceed what the bank can count";

/// A server with two transfers of alice's, `rent` and `gift`, that are stuck.
struct Stuck {
    bank: Bank,
    app: App,
    _server: Server,
}

fn id<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().unwrap()
}

fn most() -> Amount {
    Amount::new(MAX_AMOUNT).unwrap()
}

impl Stuck {
    async fn on(bank: Bank) -> Self {
        let builder = Annals::open(&bank.url()).await.unwrap();
        let builder = builder.projection::<UserBalance>().saga::<Transfer>();
        let app = builder.connect().await.unwrap();
        for (account, owner) in [("a", "alice"), ("b", "bob")] {
            let (owner, currency) = (id(owner), Currency::default());
            tell(&app, account, AccountCommand::Open { owner, currency }).await;
        }
        fill(&app).await;
        tell(&app, "b", AccountCommand::Freeze).await;
        for transfer in ["rent", "gift"] {
            begin(&app, transfer).await;
        }
        let server = Server::of(&bank);
        for transfer in ["rent", "gift"] {
            until_credit_is_refused(&app, &id(transfer)).await;
        }
        server.stop();
        is_scheduled(&bank);
        for _ in ["rent", "gift"] {
            tell(&app, "a", AccountCommand::Deposit { amount: most() }).await;
        }
        for command in [AccountCommand::Unfreeze, AccountCommand::Close] {
            tell(&app, "b", command).await;
        }
        let _server = Server::of(&bank);
        for transfer in ["rent", "gift"] {
            let stuck = app.saga_ended::<Transfer>(&id(transfer), SOON).await;
            assert_eq!(stuck.unwrap().status(), SagaStatus::Stuck);
        }
        let stuck = Self { bank, app, _server };
        stuck.listed().await;
        stuck
    }

    /// Waits until `saga list` shows all that has happened.
    async fn listed(&self) {
        let head = self.app.store().head().await.unwrap();
        let listed = self.app.caught_up_within::<SagaOverview>(head, SOON);
        listed.await.unwrap();
    }

    async fn ended(&self, transfer: &str) -> SagaStatus {
        let ended = self.app.saga_ended::<Transfer>(&id(transfer), SOON).await;
        ended.unwrap().status()
    }

    /// The states of all transfers, as `saga list` has them.
    async fn states(&self) -> Vec<(String, String)> {
        self.listed().await;
        let list = self.bank.json(&["saga", "list", "--json"]);
        let list = list.as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        list.map(|row| (text(&row["id"]), text(&row["state"])))
            .collect()
    }
}

async fn tell(app: &App, account: &str, command: AccountCommand) {
    app.execute::<Account>(&id(account), command).await.unwrap();
}

/// Deposits as much on alice's account as can be counted, in one append.
async fn fill(app: &App) {
    let owner: UserId = id("alice");
    let deposited = AccountEvent::Deposited {
        owner,
        amount: most(),
    };
    let metadata = Metadata::caused_by(Uuid::nil().into(), Uuid::nil().into());
    let deposits = (1..=FULL).map(|number| {
        let id = EventId::new(Uuid::from_u128(number.into()));
        NewEvent::encode(&deposited, id, metadata.clone()).unwrap()
    });
    let stream = StreamName::parse("account-a").unwrap();
    let opened = Expected::Exact(Version::new(1));
    let append = Append::to(stream, opened, deposits.collect(), Utc::now());
    app.store().append(append).await.unwrap();
}

async fn begin(app: &App, transfer: &str) {
    let transferring = Transferring {
        id: id(transfer),
        from: id("a"),
        to: id("b"),
        amount: most(),
        within: Duration::from_secs(3_600),
        command_id: None,
        fingerprint: Vec::new(),
    };
    transferring.begin(app).await.unwrap();
}

async fn until_credit_is_refused(app: &App, transfer: &TransferId) {
    let mut head = app.store().head().await.unwrap();
    loop {
        let saga = app.saga::<Transfer>(transfer).await.unwrap().unwrap();
        let credit = saga.outstanding().get("credit");
        if credit.is_some_and(|credit| credit.refusals > 0) {
            return;
        }
        head = app.store().wait_beyond(head).await.unwrap();
    }
}

#[tokio::test]
async fn an_operator_ends_what_is_stuck_while_the_server_runs_on_sqlite() {
    an_operator_ends_what_is_stuck_while_the_server_runs(Bank::new()).await;
}

#[tokio::test]
async fn an_operator_ends_what_is_stuck_while_the_server_runs_on_postgresql() {
    let schema = TestSchema::create().await;
    an_operator_ends_what_is_stuck_while_the_server_runs(Bank::on(schema.url())).await;
}

#[tokio::test]
async fn an_operator_ends_what_is_stuck_while_the_server_runs_through_pgbouncer() {
    let schema = TestSchema::create().await;
    let bank = Bank::on(schema.url_through_pgbouncer());
    an_operator_ends_what_is_stuck_while_the_server_runs(bank).await;
}

async fn an_operator_ends_what_is_stuck_while_the_server_runs(bank: Bank) {
    let stuck = Stuck::on(bank).await;
    is_listed(&stuck.bank);
    is_shown(&stuck.bank);
    is_retried(&stuck).await;
    is_abandoned(&stuck).await;
    let both = [("gift", "abandoned"), ("rent", "compensated")];
    assert_eq!(
        stuck.states().await,
        both.map(|(id, state)| (id.to_owned(), state.to_owned()))
    );
    let verified = stuck.bank.json(&["store", "verify", "--json"]);
    assert_eq!(
        verified["notes"]["money is conserved"],
        "1,000,000,000,000,000 EUR (minor units) in flight in 1 transfer"
    );
}

/// What is ahead of a transfer to an account that is frozen, and when.
fn is_scheduled(bank: &Bank) {
    let time = |value: &Value| {
        let time: DateTime<Utc> = value.as_str().unwrap().parse().unwrap();
        time.to_rfc3339_opts(SecondsFormat::Millis, true)
    };
    let shown = bank.ok(&["saga", "show", "rent"]);
    let line = |said: [&str; 3]| {
        let mut lines = shown.lines();
        let found = lines.find(|line| said.iter().all(|said| line.contains(said)));
        found.unwrap_or_else(|| panic!("{said:?} is missing:\n{shown}"));
    };
    let json = bank.json(&["saga", "show", "rent", "--json"]);
    let command = time(&json["outstanding"][0]["due"]);
    let refused = "credit to account-b; refused";
    line([&command, "command", refused]);
    let [deadline] = &json["deadlines"].as_array().unwrap()[..] else {
        panic!("more than one deadline: {json}");
    };
    assert_eq!(deadline["name"], "plan");
    line([&time(&deadline["due"]), "deadline", "plan"]);
    let timeline = json["timeline"].as_array().unwrap();
    let mut sent = timeline.iter().filter(|entry| entry["type"] == "saga.sent");
    let sent = sent.next_back().unwrap();
    line([&time(&sent["recorded_at"]), "sent", "credit"]);
}

fn is_listed(bank: &Bank) {
    let shown = bank.ok(&["saga", "list", "--state", "stuck"]);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    for (line, id) in lines[1..].iter().zip(["gift", "rent"]) {
        for said in [id, "stuck", "undo:debit", TOO_MUCH] {
            assert!(line.contains(said), "{said} is missing:\n{shown}");
        }
    }
    let listed = bank.json(&["saga", "list", "--state", "stuck", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    assert_eq!(listed[0]["id"], "gift", "{listed}");
    assert_eq!(listed[0]["state"], "stuck", "{listed}");
    assert_eq!(listed[0]["reason"], TOO_MUCH, "{listed}");
}

fn is_shown(bank: &Bank) {
    let shown = bank.ok(&["saga", "show", "rent"]);
    let told = [
        "transfer rent: stuck (the balance would exceed what the bank can count)",
        "deadline set     plan",
        "succeeded        debit",
        "refused          credit: the account is frozen (refused once; again at ",
        "rejected         credit: the account is closed (the account is frozen)",
        "compensating     credit: the account is closed",
        "sent             undo:debit",
        "refused          undo:debit: the balance would exceed what the bank can count (refused 5 times; again at ",
        "stuck            undo:debit: the balance would exceed what the bank can count",
        "waits for an operator  undo:debit to account-a; refused 6 times: the balance would exceed",
    ];
    let mut rest = shown.as_str();
    for said in told {
        let found = rest.find(said);
        let found =
            found.unwrap_or_else(|| panic!("{said:?} is missing, or out of turn:\n{shown}"));
        rest = &rest[found..];
    }
    let shown = bank.json(&["saga", "show", "rent", "--json"]);
    let expected = json!({ "state": "stuck", "reason": TOO_MUCH, "deadlines": [] });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&shown[field], value, "{shown}");
    }
    let waiting = &shown["outstanding"][0];
    let is = [&waiting["step"], &waiting["refusals"], &waiting["parked"]];
    assert_eq!(is, [&json!("undo:debit"), &json!(6), &json!(true)]);
    let last = shown["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!(last["type"], "saga.stuck", "{shown}");
    assert_eq!(last["payload"]["reason"], TOO_MUCH, "{shown}");
}

async fn is_retried(stuck: &Stuck) {
    // Mended: now there is room for the money of one transfer.
    let withdraw = AccountCommand::Withdraw { amount: most() };
    tell(&stuck.app, "a", withdraw).await;
    let answer = stuck.bank.ok(&["saga", "retry", "rent"]);
    assert_eq!(
        answer.trim_end(),
        "transfer rent: compensating (credit: the account is closed (the account is frozen))"
    );
    assert_eq!(stuck.ended("rent").await, SagaStatus::Compensated);
    let account = stuck.app.load::<Account>(&id("a")).await.unwrap().state;
    let balance = i128::from(account.balance.minor_units());
    assert_eq!(balance, i128::from(FULL) * i128::from(MAX_AMOUNT));
}

async fn is_abandoned(stuck: &Stuck) {
    let abandon = ["saga", "abandon", "gift", "--reason", "paid out in cash"];
    let view = stuck.bank.json(&[&abandon[..], &["--json"]].concat());
    assert_eq!(
        (&view["state"], &view["reason"]),
        (&json!("abandoned"), &json!("paid out in cash"))
    );
    assert_eq!(stuck.ended("gift").await, SagaStatus::Abandoned);
    let error = stuck.bank.fails(&abandon);
    assert!(error.contains("it has ended: it is abandoned"), "{error}");
}
