//! Reading a file, line by line, on a thread of its own.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Seek as _},
    path::Path,
    thread,
};

use annals_core::{AppendId, Position, RecordedAppend, StoredEvent, append::MAX_PAYLOAD_BYTES};
use sha2::Digest as _;
use tokio::sync::mpsc;

use super::{FORMAT, Header, Line, Tally, Totals};

/// The longest line: a payload each byte of which is escaped, and as much again for the rest.
const MAX_LINE_BYTES: usize = 7 * MAX_PAYLOAD_BYTES;
/// The most events or appends of a piece.
const PIECE: usize = 2_000;
/// A piece takes no further event once its payloads come to this much.
const PIECE_BYTES: usize = 8 * 1024 * 1024;
/// How many pieces may wait to be taken.
const WAITING: usize = 2;

/// Where a log is read from.
#[derive(Debug)]
pub(in crate::store) enum Source {
    /// Standard input.
    Stdin,
    /// A file, or something that can be read once only.
    File(File),
}

/// Why a file can't be read to its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum ReadError {
    /// It can't be read at all.
    #[error("the file can't be read")]
    Io(#[from] io::Error),
    /// A line is not what it should be.
    #[error("line {line}: {problem}")]
    Line {
        /// Its number; the first is 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
}

/// What comes out of a file, in this order: the header, events, appends, the end.
#[derive(Debug)]
pub(in crate::store) enum Content {
    /// What the file is.
    Header(Header),
    /// Some events or appends.
    Piece(Piece),
    /// The file was whole, and its digest right.
    End(Totals),
}

/// A piece of the file.
#[derive(Debug)]
pub(in crate::store) enum Piece {
    /// Events that follow each other.
    Events(Vec<StoredEvent>),
    /// Appends by id.
    Appends(Vec<RecordedAppend>),
}

impl Source {
    /// Opens a file; `-` is standard input.
    pub(in crate::store) fn open(file: &Path) -> io::Result<Self> {
        if file.as_os_str() == "-" {
            return Ok(Self::Stdin);
        }
        let opened = File::open(file)?;
        if opened.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Self::File(opened))
    }

    /// Another source of the same content, where it can be read twice.
    pub(in crate::store) fn again(&self) -> io::Result<Option<Self>> {
        match self {
            Self::File(file) if file.metadata()?.is_file() => {
                Ok(Some(Self::File(file.try_clone()?)))
            }
            _ => Ok(None),
        }
    }

    /// Reads everything on a thread of its own, which ends when nobody takes any more.
    ///
    /// It is a plain thread, because a process may end while one waits for input, and a runtime
    /// would wait for it.
    pub(in crate::store) fn read(self) -> mpsc::Receiver<Result<Content, ReadError>> {
        let (sender, contents) = mpsc::channel(WAITING);
        thread::spawn(move || {
            let done = match self {
                Self::Stdin => Lines::new(io::stdin().lock()).read(&sender),
                Self::File(mut file) => rewind(&mut file).and_then(|()| {
                    Lines::new(BufReader::with_capacity(1 << 16, file)).read(&sender)
                }),
            };
            if let Err(error) = done {
                // Whoever asked may have gone away.
                sender.blocking_send(Err(error)).ok();
            }
        });
        contents
    }
}

fn rewind(file: &mut File) -> Result<(), ReadError> {
    if file.metadata()?.is_file() {
        file.rewind()?;
    }
    Ok(())
}

type Sender = mpsc::Sender<Result<Content, ReadError>>;

