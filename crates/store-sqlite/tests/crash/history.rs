//! What the workload appends: a function of the seed alone, so that the process which appends
//! and the one which checks agree without talking; and what must hold of it after a crash.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    sync::Arc,
};

use annals_core::{
    Append, AppendId, CausationId, CorrelationId, EventId, EventType, Expected, Metadata, NewEvent,
    StreamName, Tag,
};
use annals_testing::seed::Seed;
use chrono::{DateTime, Utc};
use uuid::{Builder, Uuid};

use crate::{recording::Ack, tally};

const STREAMS: usize = 7;
const USERS: usize = 5;
const STREAMS_OF_AN_APPEND: RangeInclusive<usize> = 1..=3;
const EVENTS_OF_A_STREAM: RangeInclusive<usize> = 1..=3;
const SMALL_PAYLOAD: RangeInclusive<usize> = 0..=300;
/// Larger than a page, so that it goes to overflow pages.
const LARGE_PAYLOAD: RangeInclusive<usize> = 4_100..=9_000;

/// Acknowledged, but not there. Every other complaint means that the store is damaged, which is
/// worse; the two must be told apart.
pub(crate) const LOST: &str = "acknowledged but lost";

/// An event as it was found after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundEvent {
    pub(crate) position: u64,
    pub(crate) stream: String,
    pub(crate) version: u64,
    pub(crate) id: Uuid,
    pub(crate) tags: Vec<String>,
    pub(crate) payload: Vec<u8>,
}

/// Everything that was found after a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// The log, in the order of positions.
    pub(crate) events: Vec<FoundEvent>,
    /// The append ids that the store remembers, with the positions they led to.
    pub(crate) append_ids: BTreeMap<Uuid, u64>,
    /// Up to where the read model claims to reach.
    pub(crate) checkpoint: u64,
    /// The read model's rows.
    pub(crate) rows: tally::Rows,
}

/// What an examination came to.
pub(crate) type Verdict = Result<Arc<Sound>, String>;

/// What is in a store that is not damaged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sound {
    /// The position of the last event of each append that is there.
    ends: HashMap<usize, u64>,
    head: usize,
    checkpoint: u64,
}

impl Sound {
    /// Whether an append is there.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.ends.contains_key(&index)
    }

    /// Checks that nothing acknowledged is missing or elsewhere.
    pub(crate) fn check(&self, acks: &[Ack]) -> Result<(), String> {
        for ack in acks {
            match *ack {
                Ack::Append { index, position } => match self.ends.get(&index) {
                    Some(end) if *end == position => {}
                    Some(end) => {
                        return Err(format!(
                            "moved: append {index} was acknowledged at {position} and is at {end}"
                        ));
                    }
                    None => {
                        return Err(format!(
                            "{LOST}: append {index} at {position}, the log ends at {}",
                            self.head
                        ));
                    }
                },
                Ack::Checkpoint { position } if self.checkpoint < position => {
                    return Err(format!(
                        "{LOST}: checkpoint {position}, it is {}",
                        self.checkpoint
                    ));
                }
                Ack::Checkpoint { .. } => {}
            }
        }
        Ok(())
    }
}

/// All appends of a workload.
pub(crate) struct History {
    pub(crate) appends: Vec<Append>,
    /// Which append an event belongs to.
    owners: HashMap<Uuid, usize>,
}

impl History {
    pub(crate) fn new(seed: u64, appends: usize) -> Self {
        let mut choices = Seed::apart(seed, u64::MAX);
        let appends: Vec<_> = (0..appends)
            .map(|index| append(&mut choices, index).expect("the names are valid"))
            .collect();
        let mut owners = HashMap::new();
        for (index, append) in appends.iter().enumerate() {
            for event in append.writes.iter().flat_map(|write| &write.events) {
                owners.insert(event.id.uuid(), index);
            }
        }
        Self { appends, owners }
    }

    /// How many events all appends carry.
    pub(crate) fn event_count(&self) -> usize {
        self.owners.len()
    }

