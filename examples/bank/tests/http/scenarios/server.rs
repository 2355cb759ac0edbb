//! A bank of its own for each test.

use std::{io, net::SocketAddr};

use annals::{Annals, App, Position};
use bank::{
    domain::{Transfer, UserBalance},
    http::{Limits, serve_within},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::super::STORE;
use crate::{
    client::{Answer, Connection, Request},
    store::Place,
};

/// The bank, served.
#[derive(Debug)]
pub(crate) struct Bank {
    pub(crate) app: App,
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
    place: Place,
}

/// The bank, on its way out.
#[derive(Debug)]
pub(crate) struct Stopping {
    app: App,
    server: JoinHandle<io::Result<()>>,
    _place: Place,
}

impl Stopping {
    /// Waits until the server has ended, and closes the store.
    pub(crate) async fn ended(self) {
        self.server.await.unwrap().unwrap();
        self.app.shutdown().await;
    }
}

impl Bank {
    pub(crate) async fn open() -> Self {
        Self::open_with(Limits::default()).await
    }

    pub(crate) async fn open_with(limits: Limits) -> Self {
        let place = Place::of(STORE).await;
        let builder = Annals::open(place.url()).await.unwrap();
        let builder = builder.projection::<UserBalance>().saga::<Transfer>();
        let app = builder.start().await.unwrap();
        Self::serve(place, app, limits).await
    }

    /// Serves an application whose store is at this place.
    pub(crate) async fn serve(place: Place, app: App, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let server = tokio::spawn(serve_within(app.clone(), listener, shutdown, limits));
        Self {
            app,
            address,
            stop,
            server,
            place,
        }
    }

    /// Tells the server to end.
    pub(crate) fn stop(self) -> Stopping {
        self.stop.send(()).unwrap();
        Stopping {
            app: self.app,
            server: self.server,
            _place: self.place,
        }
    }

    pub(crate) async fn close(self) {
        self.stop().ended().await;
    }

    pub(crate) async fn send(&self, request: Request) -> Answer {
        Connection::to(self.address)
            .await
            .send(&request.header("Connection", "close"))
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::new("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Request::new("POST", path).json(body)).await
    }

    /// Opens an account and pays money in.
    pub(crate) async fn account(&self, owner: &str, id: &str, balance: i64) {
        self.post("/accounts", json!({ "owner": owner, "id": id }))
            .await
            .ok(201);
        if balance > 0 {
            let path = format!("/accounts/{id}/deposits");
            self.post(&path, json!({ "amount": balance })).await.ok(201);
        }
    }

    /// How many events the log holds.
    pub(crate) async fn events(&self) -> u64 {
        self.app.store().head().await.unwrap().get()
    }

    /// Waits until the read model shows everything.
    pub(crate) async fn caught_up(&self) -> Position {
        let head = self.app.store().head().await.unwrap();
        self.app.caught_up::<UserBalance>(head).await.unwrap();
        head
    }
}
