//! A saga's stream: reading it, and appending a reaction.

use std::{collections::BTreeMap, sync::Arc};

use annals_core::{
    Append, AppendError, Appended, CausationId, Clock, CommandId, CorrelationId, DecodeError,
    EncodeError, EventId, Expected, Fingerprint, IdSource, Metadata, NewEvent, Position, Recorded,
    Store, StoredEvent, StreamName, StreamRead, TraceContext, Version,
    saga::{Instance, ProcessManager, Reaction, SagaEvent},
};

use super::error::SagaError;
use crate::command::Commands;

/// Stands for "this command will never have an effect", under the command's own append id.
const RECALLED: Fingerprint = *b"annals: recalled";

/// How many events of a stream are read at a time.
const PAGE: usize = 500;

/// Reads and writes sagas' streams.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) commands: Arc<Commands>,
    /// Whether events of sagas that can't be read are passed over.
    pub(super) passes_over: bool,
}

/// Who is behind something that happens to a saga, and why.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub(super) correlation_id: Option<CorrelationId>,
    pub(super) causation_id: Option<CausationId>,
    pub(super) actor: Option<String>,
    pub(super) trace: Option<TraceContext>,
    pub(super) extra: BTreeMap<String, String>,
}

/// What came of a reaction.
#[derive(Debug)]
pub(super) enum Written {
    /// It stands in the stream, and the instance includes it.
    Done,
    /// Somebody else wrote to the stream first: read it anew.
    Lost,
    /// The command that it was to reject has been carried out.
    CarriedOut(Position),
}

/// Why a reaction is not in the stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Saga(#[from] SagaError),
}

impl Journal {
    /// The same, where events that can't be read are passed over.
    pub(super) fn passing_over(&self) -> Self {
        Self {
            passes_over: true,
            ..self.clone()
        }
    }

    /// A saga as its stream tells it; without events when there is none.
    pub(super) async fn load<P: ProcessManager>(
        &self,
        stream: &StreamName,
    ) -> Result<Instance<P>, SagaError> {
        let mut instance = Instance::new(stream.clone());
        loop {
            let read = StreamRead::after(stream.clone(), instance.version(), PAGE);
            let events = self.store.read_stream(read.clone()).await?;
            let ended = read.ends_with(&events);
            for stored in events {
                let unreadable = |source| SagaError::Unreadable {
                    stream: stream.clone(),
                    version: stored.version,
                    source,
                };
                match decode(&stored) {
                    Ok(recorded) => {
                        instance.apply(&recorded.event, recorded.id, &recorded.metadata)?;
                    }
                    Err(_) if self.passes_over => instance.pass_over(),
                    Err(error) => return Err(unreadable(error)),
                }
            }
            if ended {
                return Ok(instance);
            }
        }
    }

    /// Appends a reaction right after what the instance includes, and applies it.
    pub(super) async fn write<P: ProcessManager>(
        &self,
        instance: &mut Instance<P>,
        reaction: Reaction,
        cause: Option<CausationId>,
    ) -> Result<Written, JournalError> {
        let origin = match instance.origin() {
            Some(origin) => Origin {
                correlation_id: Some(origin.correlation_id),
                causation_id: cause,
                actor: origin.actor.clone(),
                trace: origin.trace.clone(),
                extra: origin.extra.clone(),
            },
            None => Origin {
                causation_id: cause,
                ..Origin::default()
            },
        };
        self.write_for(instance, reaction, &origin).await
    }

