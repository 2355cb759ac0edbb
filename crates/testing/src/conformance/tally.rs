//! A projection that counts each stream's events, folded by the store itself.

use std::collections::BTreeMap;

use annals_core::{
    Changes, FoldError, InlineProjection, ProjectionSpec, Row, RowAccess, StoredEvent, Value,
};
use async_trait::async_trait;

use super::table::{COUNTS, counts, row, text};

/// Events of this type can't be folded.
pub(super) const POISON: &str = "suite.poison";

/// Counts the events of each stream in [`COUNTS`].
#[derive(Debug)]
pub(super) struct Tally {
    spec: ProjectionSpec,
}

impl Tally {
    /// The tally that the engine drives.
    pub(super) fn followed() -> Self {
        Self { spec: counts() }
    }

    /// The tally that commits with each append.
    pub(super) fn inline() -> Self {
        Self {
            spec: ProjectionSpec {
                inline: true,
                ..counts()
            },
        }
    }
}

/// What the tally's rows must be after these events.
pub(super) fn tallied(events: &[StoredEvent]) -> Vec<Row> {
    let mut counts = BTreeMap::<&str, i64>::new();
    for event in events {
        *counts.entry(event.stream.as_str()).or_default() += 1;
    }
    let rows = counts.into_iter().map(|(name, count)| row(name, count));
    rows.collect()
}

#[async_trait]
impl InlineProjection for Tally {
    fn spec(&self) -> &ProjectionSpec {
        &self.spec
    }

    async fn fold(
        &self,
        events: &[StoredEvent],
        rows: &mut dyn RowAccess,
    ) -> Result<(), FoldError> {
        for event in events {
            if event.event_type.as_str() == POISON {
                return Err(FoldError::event(&self.spec.name, event, "it is poison"));
            }
            let name = event.stream.as_str();
            let old = rows.load(&[vec![text(name)]]).await?;
            let count = match old.first().and_then(|row| row.get(1)) {
                Some(Value::Integer(count)) => *count,
                None => 0,
                Some(other) => panic!("column `{}` holds {other:?}", COUNTS.columns[1].name),
            };
            let changes = Changes {
                upserts: vec![row(name, count + 1)],
                deletes: Vec::new(),
            };
            rows.write(changes).await?;
        }
        Ok(())
    }
}
