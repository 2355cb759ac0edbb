//! What the recorder saw: the operations of one workload in their global order.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

/// The workload's acknowledgements go through the recorder as writes to this
/// file, because that is what orders them against the store's own writes.
const ACK_FILE: &str = "acks.log";

/// The recorder's name for the recorded directory itself.
const DIRECTORY: &str = ".";

/// Shared with `recorder.c`.
const MAGIC: &[u8] = b"CRASHR01";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Create {
        file: String,
    },
    Write {
        file: String,
        offset: usize,
        data: Vec<u8>,
    },
    Truncate {
        file: String,
        length: usize,
    },
    Sync {
        file: String,
    },
    SyncDirectory,
    Unlink {
        file: String,
    },
    Rename {
        from: String,
        to: String,
    },
    /// The store has told its caller that something is durable.
    Ack(Ack),
}

/// What the store has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ack {
    /// The append of this number in the history, whose last event has this position.
    Append { index: usize, position: u64 },
    /// The read model's checkpoint.
    Checkpoint { position: u64 },
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append { index, position } => write!(f, "append {index} {position}"),
            Self::Checkpoint { position } => write!(f, "checkpoint {position}"),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { file } => write!(f, "create {file}"),
            Self::Write { file, offset, data } => {
                write!(f, "write {file} {offset}..{}", offset + data.len())
            }
            Self::Truncate { file, length } => write!(f, "truncate {file} to {length}"),
            Self::Sync { file } => write!(f, "sync {file}"),
            Self::SyncDirectory => write!(f, "sync directory"),
            Self::Unlink { file } => write!(f, "unlink {file}"),
            Self::Rename { from, to } => write!(f, "rename {from} to {to}"),
            Self::Ack(ack) => write!(f, "acknowledge {ack}"),
        }
    }
}

/// The workload's side of the acknowledgements.
pub(crate) struct AckLog(File);

impl AckLog {
    pub(crate) fn create(directory: &Path) -> Result<Self, String> {
        OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(directory.join(ACK_FILE))
            .map(Self)
            .map_err(|e| format!("cannot create {ACK_FILE}: {e}"))
    }

    /// Call this straight after the store has answered. One `write`, hence one record, per line.
    pub(crate) fn acknowledge(&self, ack: Ack) -> Result<(), String> {
        (&self.0)
            .write_all(format!("{ack}\n").as_bytes())
            .map_err(|e| format!("cannot write {ACK_FILE}: {e}"))
    }
}

/// Reads a recording file.
pub(crate) fn load(path: &Path) -> Result<Vec<Op>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| format!("{} is not a recording", path.display()))?;
    let mut ops = Vec::new();
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let op = parse(&mut rest).map_err(|e| format!("record at byte {at}: {e}"))?;
        ops.extend(op);
    }
    Ok(ops)
}

/// Takes one record from the front of `rest`; `None` for bookkeeping of the
/// acknowledgement file, which is no state of the store.
fn parse(rest: &mut &[u8]) -> Result<Option<Op>, String> {
    let kind = u32::from_ne_bytes(take_array(rest)?);
    let name_length = u32::from_ne_bytes(take_array(rest)?);
    let offset = to_usize(u64::from_ne_bytes(take_array(rest)?))?;
    let data_length = to_usize(u64::from_ne_bytes(take_array(rest)?))?;
    let file = text(take(rest, to_usize(name_length.into())?)?)?;
    let data = take(rest, data_length)?;
    if file == ACK_FILE {
        return if kind == 2 {
            parse_ack(data).map(Some)
        } else {
            Ok(None)
        };
    }
    Ok(Some(match kind {
        1 => Op::Create { file },
        2 => Op::Write {
            file,
            offset,
            data: data.to_vec(),
        },
        3 => Op::Truncate {
            file,
            length: offset,
        },
        4 if file == DIRECTORY => Op::SyncDirectory,
        4 => Op::Sync { file },
        5 => Op::Unlink { file },
        6 => Op::Rename {
            from: file,
            to: text(data)?,
        },
        _ => return Err(format!("unknown kind {kind}")),
    }))
}

fn parse_ack(line: &[u8]) -> Result<Op, String> {
    let line = text(line)?;
    let words: Vec<_> = line.split_whitespace().collect();
    let ack = match words.as_slice() {
        ["append", index, position] => index
            .parse()
            .ok()
            .zip(position.parse().ok())
            .map(|(index, position)| Ack::Append { index, position }),
        ["checkpoint", position] => {
            let position = position.parse().ok();
            position.map(|position| Ack::Checkpoint { position })
        }
        _ => None,
    };
    ack.map(Op::Ack)
        .ok_or_else(|| format!("not an acknowledgement: {line:?}"))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (front, back) = rest
        .split_at_checked(length)
        .ok_or_else(|| format!("{length} bytes expected, {} left", rest.len()))?;
    *rest = back;
    Ok(front)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    take(rest, N)?
        .try_into()
        .map_err(|_| String::from("wrong length"))
}

fn to_usize(number: u64) -> Result<usize, String> {
    usize::try_from(number).map_err(|e| e.to_string())
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string())
}