    /// Examines what was found after a crash: it must be a dense log of whole appends, exactly
    /// as appended, and a read model that fits its checkpoint.
    pub(crate) fn examine(&self, found: &Found) -> Verdict {
        check_density(&found.events)?;
        let ends = self.check_appends(&found.events)?;
        for (index, append) in self.appends.iter().enumerate() {
            let Some(id) = append.id else { continue };
            let remembered = found.append_ids.get(&id.uuid());
            if remembered != ends.get(&index) {
                return Err(format!(
                    "append id: append {index} ends at {:?}, its id leads to {remembered:?}",
                    ends.get(&index)
                ));
            }
        }
        check_read_model(found)?;
        Ok(Arc::new(Sound {
            ends,
            head: found.events.len(),
            checkpoint: found.checkpoint,
        }))
    }

    /// Cuts the log into appends: each whole, unchanged and there once. Answers where they end.
    fn check_appends(&self, events: &[FoundEvent]) -> Result<HashMap<usize, u64>, String> {
        let mut ends = HashMap::new();
        let mut rest = events;
        while let Some(first) = rest.first() {
            let at = first.position;
            let index = *self
                .owners
                .get(&first.id)
                .ok_or_else(|| format!("extra: event {at} was never appended"))?;
            let count = self.appends[index].event_count();
            let Some((mine, others)) = rest.split_at_checked(count) else {
                return Err(format!("torn: append {index} at {at} is not all there"));
            };
            let wanted = self.appends[index]
                .writes
                .iter()
                .flat_map(|write| write.events.iter().map(|event| (&write.stream, event)));
            for (event, (stream, new)) in mine.iter().zip(wanted) {
                let tags = new.tags.iter().map(|tag| tag.as_str());
                if event.id != new.id.uuid()
                    || event.stream != stream.as_str()
                    || event.payload != new.payload
                    || !tags.eq(event.tags.iter().map(String::as_str))
                {
                    return Err(format!(
                        "changed: event {} is not what append {index} has there",
                        event.position
                    ));
                }
            }
            let end = mine.last().map_or(at, |event| event.position);
            if ends.insert(index, end).is_some() {
                return Err(format!("doubled: append {index} is there twice"));
            }
            rest = others;
        }
        Ok(ends)
    }
}

fn check_density(events: &[FoundEvent]) -> Result<(), String> {
    let mut versions: HashMap<&str, u64> = HashMap::new();
    for (position, event) in (1..).zip(events) {
        let version = versions.entry(&event.stream).or_default();
        *version += 1;
        if event.position != position || event.version != *version {
            return Err(format!(
                "hole: {} is at position {} and version {} where {position} and {version} belong",
                event.stream, event.position, event.version
            ));
        }
    }
    Ok(())
}

fn check_read_model(found: &Found) -> Result<(), String> {
    let up_to = found
        .events
        .iter()
        .take_while(|event| event.position <= found.checkpoint);
    if found.checkpoint > found.events.len() as u64 {
        return Err(format!(
            "checkpoint ahead: it is {}, and the log ends at {}",
            found.checkpoint,
            found.events.len()
        ));
    }
    let folded = tally::fold(up_to);
    if folded == found.rows {
        return Ok(());
    }
    Err(format!(
        "read model: at checkpoint {} its rows are {:?}, the fold gives {folded:?}",
        found.checkpoint, found.rows
    ))
}

/// The append of this number. Every tenth also begins a stream that nobody else writes to.
fn append(choices: &mut Seed, index: usize) -> Result<Append, annals_core::InvalidName> {
    let first = choices.below(STREAMS);
    let mut writes = Vec::new();
    for nth in 0..between(choices, STREAMS_OF_AN_APPEND) {
        let stream = StreamName::parse(&format!("account-{}", (first + nth) % STREAMS))?;
        writes.push((stream, Expected::Any));
    }
    if index.is_multiple_of(10) {
        let stream = StreamName::parse(&format!("transfer-{index}"))?;
        writes.push((stream, Expected::NoStream));
    }
    let mut append: Option<Append> = None;
    for (stream, expected) in writes {
        let count = between(choices, EVENTS_OF_A_STREAM);
        let events = (0..count)
            .map(|_| event(choices))
            .collect::<Result<Vec<_>, _>>()?;
        append = Some(match append {
            None => Append::to(stream, expected, events, recorded_at()),
            Some(append) => append.and(stream, expected, events),
        });
    }
    let append = append.expect("an append writes to at least one stream");
    Ok(if choices.chance(1, 3) {
        append.once(AppendId::new(id(choices)), [7; 16])
    } else {
        append
    })
}

