//! Running a SQL projection's statements for events.

use std::{collections::HashSet, fmt, marker::PhantomData, sync::Arc};

use annals_core::{
    FoldError, Page, ProjectionError, ProjectionSpec, Recorded, StoreError, StoredEvent, Target,
    waiting::Waiting,
};
use async_trait::async_trait;
use sqlx::PgConnection;

use super::{SqlProjection, path};
use crate::{
    error::kind_of,
    projections::{inline::Fold, tables},
    transaction::Session,
};

/// A statement failed before, and the transaction takes nothing in until it is rolled back.
const ABORTED: &str = "25P02";

/// Runs a SQL projection's statements, whichever tables they meet.
pub(super) struct SqlFold<P> {
    pub(super) spec: Arc<ProjectionSpec>,
    projection: PhantomData<fn() -> P>,
}

impl<P: SqlProjection> SqlFold<P> {
    pub(super) fn new(spec: Arc<ProjectionSpec>) -> Self {
        Self {
            spec,
            projection: PhantomData,
        }
    }
}

impl<P> fmt::Debug for SqlFold<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqlFold").field(&self.spec).finish()
    }
}

#[async_trait]
impl<P: SqlProjection> Fold for SqlFold<P> {
    fn spec(&self) -> &ProjectionSpec {
        &self.spec
    }

    async fn fold(
        &self,
        events: &[StoredEvent],
        target: Target,
        session: &mut Session<'_>,
    ) -> Result<(), FoldError> {
        let page = Page::new(events.to_vec());
        let mut waiting = Waiting::<P::Event>::default();
        let all = 0..events.len();
        let taken = waiting.take_in(P::NAME, P::UNKNOWN, &page, all, &HashSet::new());
        taken?;
        apply_all::<P>(session, target, &waiting).await
    }
}

/// Applies events in the transaction; an error names the one it is about.
pub(super) async fn apply_all<P: SqlProjection>(
    session: &mut Session<'_>,
    target: Target,
    waiting: &Waiting<P::Event>,
) -> Result<(), FoldError> {
    let events: Vec<_> = waiting.events().collect();
    if events.is_empty() {
        return Ok(());
    }
    let before = path::enter(session, P::NAME, target).await?;
    tables::execute(session, "SAVEPOINT annals_events".to_owned()).await?;
    match apply_some::<P>(session, &events).await {
        Ok(()) => {}
        Err(Refused::Event(error)) => return Err(error),
        Err(Refused::Somewhere(message)) => {
            return Err(culprit::<P>(session, &events, message).await?);
        }
    }
    tables::execute(session, "RELEASE annals_events".to_owned()).await?;
    path::leave(session, &before).await?;
    Ok(())
}

/// Why events were not applied.
enum Refused {
    /// One event, or the store, is named.
    Event(FoldError),
    /// It came out only later that something was wrong with one of them.
    Somewhere(String),
}

async fn apply_some<P: SqlProjection>(
    session: &mut Session<'_>,
    events: &[&Recorded<P::Event>],
) -> Result<(), Refused> {
    for event in events {
        session.pulse.beat();
        apply::<P>(event, session.conn).await?;
    }
    // Deferred constraints are checked here, since at the commit nobody could say whose fault it
    // was; and a statement whose error `apply` has swallowed shows.
    session.pulse.beat();
    let check = "SET CONSTRAINTS ALL IMMEDIATE".to_owned();
    let checked = tables::run(session, check).await;
    checked.map_err(|error| match store_failure(&error, &error.to_string()) {
        Some(failure) => Refused::Event(failure.into()),
        None => Refused::Somewhere(explained(&error)),
    })
}

/// Applies one event.
async fn apply<P: SqlProjection>(
    event: &Recorded<P::Event>,
    conn: &mut PgConnection,
) -> Result<(), Refused> {
    let Err(error) = P::apply(event, conn).await else {
        return Ok(());
    };
    if let Some(cause) = error.downcast_ref::<sqlx::Error>() {
        if is_aborted(cause) {
            return Err(Refused::Somewhere(explained(cause)));
        }
        if let Some(failure) = store_failure(cause, &error.message()) {
            return Err(Refused::Event(failure.into()));
        }
    }
    Err(Refused::Event(named::<P>(event, &error)))
}

fn named<P: SqlProjection>(event: &Recorded<P::Event>, error: &ProjectionError) -> FoldError {
    FoldError::event(P::NAME, &event.header, error.message())
}

/// Finds the first event with which the others can't be committed, by halves.
async fn culprit<P: SqlProjection>(
    session: &mut Session<'_>,
    events: &[&Recorded<P::Event>],
    message: String,
) -> Result<FoldError, FoldError> {
    let (mut sound, mut broken) = (0, events.len());
    while broken - sound > 1 {
        let middle = sound.midpoint(broken);
        tables::execute(session, "ROLLBACK TO annals_events".to_owned()).await?;
        match apply_some::<P>(session, events.get(..middle).unwrap_or_default()).await {
            Ok(()) => sound = middle,
            Err(Refused::Somewhere(_)) => broken = middle,
            Err(Refused::Event(error)) => return Ok(error),
        }
    }
    Ok(match events.get(sound) {
        Some(event) => FoldError::event(P::NAME, &event.header, message),
        // Can't be: there is no fault without an event.
        None => StoreError::new(annals_core::StoreErrorKind::Other, "apply no events").into(),
    })
}

fn is_aborted(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == ABORTED)
}

fn explained(error: &sqlx::Error) -> String {
    if is_aborted(error) {
        "a statement failed, and `apply` went on: return its error, or run it in a transaction of \
         its own on the connection (`db.begin()`), which is a savepoint"
            .to_owned()
    } else {
        error.to_string()
    }
}

/// A failure that passes without anybody changing the event or the projection, such as a full
/// disk: it is the store's.
fn store_failure(error: &sqlx::Error, message: &str) -> Option<StoreError> {
    let failure = StoreError::new(kind_of(error), "apply an event to a SQL projection");
    failure
        .is_transient()
        .then(|| failure.caused_by(message.to_owned()))
}
