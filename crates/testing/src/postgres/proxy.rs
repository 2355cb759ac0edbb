//! A network between a client and a server that can be cut, or led to another server.

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// A port on the loopback interface whose traffic goes to a port of choice, as long as it flows.
#[derive(Debug)]
#[must_use = "connections end with it"]
pub struct Proxy {
    port: u16,
    network: watch::Sender<Network>,
    listening: AbortHandle,
}

#[derive(Clone, Copy, Debug)]
struct Network {
    /// Where new connections lead.
    target: u16,
    /// Connections of an earlier one are broken.
    generation: u64,
    /// Whether bytes are held up, as when a cable is pulled.
    stalled: bool,
}

impl Proxy {
    /// A proxy in front of a port.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn before(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (network, watched) = watch::channel(Network {
            target,
            generation: 0,
            stalled: false,
        });
        Self {
            port,
            network,
            listening: tokio::spawn(listen(listener, watched)).abort_handle(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops passing bytes on, both ways; nobody is told. New connections are taken, and hear
    /// nothing.
    pub fn stall(&self) {
        self.network.send_modify(|network| network.stalled = true);
    }

    /// Passes bytes on again, first those that were held up.
    pub fn flow(&self) {
        self.network.send_modify(|network| network.stalled = false);
    }

    /// Breaks all connections, and leads new ones to this port.
    pub fn lead_to(&self, target: u16) {
        self.network.send_modify(|network| {
            network.target = target;
            network.generation += 1;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections' tasks belong to it.
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, network: watch::Receiver<Network>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connect(client, network.clone()));
    }
}

async fn connect(client: TcpStream, mut network: watch::Receiver<Network>) {
    let Network {
        target, generation, ..
    } = *network.borrow();
    // Without a server behind it the client is refused, though a little later than by the server.
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    // Latency is measured through it.
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    tokio::select! {
        () = pass(client_reads, server_writes, network.clone()) => {}
        () = pass(server_reads, client_writes, network.clone()) => {}
        // An error means that the proxy is gone, and its connections go with it.
        _ = network.wait_for(|network| network.generation > generation) => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut network: watch::Receiver<Network>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if network.wait_for(|network| !network.stalled).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Answers each byte with itself plus `add`.
    async fn server(add: u8) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok(byte) = client.read_u8().await {
                        client.write_u8(byte + add).await.unwrap();
                    }
                });
            }
        });
        port
    }

    async fn ask(client: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
        client.write_u8(byte).await?;
        client.read_u8().await
    }

    #[tokio::test]
    async fn a_stalled_connection_goes_on_where_it_was() {
        let proxy = Proxy::before(server(1).await).await;
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        assert_eq!(ask(&mut client, 1).await.unwrap(), 2);
        proxy.stall();
        client.write_u8(5).await.unwrap();
        let silence = timeout(Duration::from_millis(50), client.read_u8()).await;
        assert!(silence.is_err(), "{silence:?}");
        proxy.flow();
        assert_eq!(client.read_u8().await.unwrap(), 6);
    }

    #[tokio::test]
    async fn connections_are_led_to_another_server() {
        let proxy = Proxy::before(server(1).await).await;
        let connect = || TcpStream::connect(("127.0.0.1", proxy.port()));
        let mut first = connect().await.unwrap();
        assert_eq!(ask(&mut first, 1).await.unwrap(), 2);
        for add in [2, 3] {
            proxy.lead_to(server(add).await);
            assert!(ask(&mut first, 1).await.is_err(), "the old one is broken");
            first = connect().await.unwrap();
            assert_eq!(ask(&mut first, 1).await.unwrap(), 1 + add);
        }
    }
}
