//! A network between a client and a server that can be cut, or led to another server.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{oneshot, watch},
    task::{AbortHandle, JoinSet},
};

/// What a connection loses before it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// What the client sends: the server never sees it.
    Message,
    /// What the server answers, once it has done what it was told.
    Answer,
}

/// A port on the loopback interface whose traffic goes to a port of choice, as long as it flows.
#[derive(Debug)]
#[must_use = "connections end with it"]
pub struct Proxy {
    port: u16,
    network: watch::Sender<Network>,
    ambush: Ambush,
    listening: AbortHandle,
}

/// What waits for a message, on whichever connection it comes.
type Ambush = Arc<Mutex<Option<Trap>>>;

#[derive(Debug)]
struct Trap {
    markers: &'static [&'static [u8]],
    /// None when it is held up for ever.
    lost: Option<Lost>,
    sprung: oneshot::Sender<()>,
}

impl Trap {
    fn awaits(&self, message: &[u8]) -> bool {
        let mut markers = self.markers.iter();
        markers.any(|marker| message.windows(marker.len()).any(|part| part == *marker))
    }
}

#[derive(Clone, Copy, Debug)]
struct Network {
    /// Where new connections lead.
    target: u16,
    /// Connections of an earlier one are broken.
    generation: u64,
    /// Whether bytes are held up, as when a cable is pulled.
    stalled: bool,
    /// Connections of an earlier one are held up, as when a host dies and another takes its place.
    host: u64,
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
            host: 0,
        });
        let ambush = Ambush::default();
        let listening = listen(listener, watched, Arc::clone(&ambush));
        Self {
            port,
            network,
            ambush,
            listening: tokio::spawn(listening).abort_handle(),
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

    /// Passes nothing on any more on the connections that are there; nobody is told. New ones are
    /// led to the server.
    pub fn forsake(&self) {
        self.network.send_modify(|network| network.host += 1);
    }

    /// Holds the connection up on which a client next sends one of `markers`, from there on and for
    /// ever, as when the client is stopped in the middle of what it says. Else it is like
    /// [`lose`](Self::lose).
    ///
    /// # Panics
    /// As [`lose`](Self::lose) does.
    pub fn hold_up_at(
        &self,
        markers: &'static [&'static [u8]],
    ) -> impl Future<Output = ()> + use<> {
        self.set_trap(None, markers)
    }

    /// Breaks all connections, and leads new ones to this port.
    pub fn lead_to(&self, target: u16) {
        self.network.send_modify(|network| {
            network.target = target;
            network.generation += 1;
        });
    }

    /// Leads new connections to this port; those that are there go on.
    pub fn lead_new_to(&self, target: u16) {
        self.network.send_modify(|network| network.target = target);
    }

    /// Breaks the connection on which a client next sends one of `markers`, and loses either that or what
    /// the server answers to it. The returned future ends when that has happened; dropping it
    /// changes nothing.
    ///
    /// A marker is looked for in what arrives in one piece, as a short message does.
    ///
    /// # Panics
    /// The future panics when it is replaced by another call, or its proxy is dropped.
    pub fn lose(
        &self,
        lost: Lost,
        markers: &'static [&'static [u8]],
    ) -> impl Future<Output = ()> + use<> {
        self.set_trap(Some(lost), markers)
    }

    fn set_trap(
        &self,
        lost: Option<Lost>,
        markers: &'static [&'static [u8]],
    ) -> impl Future<Output = ()> + use<> {
        let (sprung, happens) = oneshot::channel();
        let trap = Trap {
            markers,
            lost,
            sprung,
        };
        *lock(&self.ambush) = Some(trap);
        async move { happens.await.expect("it is neither replaced nor given up") }
    }
}

fn lock(ambush: &Mutex<Option<Trap>>) -> std::sync::MutexGuard<'_, Option<Trap>> {
    ambush.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections' tasks belong to it.
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, network: watch::Receiver<Network>, ambush: Ambush) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connect(client, network.clone(), Arc::clone(&ambush)));
    }
}

