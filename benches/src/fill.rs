//! Fills a log quickly: large appends, many events of many accounts each.

use std::{path::Path, sync::Arc};

use annals::{
    Append, EventId, EventStore, Expected, Metadata, NewEvent, StreamName,
    sqlite::{SqliteOptions, SqliteStore, Synchronous},
};
use chrono::Utc;
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::{
    Outcome,
    account::{AccountEvent, AccountId, owner},
};

/// How many events one append carries, each of another account.
const EVENTS_PER_APPEND: u64 = 1_000;
/// How many appends are on their way at a time.
const IN_FLIGHT: usize = 4;

/// Writes `events` events, round robin over `accounts` accounts, so that neighbours in a stream
/// stand far apart in the file, as they do in a log that has grown over time.
pub(crate) async fn log(file: &Path, events: u64, accounts: u64) -> Outcome<()> {
    let options = SqliteOptions {
        // Nothing is lost if the machine stops meanwhile: the file is then written anew.
        synchronous: Synchronous::Off,
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(&file.display().to_string(), options).await?;
    self::events(&store, events, accounts).await?;
    store.close().await;
    Ok(())
}

/// As [`log`], into a store that is open.
pub(crate) async fn events<S>(store: &S, events: u64, accounts: u64) -> Outcome<()>
where
    S: EventStore + Clone,
{
    let streams: Vec<StreamName> = (0..accounts)
        .map(|number| AccountId::numbered(number)?.stream())
        .collect::<Outcome<_>>()?;
    let streams: Arc<[StreamName]> = streams.into();
    let step = usize::try_from(EVENTS_PER_APPEND.min(accounts))?;
    let appends = (0..events).step_by(step).map(|first| {
        let last = (first + EVENTS_PER_APPEND.min(accounts)).min(events);
        let (store, streams) = (store.clone(), Arc::clone(&streams));
        async move {
            let append = append(&streams, first..last)?;
            store.append(append).await?;
            Outcome::Ok(())
        }
    });
    stream::iter(appends)
        .buffered(IN_FLIGHT)
        .try_collect::<()>()
        .await
}

fn append(streams: &[StreamName], events: std::ops::Range<u64>) -> Outcome<Append> {
    let accounts = u64::try_from(streams.len())?;
    let mut append: Option<Append> = None;
    for number in events {
        let account = number % accounts;
        let stream = streams.get(usize::try_from(account)?).ok_or("no stream")?;
        let event = vec![new_event(&event(account, number / accounts))?];
        let stream = stream.clone();
        append = Some(match append {
            Some(append) => append.and(stream, Expected::Any, event),
            None => Append::to(stream, Expected::Any, event, Utc::now()),
        });
    }
    append.ok_or_else(|| "an append without events".into())
}

/// What happens to an account at its so-manieth turn.
fn event(account: u64, turn: u64) -> AccountEvent {
    let owner = owner(account);
    let amount = i64::try_from(turn % 1_000).unwrap_or(0) + 1;
    match turn {
        0 => AccountEvent::Opened {
            owner,
            currency: "EUR".to_owned(),
        },
        turn if turn % 4 == 3 => AccountEvent::Withdrawn { owner, amount },
        _ => AccountEvent::Deposited { owner, amount },
    }
}

/// An event on its way into the log.
pub(crate) fn new_event(event: &AccountEvent) -> Outcome<NewEvent> {
    let id = Uuid::now_v7();
    let metadata =
        Metadata::caused_by(annals::CausationId::new(id), annals::CorrelationId::new(id));
    Ok(NewEvent::encode(event, EventId::new(id), metadata)?)
}
