//! A log that takes a while to fold.

use annals::{
    Annals, Append, AppendError, CausationId, CorrelationId, EventId, Expected, Metadata, NewEvent,
    StreamName,
};
use bank::domain::{AccountEvent, Amount, Currency};
use chrono::Utc;
use uuid::Uuid;

use crate::bank::Bank;

/// How often each user has deposited [`DEPOSIT`].
const DEPOSITS: usize = 9;
const DEPOSIT: i64 = 100;
/// What each user has.
pub(crate) const BALANCE: i64 = 900;
/// How many users one append gives their history.
const AT_ONCE: usize = 100;

/// Fills a bank with users called `saver-0`, `saver-1` and so on, ten events for each, and waits
/// until the table shows them.
pub(crate) async fn write(bank: &Bank, users: usize) {
    let builder = Annals::open(bank.url()).await.unwrap();
    let app = builder.connect().await.unwrap();
    for first in (0..users).step_by(AT_ONCE) {
        let last = users.min(first + AT_ONCE);
        let append = history(first..last);
        let appended: Result<_, AppendError> = app.store().append(append).await;
        appended.unwrap();
    }
    app.shutdown().await;
    // An import ends when the read model shows everything.
    let nothing = bank.write("empty.csv", "time,type,account,owner,counterparty,amount\n");
    bank.json(&["import", &nothing]).await;
}

fn history(users: std::ops::Range<usize>) -> Append {
    let mut writes = users.map(|user| {
        let name = StreamName::parse(&format!("account-saver-{user}")).unwrap();
        (name, events(&format!("saver-{user}")))
    });
    let (stream, events) = writes.next().unwrap();
    let append = Append::to(stream, Expected::NoStream, events, Utc::now());
    writes.fold(append, |append, (stream, events)| {
        append.and(stream, Expected::NoStream, events)
    })
}

fn events(owner: &str) -> Vec<NewEvent> {
    let opened = AccountEvent::Opened {
        owner: owner.parse().unwrap(),
        currency: Currency::default(),
    };
    let deposited = AccountEvent::Deposited {
        owner: owner.parse().unwrap(),
        amount: Amount::new(DEPOSIT).unwrap(),
    };
    let deposits = std::iter::repeat_n(deposited, DEPOSITS);
    std::iter::once(opened).chain(deposits).map(event).collect()
}

fn event(event: AccountEvent) -> NewEvent {
    let (id, cause) = (EventId::new(Uuid::new_v4()), Uuid::new_v4());
    let metadata = Metadata::caused_by(CausationId::new(cause), CorrelationId::new(cause));
    NewEvent::encode(&event, id, metadata).unwrap()
}
