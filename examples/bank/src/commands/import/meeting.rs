//! Two lanes at one transfer: the one that carries it out, and the one that lets it.
//!
//! A transfer touches two accounts, which may be in two lanes. It must come after the earlier rows
//! of both, and before the later ones. So it is queued in both lanes: in the one as a row, which is
//! carried out once the other lane has come as far, and in the other as a stop until then.

use tokio::sync::oneshot;

/// The lane that carries the transfer out.
#[derive(Debug)]
pub(super) struct Host {
    here: oneshot::Receiver<()>,
    over: oneshot::Sender<()>,
}

/// The lane of the counterparty.
#[derive(Debug)]
pub(super) struct Guest {
    here: oneshot::Sender<()>,
    over: oneshot::Receiver<()>,
}

/// The other lane has ended early, on an error that it tells by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeftAlone;

/// A meeting of two lanes.
///
/// Lanes can't wait for each other in a circle: a lane only ever waits for rows that stand earlier
/// in the file than the transfer it is at.
pub(super) fn meeting() -> (Host, Guest) {
    let (arrive, here) = oneshot::channel();
    let (end, over) = oneshot::channel();
    let host = Host { here, over: end };
    let guest = Guest { here: arrive, over };
    (host, guest)
}

impl Host {
    /// Waits until the guest has dealt with all rows before the transfer.
    pub(super) async fn guest_is_here(&mut self) -> Result<(), LeftAlone> {
        (&mut self.here).await.map_err(|_| LeftAlone)
    }

    /// Lets the guest go on; a guest whose host fails does not.
    pub(super) fn end(self) {
        // A guest that does not listen any more has ended, and says why by itself.
        let _gone = self.over.send(());
    }
}

impl Guest {
    /// Lets the host carry the transfer out, and waits until that is done.
    pub(super) async fn attend(self) -> Result<(), LeftAlone> {
        self.here.send(()).map_err(|()| LeftAlone)?;
        self.over.await.map_err(|_| LeftAlone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn host_and_guest_wait_for_each_other() {
        let (mut host, guest) = meeting();
        let attending = tokio::spawn(guest.attend());
        assert_eq!(host.guest_is_here().await, Ok(()));
        assert!(!attending.is_finished());
        host.end();
        assert_eq!(attending.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn whoever_is_left_alone_does_not_go_on() {
        let (mut host, guest) = meeting();
        drop(guest);
        assert_eq!(host.guest_is_here().await, Err(LeftAlone));
        let (host, guest) = meeting();
        drop(host);
        assert_eq!(guest.attend().await, Err(LeftAlone));
    }
}