async fn connect(client: TcpStream, mut network: watch::Receiver<Network>, ambush: Ambush) {
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
    let questions = Pipe {
        from: client_reads,
        to: server_writes,
        network: network.clone(),
    };
    let answers = Pipe {
        from: server_reads,
        to: client_writes,
        network: network.clone(),
    };
    let caught = Mutex::new(None);
    let loses_answer = AtomicBool::new(false);
    tokio::select! {
        () = questions.pass(|message| match lock(&ambush).take_if(|trap| trap.awaits(message)) {
            Some(Trap { lost: None, sprung, .. }) => {
                // Whoever does not wait for it need not be told.
                sprung.send(()).ok();
                Fate::HeldUp
            }
            Some(trap) => {
                let passes = trap.lost == Some(Lost::Answer);
                loses_answer.store(passes, Ordering::SeqCst);
                *lock(&caught) = Some(trap);
                if passes { Fate::Passes } else { Fate::Breaks }
            }
            None => Fate::Passes,
        }) => {}
        () = answers.pass(|_| match loses_answer.load(Ordering::SeqCst) {
            true => Fate::Breaks,
            false => Fate::Passes,
        }) => {}
        // An error means that the proxy is gone, and its connections go with it.
        _ = network.wait_for(|network| network.generation > generation) => {}
    }
    if let Some(trap) = lock(&caught).take() {
        trap.sprung.send(()).ok();
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passes,
    /// It is lost, and the connection with it.
    Breaks,
    /// Neither it nor anything after it arrives.
    HeldUp,
}

/// One direction of a connection.
struct Pipe {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    network: watch::Receiver<Network>,
}

impl Pipe {
    /// Passes bytes on until one end is gone, or `fate` says that they do not arrive.
    async fn pass(mut self, mut fate: impl FnMut(&[u8]) -> Fate) {
        let host = self.network.borrow().host;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let Ok(count @ 1..) = self.from.read(&mut buffer).await else {
                return;
            };
            let flows = |network: &Network| !network.stalled && network.host == host;
            if self.network.wait_for(flows).await.is_err() {
                return;
            }
            let piece = &buffer[..count];
            match fate(piece) {
                Fate::Passes => {}
                Fate::Breaks => return,
                // An error, when the proxy is gone.
                Fate::HeldUp => return drop(self.network.wait_for(|_| false).await),
            }
            if self.to.write_all(piece).await.is_err() {
                return;
            }
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
    async fn a_forsaken_connection_hears_nothing_and_a_new_one_does() {
        let proxy = Proxy::before(server(1).await).await;
        let connect = || TcpStream::connect(("127.0.0.1", proxy.port()));
        let mut first = connect().await.unwrap();
        assert_eq!(ask(&mut first, 1).await.unwrap(), 2);
        proxy.forsake();
        let mut second = connect().await.unwrap();
        assert_eq!(ask(&mut second, 1).await.unwrap(), 2);
        let silence = timeout(Duration::from_millis(50), ask(&mut first, 1)).await;
        assert!(silence.is_err(), "{silence:?}");
    }

    #[tokio::test]
    async fn a_connection_is_held_up_at_a_message() {
        let proxy = Proxy::before(server(1).await).await;
        let connect = || TcpStream::connect(("127.0.0.1", proxy.port()));
        let mut first = connect().await.unwrap();
        let happens = proxy.hold_up_at(&[&[7]]);
        assert_eq!(ask(&mut first, 1).await.unwrap(), 2);
        let silence = timeout(Duration::from_millis(50), ask(&mut first, 7)).await;
        assert!(silence.is_err(), "{silence:?}");
        happens.await;
        let mut second = connect().await.unwrap();
        assert_eq!(ask(&mut second, 7).await.unwrap(), 8);
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
    #[tokio::test]
    async fn a_message_or_its_answer_is_lost_and_its_connection_breaks() {
        let (seen, mut sees) = tokio::sync::mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                while let Ok(byte) = client.read_u8().await {
                    seen.send(byte).unwrap();
                    client.write_u8(byte).await.ok();
                }
            }
        });
        let proxy = Proxy::before(port).await;
        for (lost, arrives) in [(Lost::Message, vec![1]), (Lost::Answer, vec![1, 7])] {
            let mut client = TcpStream::connect(("127.0.0.1", proxy.port()))
                .await
                .unwrap();
            let happens = proxy.lose(lost, &[&[7]]);
            assert_eq!(ask(&mut client, 1).await.unwrap(), 1);
            assert!(ask(&mut client, 7).await.is_err());
            happens.await;
            let mut seen = vec![sees.recv().await.unwrap()];
            seen.extend(std::iter::from_fn(|| sees.try_recv().ok()));
            assert_eq!(seen, arrives, "{lost:?}");
        }
    }
}
