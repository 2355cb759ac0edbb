//! A server that runs beside the commands.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use crate::bank::Bank;

/// A running `bank serve`, which does not outlive the test.
pub(crate) struct Server(Child);

impl Server {
    /// Starts it, and waits until it listens.
    pub(crate) fn of(bank: &Bank) -> Self {
        let mut command = bank.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut server = Self(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        let stdout = server.0.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on "), "{line}");
        server
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        let status = self.0.wait().unwrap();
        assert!(status.success(), "the server stopped with {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended by itself can't be killed, which is as well.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
