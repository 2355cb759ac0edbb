//! The operator's wish to stop.

/// Returns when the process is asked to stop, by Ctrl-C or a termination signal.
///
/// From then on the process is expected to finish what it is at; asked a second time, it ends at
/// once, with exit code 130.
pub async fn stop_requested() {
    asked_once().await;
    tokio::spawn(async {
        asked_once().await;
        std::process::exit(130);
    });
}

#[cfg(unix)]
async fn asked_once() {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return interrupted().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        () = interrupted() => {}
    }
}

#[cfg(not(unix))]
async fn asked_once() {
    interrupted().await;
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // No signal can be received here, so none will stop anything.
        std::future::pending::<()>().await;
    }
}
