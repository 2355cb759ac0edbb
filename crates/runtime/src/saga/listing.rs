//! Which sagas there are, from the table `annals_sagas`.

use annals_core::{ReadModel as _, Store, Target, saga::SagaStatus};

use super::{error::SagaError, read_models::SagaOverview};

/// How many rows are read at a time.
const PAGE: usize = 1_000;

/// Which sagas to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaQuery {
    /// Only those that stand like this.
    pub status: Option<SagaStatus>,
    /// Only those after this one, by kind and id: where the page before ended.
    pub after: Option<(String, String)>,
    /// At most so many.
    pub limit: usize,
}

impl Default for SagaQuery {
    fn default() -> Self {
        Self {
            status: None,
            after: None,
            limit: PAGE,
        }
    }
}

/// The sagas that a query is about. Streams are not read, and of the table no more than it takes.
pub(super) async fn list(
    store: &dyn Store,
    query: &SagaQuery,
) -> Result<Vec<SagaOverview>, SagaError> {
    let table = SagaOverview::TABLE;
    let wanted = query.status.map(SagaStatus::as_str);
    // Those that stand otherwise are read as well.
    let page = match wanted {
        None => query.limit.min(PAGE),
        Some(_) => PAGE,
    };
    let mut after = query.after.as_ref().map(SagaOverview::key_values);
    let mut found = Vec::new();
    while found.len() < query.limit {
        let scan = store.scan_rows(&table, Target::Live, after.as_deref(), page);
        let rows = scan.await?;
        let full = rows.len() >= page;
        after = rows.last().map(|row| table.key_of(row));
        for row in rows {
            let row = SagaOverview::from_row(row).map_err(|source| SagaError::Row {
                table: table.name,
                source,
            })?;
            if wanted.is_none_or(|wanted| row.status == wanted) {
                found.push(row);
            }
        }
        if !full {
            break;
        }
    }
    found.truncate(query.limit);
    Ok(found)
}
