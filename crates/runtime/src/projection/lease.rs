//! Keeping a lease while its holder works.

use std::{fmt, sync::Arc, time::Duration};

use annals_core::{RebuildError, Store, StoreError};
use async_trait::async_trait;
use tokio::task::AbortHandle;

use super::runner::with_causes;

/// Renews a lease in the background, until it is dropped.
#[derive(Debug)]
pub(super) struct Lease(AbortHandle);

/// Something that is leased.
#[async_trait]
pub(super) trait Leased: fmt::Debug + Send + 'static {
    /// The projection it belongs to.
    fn projection(&self) -> &str;

    /// Renews the lease; false when it is somebody else's by now.
    async fn renew(&mut self, term: Duration) -> Result<bool, StoreError>;
}

impl Lease {
    /// Keeps a lease that was just taken for `term`.
    pub(super) fn keep(mut leased: impl Leased, term: Duration) -> Self {
        let renewing = tokio::spawn(async move {
            loop {
                // Two renewals may fail before the lease runs out.
                tokio::time::sleep(term / 3).await;
                match leased.renew(term).await {
                    Ok(true) => {}
                    // The holder's next commit is refused by its fence.
                    Ok(false) => return,
                    Err(error) => {
                        let (projection, error) = (leased.projection(), with_causes(&error));
                        tracing::warn!(%projection, %error, "failed to renew a lease");
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

/// A rebuild.
#[derive(Debug)]
pub(super) struct LeasedRebuild {
    pub(super) store: Arc<dyn Store>,
    pub(super) projection: String,
    pub(super) epoch: u64,
}

#[async_trait]
impl Leased for LeasedRebuild {
    fn projection(&self) -> &str {
        &self.projection
    }

    async fn renew(&mut self, term: Duration) -> Result<bool, StoreError> {
        let renewed = self.store.renew_rebuild(&self.projection, self.epoch, term);
        match renewed.await {
            Ok(()) => Ok(true),
            Err(RebuildError::Store(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }
}
