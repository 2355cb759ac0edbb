//! The HTTP API.
//!
//! | file | subject |
//! |---|---|
//! | `accounts` | the endpoints under `/accounts` |
//! | `transfers` | the endpoints under `/transfers` |
//! | `users` | the endpoints under `/users` |
//! | `health` | `/healthz` and `/readyz` |
//! | `extract` | what requests say, or the problem with them |
//! | `idempotency` | `Idempotency-Key` |
//! | `trace` | `traceparent` and `tracestate` |
//! | `problem` | what every error looks like |
//! | `openapi.json` | the API's description, served at `/openapi.json` |

mod accounts;
mod extract;
mod health;
mod idempotency;
mod problem;
mod trace;
mod transfers;
mod users;

use std::{io, panic::AssertUnwindSafe, time::Duration};

use annals::{App, Position};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    handler::Handler,
    http::{Method, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
    serve::ListenerExt,
};
use futures_util::FutureExt;
use tokio::{net::TcpListener, sync::watch, time::sleep};
use tracing::Instrument;

use crate::transferring::TRANSFERRED_WITHIN;
pub use problem::{Kind, Problem};

/// The API's description.
const OPENAPI: &str = include_str!("openapi.json");

/// How much the API takes, and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest body of a request.
    pub body_bytes: usize,
    /// How long a client may take to send it.
    pub body_within: Duration,
    /// How long a read waits for the position that it asks for with `at_least`.
    pub caught_up_within: Duration,
    /// How long requests under way may take to finish after a shutdown has begun.
    pub drain_within: Duration,
    /// How long a transfer may take before the money goes back.
    pub transferred_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 * 1024,
            body_within: Duration::from_secs(30),
            caught_up_within: Duration::from_secs(5),
            drain_within: Duration::from_secs(10),
            transferred_within: TRANSFERRED_WITHIN,
        }
    }
}

/// What every endpoint needs.
#[derive(Clone, Debug)]
struct Api {
    app: App,
    limits: Limits,
}

impl Api {
    /// Waits until the log reaches a position.
    async fn log_reaches(&self, position: Option<u64>) -> Result<(), Problem> {
        let Some(before) = position.and_then(|position| position.checked_sub(1)) else {
            return Ok(());
        };
        let beyond = self.app.store().wait_beyond(Position::new(before));
        match tokio::time::timeout(self.limits.caught_up_within, beyond).await {
            Ok(reached) => Ok(reached.map(|_| ())?),
            Err(_) => {
                let detail = "the log does not reach the position that `at_least` asks for";
                Err(Problem::new(Kind::Behind, detail).retry())
            }
        }
    }
}

/// Serves the API until `shutdown` ends, and then lets requests under way finish.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    app: App,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_within(app, listener, shutdown, Limits::default()).await
}

/// As [`serve`], with limits of one's own.
///
/// # Errors
/// When the listener fails.
pub async fn serve_within(
    app: App,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
    limits: Limits,
) -> io::Result<()> {
    let (stop, mut stopping) = watch::channel(false);
    let begun = async move {
        shutdown.await;
        stop.send_replace(true);
    };
    // Answers are small: there is nothing to gain from collecting them.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "failed to set a connection to send at once");
        }
    });
    let server = axum::serve(listener, router(app, limits)).with_graceful_shutdown(begun);
    let overdue = async move {
        if stopping.wait_for(|stopping| *stopping).await.is_err() {
            std::future::pending::<()>().await;
        }
        sleep(limits.drain_within).await;
    };
    tokio::select! {
        served = server.into_future() => served,
        () = overdue => {
            tracing::warn!("some clients did not finish in time; their connections are dropped");
            Ok(())
        }
    }
}

/// The API as a service.
pub fn router(app: App, limits: Limits) -> Router {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(route.path, route.endpoint);
    }
    router
        .fallback(async || Problem::new(Kind::NotFound, "see /openapi.json for what there is"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                Kind::MethodNotAllowed,
                "the header `Allow` says which methods there are",
            )
        })
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(from_fn(guarded))
        .with_state(Api { app, limits })
}

/// The endpoints, as method and path.
pub fn endpoints() -> impl Iterator<Item = (Method, &'static str)> {
    routes().into_iter().map(|route| (route.method, route.path))
}

struct Route {
    method: Method,
    path: &'static str,
    endpoint: MethodRouter<Api>,
}

fn routes() -> Vec<Route> {
    vec![
        posts("/accounts", accounts::open),
        posts("/accounts/{id}/deposits", accounts::deposit),
        posts("/accounts/{id}/withdrawals", accounts::withdraw),
        posts("/accounts/{id}/freeze", accounts::freeze),
        posts("/accounts/{id}/unfreeze", accounts::unfreeze),
        posts("/accounts/{id}/close", accounts::close),
        gets("/accounts/{id}", accounts::show),
        gets("/accounts/{id}/events", accounts::history),
        posts("/transfers", transfers::begin),
        gets("/transfers/{id}", transfers::show),
        gets("/users/{owner}/balance", users::balance),
        gets("/healthz", health::alive),
        gets("/readyz", health::ready),
        gets("/openapi.json", openapi),
    ]
}

fn gets<T: 'static>(path: &'static str, handler: impl Handler<T, Api>) -> Route {
    Route {
        method: Method::GET,
        path,
        endpoint: get(handler),
    }
}

fn posts<T: 'static>(path: &'static str, handler: impl Handler<T, Api>) -> Route {
    Route {
        method: Method::POST,
        path,
        endpoint: post(handler),
    }
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

/// Answers a request; a panic is answered, too, and costs nobody else anything.
async fn guarded(request: Request, next: Next) -> Response {
    let span = tracing::info_span!(
        "http.request",
        method = %request.method(),
        path = request.uri().path(),
    );
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    answer.instrument(span).await.unwrap_or_else(|_| {
        tracing::error!("an endpoint panicked");
        Problem::new(
            Kind::Internal,
            "the server failed to answer; its log says why",
        )
        .into_response()
    })
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    async fn broken() -> &'static str {
        panic!("an endpoint with a bug");
    }

    #[tokio::test]
    async fn a_panic_is_answered_and_the_connection_goes_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", get(broken))
            .layer(from_fn(guarded));
        tokio::spawn(axum::serve(listener, router).into_future());

        let mut connection = TcpStream::connect(address).await.unwrap();
        let requests = "GET / HTTP/1.1\r\nHost: bank\r\n\r\n\
                        GET / HTTP/1.1\r\nHost: bank\r\nConnection: close\r\n\r\n";
        connection.write_all(requests.as_bytes()).await.unwrap();
        let mut answers = String::new();
        connection.read_to_string(&mut answers).await.unwrap();
        assert_eq!(answers.matches("HTTP/1.1 500 ").count(), 2, "{answers}");
        assert_eq!(
            answers.matches("/problems/internal").count(),
            2,
            "{answers}"
        );
    }
}
