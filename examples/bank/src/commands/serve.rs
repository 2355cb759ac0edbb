//! `bank serve`: the HTTP API, and the read models and transfers behind it.

use std::net::SocketAddr;

use annals::cli::{Output, stop_requested};
use clap::Args;
use tokio::net::TcpListener;

use super::{deadline::TransferDeadline, error::BankError, wiring};
use crate::http::{self, Limits};

#[derive(Args, Clone, Debug)]
pub(super) struct ServeArgs {
    /// Where to listen; port 0 takes any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    #[command(flatten)]
    deadline: TransferDeadline,
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let said = "it must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080";
    text.parse().map_err(|_| said)
}

pub(super) async fn run(args: ServeArgs, url: &str) -> Result<(), BankError> {
    let bind = |source| BankError::Bind {
        listen: args.listen,
        source,
    };
    // Before the store is touched: a second server on the port should change nothing.
    let listener = TcpListener::bind(args.listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let app = wiring::bank(url).await?.start().await?;
    // Scripts wait for this line, and take the address from it.
    Output::new(false).line(&format!("listening on http://{address}"))?;

    let shutdown = async {
        stop_requested().await;
        tracing::info!("stopping: finishing the requests under way");
    };
    let limits = Limits {
        transferred_within: args.deadline.within(),
        ..Limits::default()
    };
    let served = http::serve_within(app.clone(), listener, shutdown, limits).await;
    app.shutdown().await;
    served.map_err(BankError::Serve)
}
