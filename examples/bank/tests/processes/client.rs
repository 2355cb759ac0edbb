//! HTTP, as a client that is cut off at any time.

use std::{
    io::{Error, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

/// A server that lives answers within this time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// A request to send, once or again.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    head: String,
    body: String,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        Self {
            head: format!("GET {path} HTTP/1.1\r\n"),
            body: String::new(),
        }
    }

    /// A command; the key makes it safe to repeat.
    pub(crate) fn post(path: &str, key: &str, body: &Value) -> Self {
        Self {
            head: format!(
                "POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n\
                 Idempotency-Key: {key}\r\n"
            ),
            body: body.to_string(),
        }
    }

    pub(crate) fn deposit(account: &str, amount: i64, key: &str) -> Self {
        let path = format!("/accounts/{account}/deposits");
        Self::post(&path, key, &json!({ "amount": amount }))
    }

    fn bytes(&self) -> String {
        let Self { head, body } = self;
        format!(
            "{head}Host: bank\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

/// What the server answered. Two answers are equal when they say the same; when they were given
/// does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `location`, `etag` and `log-position`.
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether the read model is not yet where the answer has to be from.
    pub(crate) fn is_behind(&self) -> bool {
        self.status == 503 && self.body.contains("\"/problems/behind\"")
    }

    /// The position of the event that a command brought about.
    #[track_caller]
    pub(crate) fn position(&self) -> i64 {
        let mut headers = self.headers.iter();
        let found = headers.find(|(name, _)| name == "log-position");
        found.expect("a position").1.parse().unwrap()
    }
}

/// A connection that is used for one request after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    is_last: bool,
}

impl Connection {
    pub(crate) async fn to(server: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            is_last: false,
        })
    }

    /// Whether the server has said that it answers no more on this connection.
    pub(crate) fn is_last(&self) -> bool {
        self.is_last
    }

    /// Sends a request. An error of kind `UnexpectedEof` means that the answer broke off; any
    /// other one that there was none.
    pub(crate) async fn send(&mut self, request: &Request) -> Result<Answer, Error> {
        let exchange = async {
            let sent = self.stream.write_all(request.bytes().as_bytes()).await;
            sent?;
            self.answer().await
        };
        let answered = timeout(ANSWERED_WITHIN, exchange).await;
        answered.unwrap_or_else(|_| panic!("no answer to {request:?}"))
    }

    async fn answer(&mut self) -> Result<Answer, Error> {
        // A cut before the first byte is no answer; after it, half of one.
        if self.stream.fill_buf().await?.is_empty() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let half = |_| Error::from(ErrorKind::UnexpectedEof);
        let status = self.line().await.map_err(half)?;
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let (mut headers, mut length) = (Vec::new(), 0);
        loop {
            let line = self.line().await.map_err(half)?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "connection" => self.is_last = value == "close",
                name @ ("location" | "etag" | "log-position") => {
                    headers.push((name.to_owned(), value.to_owned()));
                }
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.map_err(half)?;
        Ok(Answer {
            status,
            headers,
            body: String::from_utf8(body).unwrap(),
        })
    }

    /// A line without its end; empty for the one that ends the head.
    async fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}