/// A file's lines, and what is known from those that were read.
struct Lines<R> {
    input: R,
    number: u64,
    buffer: Vec<u8>,
    tally: Tally,
    last_append: Option<AppendId>,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            number: 0,
            buffer: Vec::new(),
            tally: Tally::default(),
            last_append: None,
        }
    }

    /// Reads up to the end, checks that it is the end, and sends on what comes.
    fn read(mut self, sender: &Sender) -> Result<(), ReadError> {
        let head = self.header()?;
        let send = |content| sender.blocking_send(Ok(content)).is_ok();
        if !send(Content::Header(Header::new(head))) {
            return Ok(());
        }
        let (mut events, mut bytes, mut appends) = (Vec::new(), 0, Vec::new());
        let totals = loop {
            self.next_line()?;
            match self.parsed()? {
                Parsed::Event(event) => {
                    bytes += event.payload.len();
                    events.push(event);
                }
                Parsed::Append(append) => appends.push(append),
                Parsed::End(totals) => break totals,
            }
            let full = events.len() >= PIECE || bytes >= PIECE_BYTES || !appends.is_empty();
            if full && !events.is_empty() {
                bytes = 0;
                if !send(Content::Piece(Piece::Events(std::mem::take(&mut events)))) {
                    return Ok(());
                }
            }
            if appends.len() >= PIECE
                && !send(Content::Piece(Piece::Appends(std::mem::take(&mut appends))))
            {
                return Ok(());
            }
        };
        self.check_end(head, &totals)?;
        let rest = [Piece::Events(events), Piece::Appends(appends)];
        let rest = rest.into_iter().filter(|piece| !piece.is_empty());
        for content in rest.map(Content::Piece).chain([Content::End(totals)]) {
            if !send(content) {
                break;
            }
        }
        Ok(())
    }

    fn header(&mut self) -> Result<Position, ReadError> {
        let foreign = "it is no exported log: that begins with {\"log\":{\"format\":";
        // A file of another kind may well have no line feed for a long time.
        if self.next_line().is_err() {
            return Err(self.wrong(foreign));
        }
        match serde_json::from_slice(&self.buffer) {
            Ok(Line::Log(header)) if header.format == FORMAT => Ok(header.head),
            Ok(Line::Log(header)) => Err(self.wrong(format!(
                "the file has format {}, but this program knows format {FORMAT}: run the release \
                 that wrote it",
                header.format
            ))),
            _ => Err(self.wrong(foreign)),
        }
    }

    fn parsed(&mut self) -> Result<Parsed, ReadError> {
        let line = serde_json::from_slice(&self.buffer);
        let line = line.map_err(|error| self.wrong(format!("it can't be read: {error}")))?;
        let parsed = match line {
            Line::Event(event) => event.into_event().map(Parsed::Event),
            Line::Append(append) => append.into_append().map(Parsed::Append),
            Line::End(totals) => Ok(Parsed::End(totals)),
            Line::Log(_) => Err("another log begins here".to_owned()),
        };
        let parsed = parsed.map_err(|problem| self.wrong(problem))?;
        match &parsed {
            Parsed::Event(event) => self.take_event(event)?,
            Parsed::Append(append) => self.take_append(append)?,
            Parsed::End(_) => return Ok(parsed),
        }
        self.tally.digest.update(&self.buffer);
        Ok(parsed)
    }

    fn take_event(&mut self, event: &StoredEvent) -> Result<(), ReadError> {
        let expected = Position::new(self.tally.events).next();
        if self.tally.appends > 0 {
            return Err(self.wrong("an event stands after an append"));
        }
        if event.position != expected {
            let found = event.position;
            return Err(self.wrong(format!("position {expected} should be here, not {found}")));
        }
        self.tally.events += 1;
        Ok(())
    }

    fn take_append(&mut self, append: &RecordedAppend) -> Result<(), ReadError> {
        if self.last_append.is_some_and(|last| last >= append.id) {
            return Err(self.wrong("appends should be in the order of their ids"));
        }
        self.last_append = Some(append.id);
        self.tally.appends += 1;
        Ok(())
    }

    fn check_end(&mut self, head: Position, said: &Totals) -> Result<(), ReadError> {
        let found = self.tally.totals();
        if (found.events, found.appends) != (said.events, said.appends)
            || head.get() != found.events
        {
            return Err(self.wrong(format!(
                "the file should have {} events and {} appends, but has {} and {}: lines were \
                 added or taken away",
                said.events, said.appends, found.events, found.appends
            )));
        }
        if found.sha256 != said.sha256 {
            return Err(self.wrong(format!(
                "the lines before it have the digest {}, not {}: the file was altered or damaged",
                found.sha256, said.sha256
            )));
        }
        if self.input.fill_buf()?.is_empty() {
            return Ok(());
        }
        self.number += 1;
        Err(self.wrong("something follows the end"))
    }

    /// Reads a whole line into the buffer.
    fn next_line(&mut self) -> Result<(), ReadError> {
        self.buffer.clear();
        self.number += 1;
        let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
        let mut line = (&mut self.input).take(limit);
        line.read_until(b'\n', &mut self.buffer)?;
        if self.buffer.last() == Some(&b'\n') {
            return Ok(());
        }
        Err(self.wrong(if self.buffer.len() >= MAX_LINE_BYTES {
            "it is too long"
        } else {
            "the file ends here, before its end line: it was cut off"
        }))
    }

    fn wrong(&self, problem: impl Into<String>) -> ReadError {
        ReadError::Line {
            line: self.number,
            problem: problem.into(),
        }
    }
}

/// A line that may stand after the header.
enum Parsed {
    Event(StoredEvent),
    Append(RecordedAppend),
    End(Totals),
}

impl Piece {
    fn is_empty(&self) -> bool {
        match self {
            Self::Events(events) => events.is_empty(),
            Self::Appends(appends) => appends.is_empty(),
        }
    }
}