fn event(choices: &mut Seed) -> Result<NewEvent, annals_core::InvalidName> {
    let sizes = if choices.chance(1, 24) {
        LARGE_PAYLOAD
    } else {
        SMALL_PAYLOAD
    };
    let size = between(choices, sizes);
    let mut tags = Vec::new();
    for key in ["owner", "payee"].iter().take(choices.below(3)) {
        tags.push(Tag::new(key, choices.below(USERS))?);
    }
    Ok(NewEvent {
        id: EventId::new(id(choices)),
        event_type: EventType::new("account.deposited")?,
        schema_version: 1,
        payload: choices.take(size),
        tags,
        metadata: Metadata::caused_by(
            CausationId::new(id(choices)),
            CorrelationId::new(id(choices)),
        ),
    })
}

/// A UUIDv7 of one fixed time: ids must not depend on when a test runs.
fn id(choices: &mut Seed) -> Uuid {
    let mut random = [0; 10];
    random.copy_from_slice(&choices.take(10));
    Builder::from_unix_timestamp_millis(1_700_000_000_000, &random).into_uuid()
}

fn recorded_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default()
}

fn between(choices: &mut Seed, range: RangeInclusive<usize>) -> usize {
    range.start() + choices.below(range.end() - range.start() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(history: &History, found: &Found, acks: &[Ack]) -> Result<(), String> {
        history.examine(found)?.check(acks)
    }

    /// What a store holds that has done every append in order.
    fn complete(history: &History) -> (Found, Vec<Ack>) {
        let mut found = Found::default();
        let mut acks = Vec::new();
        let mut versions: HashMap<String, u64> = HashMap::new();
        for (index, append) in history.appends.iter().enumerate() {
            for write in &append.writes {
                for event in &write.events {
                    let version = versions.entry(write.stream.to_string()).or_default();
                    *version += 1;
                    found.events.push(FoundEvent {
                        position: found.events.len() as u64 + 1,
                        stream: write.stream.to_string(),
                        version: *version,
                        id: event.id.uuid(),
                        tags: event.tags.iter().map(ToString::to_string).collect(),
                        payload: event.payload.clone(),
                    });
                }
            }
            let position = found.events.len() as u64;
            acks.push(Ack::Append { index, position });
            if let Some(id) = append.id {
                found.append_ids.insert(id.uuid(), position);
            }
        }
        found.checkpoint = 3;
        found.rows = tally::fold(&found.events[..3]);
        acks.push(Ack::Checkpoint { position: 3 });
        (found, acks)
    }

    #[test]
    fn every_kind_of_damage_is_noticed() {
        let history = History::new(1, 20);
        let (whole, acks) = complete(&history);
        assert_eq!(check(&history, &whole, &acks), Ok(()));
        assert_eq!(check(&history, &Found::default(), &[]), Ok(()));

        type Damage = fn(&mut Found);
        let damages: [(&str, Damage); 11] = [
            (LOST, |found| *found = Found::default()),
            ("torn", |found| drop(found.events.pop())),
            ("hole", |found| drop(found.events.remove(1))),
            ("hole", |found| found.events[4].version += 1),
            ("changed", |found| found.events[3].payload.push(0)),
            ("changed", |found| found.events[3].tags.push("a:b".into())),
            ("extra", |found| found.events[0].id = Uuid::nil()),
            ("append id", |found| found.append_ids.clear()),
            ("read model", |found| found.checkpoint = 4),
            ("read model", |found| found.rows.clear()),
            ("checkpoint ahead", |found| found.checkpoint = 1 << 40),
        ];
        for (kind, damage) in damages {
            let mut found = whole.clone();
            damage(&mut found);
            let complaint = check(&history, &found, &acks).expect_err(kind);
            assert!(complaint.starts_with(kind), "{kind}: {complaint}");
        }
    }

    #[test]
    fn an_acknowledgement_of_another_place_is_noticed() {
        let history = History::new(1, 20);
        let (whole, _) = complete(&history);
        let moved = Ack::Append {
            index: 3,
            position: 1,
        };
        let complaint = check(&history, &whole, &[moved]).expect_err("it moved");
        assert!(complaint.starts_with("moved"), "{complaint}");
        let ahead = Ack::Checkpoint { position: 4 };
        let complaint = check(&history, &whole, &[ahead]).expect_err("it is lost");
        assert!(complaint.starts_with(LOST), "{complaint}");
    }
}
