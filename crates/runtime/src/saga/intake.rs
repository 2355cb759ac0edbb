//! What a runner takes in from the log: events for its sagas, and what was written to their streams.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use annals_core::{
    Checkpoint, EventSet as _, Failure, FoldError, Id as _, Page, Recorded, StoreError,
    StoredEvent, Version,
    projector::relevant,
    saga::{Correlation, ProcessManager, ReceivedEvent, SagaName, saga_stream},
};
use tokio::task::JoinSet;

use super::{
    journal::Journal,
    runner::Runner,
    term::{Term, TermEnd},
    worker::Order,
};
use crate::projection::{Following, SharedLog, panic_message, with_causes};

impl<P: ProcessManager> Runner<P> {
    /// Begins to wait for the page of the log that comes after a checkpoint.
    pub(super) fn turn_page(
        &self,
        pages: &mut JoinSet<Result<Following, StoreError>>,
        after: Checkpoint,
    ) {
        let (log, journal) = (Arc::clone(&self.log), self.journal.clone());
        pages.spawn(async move { Self::next_page(&log, &journal, after).await });
    }

    async fn next_page(
        log: &SharedLog,
        journal: &Journal,
        after: Checkpoint,
    ) -> Result<Following, StoreError> {
        loop {
            if let Some(following) = log.after(after).await? {
                return Ok(following);
            }
            journal.store.wait_beyond(after.position).await?;
        }
    }

    /// Takes in a page of the log.
    pub(super) fn take(&self, term: &mut Term<P>, following: &Following) -> Result<(), TermEnd> {
        let Following { page, start } = following;
        self.take_own(term, page, *start);
        if !P::Event::schemas().is_empty() {
            self.take_foreign(term, page, *start)?;
        }
        if let Some(last) = page.events().last() {
            term.reached = Checkpoint {
                position: last.position,
                event_id: Some(last.id),
            };
            term.trail.note(term.reached);
        }
        Ok(())
    }

    /// Notices what was written to the streams of these sagas, by whomever.
    fn take_own(&self, term: &mut Term<P>, page: &Page, start: usize) {
        let mut latest: BTreeMap<&str, (Version, bool)> = BTreeMap::new();
        for event in page.events().iter().skip(start) {
            let name = SagaName::of(&event.stream).filter(|name| name.saga == P::NAME);
            if let Some(SagaName { id, .. }) = name {
                let event_type = event.event_type.as_str();
                if turns(event_type) {
                    self.endings.notify(P::NAME, id);
                }
                latest.insert(id, (event.version, ends(event_type)));
            }
        }
        for (id, (version, ended)) in latest {
            if term.desk.knows(id, version) {
                continue;
            }
            match ended {
                true => term.desk.learn(id, version),
                false => term.desk.notice(id, version),
            }
        }
    }

    /// Finds out which sagas a page's events are for.
    fn take_foreign(&self, term: &mut Term<P>, page: &Page, start: usize) -> Result<(), TermEnd> {
        let decoded = page.decode::<P::Event>();
        let events = page.events().iter().zip(decoded.iter()).skip(start);
        for (stored, decoded) in events {
            let event = relevant(&self.name, stored, decoded, P::UNKNOWN);
            let addressed = match event {
                Ok(Some(event)) => addressee::<P>(event).map_err(|why| self.refuse(stored, why))?,
                Ok(None) => None,
                Err(FoldError::Event { message, .. }) => return Err(self.refuse(stored, message)),
                Err(error) => return Err(self.refuse(stored, with_causes(&error))),
            };
            let Some((id, starts)) = addressed else {
                continue;
            };
            let taken = ReceivedEvent::take_in(stored);
            let taken = taken.map_err(|error| self.refuse(stored, error.to_string()))?;
            let event = Box::new(taken);
            term.desk.order(&id, Order { event, starts });
        }
        Ok(())
    }

    /// Nothing after this event is taken in, until somebody has done something about it.
    fn refuse(&self, stored: &StoredEvent, message: String) -> TermEnd {
        TermEnd::Event(Box::new(Failure {
            position: stored.position,
            stream: stored.stream.to_string(),
            event_type: stored.event_type.to_string(),
            message,
            since: self.journal.clock.now(),
        }))
    }
}

/// The saga that an event is for, if any, and whether it begins with it.
fn addressee<P: ProcessManager>(
    event: &Recorded<P::Event>,
) -> Result<Option<(String, bool)>, String> {
    // The application's own code: what it panics over once it would panic over for ever.
    let correlated = catch_unwind(AssertUnwindSafe(|| match P::correlate(event) {
        Correlation::None => None,
        Correlation::Start(id) => Some((id.to_text().into_owned(), true)),
        Correlation::Continue(id) => Some((id.to_text().into_owned(), false)),
    }));
    let addressed = correlated.map_err(|panic| panic_message(panic.as_ref()))?;
    if let Some((id, _)) = &addressed {
        saga_stream(P::NAME, id).map_err(|error| error.to_string())?;
    }
    Ok(addressed)
}

/// Whether an event of this type leaves nothing to do.
fn ends(event_type: &str) -> bool {
    [
        "saga.completed",
        "saga.compensated",
        "saga.failed",
        "saga.abandoned",
    ]
    .contains(&event_type)
}

/// Whether those who wait for a saga's end should look at it.
fn turns(event_type: &str) -> bool {
    ends(event_type) || event_type == "saga.stuck"
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_core::{Event as _, saga::SagaEvent};

    #[test]
    fn the_types_that_end_a_saga_are_those_of_the_events_that_do() {
        let reason = String::new;
        let all = [
            SagaEvent::Completed,
            SagaEvent::Compensated { reason: reason() },
            SagaEvent::Failed { reason: reason() },
            SagaEvent::Abandoned { reason: reason() },
            SagaEvent::Compensating { reason: reason() },
        ];
        for event in all {
            assert_eq!(ends(event.schema().name), event.ends(), "{event:?}");
        }
    }
}
