//! Keeping a rebuild's lease while it works.

use std::{sync::Arc, time::Duration};

use annals_core::{RebuildError, Store};
use tokio::task::AbortHandle;

use super::runner::with_causes;

/// Renews a rebuild's lease in the background, until it is dropped.
#[derive(Debug)]
pub(super) struct Lease(AbortHandle);

impl Lease {
    pub(super) fn keep(
        store: Arc<dyn Store>,
        projection: String,
        epoch: u64,
        term: Duration,
    ) -> Self {
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(term / 3).await;
                match store.renew_rebuild(&projection, epoch, term).await {
                    Ok(()) => {}
                    // The next commit is refused by its fence, and ends the rebuild.
                    Err(RebuildError::Fenced { .. }) => return,
                    Err(error) => {
                        let error = with_causes(&error);
                        tracing::warn!(%projection, %error, "failed to renew a rebuild's lease");
                    }
                }
            }
        });
        Self(renewing.abort_handle())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.abort();
    }
}