    /// As [`write`](Self::write), for somebody else than whoever is behind the saga.
    pub(super) async fn write_for<P: ProcessManager>(
        &self,
        instance: &mut Instance<P>,
        reaction: Reaction,
        origin: &Origin,
    ) -> Result<Written, JournalError> {
        let metadata = self.metadata(origin);
        let append = self.append(instance, &reaction, &metadata)?;
        let ids = append.writes.iter().flat_map(|write| &write.events);
        let ids: Vec<EventId> = ids.map(|event| event.id).collect();
        match self.commands.append_settled(append).await {
            // It was there before this attempt: so was what came with it.
            Ok(Appended { repeated: true, .. }) if reaction.consumes.is_some() => Ok(Written::Lost),
            Ok(_) => {
                for (event, id) in reaction.events.iter().zip(ids) {
                    instance
                        .apply(event, id, &metadata)
                        .map_err(SagaError::from)?;
                }
                Ok(Written::Done)
            }
            Err(AppendError::Conflict { .. }) => Ok(Written::Lost),
            Err(AppendError::IdReused { kind: "append", .. }) => self.carried_out(&reaction).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Appends the first events of a saga, under an id of their own where `once` has one; nothing
    /// when the saga is there already.
    pub(super) async fn begin<P: ProcessManager>(
        &self,
        instance: &Instance<P>,
        reaction: Reaction,
        origin: &Origin,
        once: Option<(CommandId, Fingerprint)>,
    ) -> Result<Option<Appended>, JournalError> {
        let mut append = self.append(instance, &reaction, &self.metadata(origin))?;
        if let Some((id, fingerprint)) = once {
            append = append.once(id.into(), fingerprint);
        }
        match self.commands.append_settled(append).await {
            Ok(appended) => Ok(Some(appended)),
            Err(AppendError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets an id stand for the saga of a stream that is there already.
    pub(super) async fn note(
        &self,
        stream: &StreamName,
        (id, fingerprint): (CommandId, Fingerprint),
    ) -> Result<(), AppendError> {
        let nothing = Append::to(stream.clone(), Expected::Any, Vec::new(), self.clock.now());
        let append = nothing.once(id.into(), fingerprint);
        self.commands.append_settled(append).await.map(drop)
    }

    fn append<P: ProcessManager>(
        &self,
        instance: &Instance<P>,
        reaction: &Reaction,
        metadata: &Metadata,
    ) -> Result<Append, EncodeError> {
        let now = self.clock.now();
        let events = reaction
            .events
            .iter()
            .map(|event| {
                NewEvent::encode(event, EventId::new(self.ids.next(now)), metadata.clone())
            })
            .collect::<Result<Vec<_>, _>>()?;
        let expected = Expected::Exact(instance.version());
        let append = Append::to(instance.stream().clone(), expected, events, now);
        Ok(match reaction.consumes {
            Some(command) => append.once(command.into(), RECALLED),
            None => append,
        })
    }

    /// The command's id is taken: by the command itself.
    async fn carried_out(&self, reaction: &Reaction) -> Result<Written, JournalError> {
        let Some(command) = reaction.consumes else {
            return Ok(Written::Lost);
        };
        let found = self.store.find_append(command.into()).await;
        Ok(match found.map_err(SagaError::from)? {
            Some((appended, fingerprint)) if fingerprint != RECALLED => {
                Written::CarriedOut(appended.position)
            }
            _ => Written::Lost,
        })
    }

    fn metadata(&self, origin: &Origin) -> Metadata {
        let own = || CausationId::new(self.ids.next(self.clock.now()));
        let causation_id = origin.causation_id.unwrap_or_else(own);
        let correlation_id = origin.correlation_id;
        let correlation_id = correlation_id.unwrap_or(CorrelationId::new(causation_id.uuid()));
        Metadata {
            actor: origin.actor.clone(),
            trace: origin.trace.clone(),
            extra: origin.extra.clone(),
            ..Metadata::caused_by(causation_id, correlation_id)
        }
    }
}

/// An event of a saga's stream.
pub(super) fn decode(stored: &StoredEvent) -> Result<Recorded<SagaEvent>, DecodeError> {
    stored.decode()?.ok_or_else(|| DecodeError::UnknownType {
        event_type: stored.event_type.to_string(),
        stream: stored.stream.clone(),
    })
}

/// Whether a saga has begun.
pub(super) fn exists<P: ProcessManager>(instance: &Instance<P>) -> bool {
    instance.version() != Version::NONE
}
