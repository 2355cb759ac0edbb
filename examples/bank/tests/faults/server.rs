//! A running server, and a client that knows just enough HTTP.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::bank::Running;

/// How long an answer may take, on a machine that does much else.
const SOON: Duration = Duration::from_secs(60);

/// A server that ends with its test.
pub(crate) struct Server {
    running: Running,
    address: String,
    /// Held open, or what the server writes would have nowhere to go.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts the command, and waits until it listens.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running(command.spawn().unwrap());
        let stderr = running.0.stderr.take().unwrap();
        // What it logs is for people to judge, too.
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                println!("server: {line}");
                assert!(!line.contains("panicked"), "{line}");
            }
        });
        let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://");
        Self {
            address: address.expect("the server listens").to_owned(),
            running,
            _stdout: stdout,
        }
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.ask(&format!("GET {path} HTTP/1.1\r\n"), "")
    }

    /// Deposits 100; the key is the idempotency key.
    pub(crate) fn deposit(&self, key: &str) -> (u16, Value) {
        let head = format!(
            "POST /accounts/a/deposits HTTP/1.1\r\nContent-Type: application/json\r\n\
             Idempotency-Key: {key}\r\n"
        );
        self.ask(&head, r#"{"amount":100}"#)
    }

    fn ask(&self, head: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let length = body.len();
        let request = format!(
            "{head}Host: bank\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let status: u16 = head[9..12].parse().unwrap();
        let is_problem = head.contains("content-type: application/problem+json");
        assert_eq!(is_problem, status >= 400, "{answer}");
        (status, serde_json::from_str(body).unwrap())
    }

    /// Asks the server to end, and waits until it has.
    pub(crate) fn stop(mut self) {
        let id = self.running.0.id().to_string();
        let asked = Command::new("sh")
            .args(["-c", &format!("kill -TERM {id}")])
            .status();
        assert!(asked.unwrap().success());
        let status = self.running.0.wait().unwrap();
        assert!(status.success(), "the server ended with {status}");
    }
}
