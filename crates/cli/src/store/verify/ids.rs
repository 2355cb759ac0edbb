//! No event id comes twice.

use annals_core::{EventId, StoredEvent};
use annals_runtime::App;
use async_trait::async_trait;

use crate::{
    check::{LogCheck, Problem},
    error::CliError,
};

/// Collects every id, 16 bytes each, and compares them in the end.
#[derive(Default)]
pub(super) struct UniqueIds {
    ids: Vec<EventId>,
}

impl UniqueIds {
    fn twins(&mut self) -> Vec<EventId> {
        self.ids.sort_unstable();
        let pairs = self.ids.iter().zip(self.ids.iter().skip(1));
        let twins = pairs.filter(|(one, other)| one == other);
        twins.map(|(id, _)| *id).collect()
    }
}

#[async_trait]
impl LogCheck for UniqueIds {
    fn name(&self) -> &str {
        "event ids are unique"
    }

    fn event(&mut self, event: &StoredEvent) -> Option<String> {
        self.ids.push(event.id);
        None
    }

    async fn end(&mut self, _app: &App) -> Result<Vec<Problem>, CliError> {
        let twins = self.twins().into_iter();
        let problem = |id| Problem::new(self.name(), format!("event id {id} comes twice"));
        Ok(twins.map(problem).collect())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_id_that_comes_twice_is_found() {
        let ids = |numbers: &[u128]| UniqueIds {
            ids: numbers
                .iter()
                .map(|number| EventId::new(Uuid::from_u128(*number)))
                .collect(),
        };
        assert_eq!(ids(&[3, 1, 2]).twins(), []);
        let twin = EventId::new(Uuid::from_u128(3));
        assert_eq!(ids(&[3, 1, 3, 2]).twins(), [twin]);
    }
}
