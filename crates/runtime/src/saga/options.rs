//! How the saga engine works; the defaults suit most applications.

use std::time::Duration;

/// How sagas are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SagaOptions {
    /// How many sagas of one kind are worked on at the same time.
    pub concurrent: usize,
    /// How many more may wait for their turn before the log is read on. As many again that are in
    /// trouble, as while a store can't be reached, are remembered; what others have to do stands in
    /// the table of deadlines.
    pub waiting: usize,
    /// How often the clock and the runner's record are looked at.
    pub poll: Duration,
    /// How often the checkpoint is written while there is work.
    pub checkpoint: Duration,
    /// How long a runner that was killed keeps others out.
    pub lease: Duration,
    /// How many due deadlines are taken from the table at a time.
    pub sweep: usize,
}

impl Default for SagaOptions {
    fn default() -> Self {
        Self {
            concurrent: 256,
            waiting: 4_096,
            poll: Duration::from_millis(100),
            checkpoint: Duration::from_millis(250),
            lease: Duration::from_secs(5),
            sweep: 500,
        }
    }
}
