//! `store migrate`: bring the store's tables up to date.

use annals_core::Store;
use serde_json::json;

use crate::{error::CliError, options::OperatorOptions, output::Output, shown::things};

/// The store has been opened by now, and opening is what migrates it.
pub(super) async fn run(
    store: &dyn Store,
    options: &OperatorOptions,
    output: Output,
) -> Result<(), CliError> {
    let head = store.head().await?;
    let url = options.store.as_deref().unwrap_or_default();
    let answer = json!({ "kind": store.kind(), "up_to_date": true, "head": head });
    output.answer(&answer, || {
        let events = things(head.get(), "event");
        format!(
            "{} store {url} is up to date; it holds {events}",
            store.kind()
        )
    })
}
