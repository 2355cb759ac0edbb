//! What an operator does to a saga.

use std::{future::IntoFuture, pin::Pin};

use annals_core::saga::Operation;

use super::{error::OperateError, sagas::Sagas, view::SagaView};

/// An operator's wish: set options, then `.await` it. It answers how the saga stands then.
///
/// It stands in the saga's stream without an actor, unless one is named: whoever the saga was
/// started for has nothing to do with it.
#[must_use = "nothing is done to the saga until the wish is awaited"]
#[derive(Debug)]
pub struct Operate<'a> {
    sagas: &'a Sagas,
    saga: String,
    id: String,
    operation: Operation,
    actor: Option<String>,
}

impl<'a> Operate<'a> {
    pub(super) fn new(sagas: &'a Sagas, saga: &str, id: &str, operation: Operation) -> Self {
        Self {
            sagas,
            saga: saga.to_owned(),
            id: id.to_owned(),
            operation,
            actor: None,
        }
    }

    /// Who wants it, in the application's own terms.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }
}

impl<'a> IntoFuture for Operate<'a> {
    type Output = Result<SagaView, OperateError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let kind = self.sagas.kind(&self.saga)?;
            let journal = self.sagas.journal();
            kind.operate(journal, &self.id, self.operation, self.actor)
                .await
        })
    }
}
