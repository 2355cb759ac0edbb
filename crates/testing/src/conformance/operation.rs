//! Random operations on a store, for the comparison with the model.

use annals_core::{
    Append, AppendId, Category, Expected, LogRead, NewEvent, Position, Query, QueryItem,
    StreamRead, StreamWrite, Version, order::Direction,
};
use proptest::{collection, option, prelude::*};

use super::{Model, sample::*};

const STREAMS: usize = 3;
const TYPES: [&str; 3] = ["thing.a", "thing.b", "thing.c"];
const TAGS: [&str; 3] = ["tag:a", "tag:b", "tag:c"];

/// What is done, in terms that fit any log.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Append(Intent),
    /// The same append once more, counted from the newest.
    Repeat(usize),
    /// An earlier event in another append.
    Steal {
        back: usize,
        stream: usize,
    },
    ReadStream {
        stream: usize,
        from: u64,
        limit: usize,
        direction: Direction,
    },
    ReadLog {
        filter: Filter,
        from: u64,
        limit: usize,
        direction: Direction,
    },
    FindAppend(usize),
    StreamVersion(usize),
}

/// A write before the log is known: the stream's number, and events by type and tags.
type WriteIntent = (usize, Expect, Vec<(usize, u8)>);

/// An append before the log is known.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    writes: Vec<WriteIntent>,
    condition: Option<(Filter, u64)>,
    id: Option<(usize, u8)>,
}

#[derive(Clone, Debug)]
enum Expect {
    Any,
    NoStream,
    StreamExists,
    Actual,
    Exact(u64),
}

/// Types and tags by number; the category is added where it is used.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    items: Vec<(Vec<usize>, u8)>,
}

pub(super) fn operations(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    collection::vec(operation(), 1..=most)
}

fn operation() -> impl Strategy<Value = Operation> {
    let direction = prop_oneof![Just(Direction::Forwards), Just(Direction::Backwards)];
    let read_stream = (0..STREAMS, 0..12_u64, 0..9_usize, direction.clone());
    let read_log = (filter(), 0..40_u64, 0..9_usize, direction);
    prop_oneof![
        6 => intent().prop_map(Operation::Append),
        2 => (0..6_usize).prop_map(Operation::Repeat),
        1 => (0..6_usize, 0..STREAMS).prop_map(|(back, stream)| Operation::Steal { back, stream }),
        3 => read_stream.prop_map(|(stream, from, limit, direction)| Operation::ReadStream {
            stream, from, limit, direction
        }),
        3 => read_log.prop_map(|(filter, from, limit, direction)| Operation::ReadLog {
            filter, from, limit, direction
        }),
        1 => (0..4_usize).prop_map(Operation::FindAppend),
        1 => (0..STREAMS).prop_map(Operation::StreamVersion),
    ]
}

fn intent() -> impl Strategy<Value = Intent> {
    let expect = prop_oneof![
        4 => Just(Expect::Any),
        1 => Just(Expect::NoStream),
        1 => Just(Expect::StreamExists),
        4 => Just(Expect::Actual),
        1 => (0..6_u64).prop_map(Expect::Exact),
    ];
    let events = collection::vec((0..TYPES.len(), 0..8_u8), 0..4);
    let writes = collection::vec((0..STREAMS, expect, events), 1..4);
    let condition = prop_oneof![4 => Just(None), 1 => (filter(), 0..30_u64).prop_map(Some)];
    let id = option::weighted(0.2, (0..4_usize, 0..2_u8));
    (writes, condition, id).prop_map(|(writes, condition, id)| Intent {
        writes,
        condition,
        id,
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    let item = (collection::vec(0..TYPES.len(), 0..3), 0..8_u8);
    collection::vec(item, 1..3).prop_map(|items| Filter { items })
}

/// Gives operations their concrete names: each case of a property has a category of its own.
#[derive(Clone, Debug)]
pub(super) struct Case {
    category: Category,
    base: Position,
    append_ids: Vec<AppendId>,
}

impl Case {
    /// A case whose log begins after `base`.
    pub(super) fn new(number: usize, base: Position) -> Self {
        Self {
            category: Category::new(&format!("case_{number}")).expect("the category is valid"),
            base,
            append_ids: (0..4).map(|_| append_id()).collect(),
        }
    }

    pub(super) fn stream(&self, number: usize) -> annals_core::StreamName {
        stream(&format!("{}-{number}", self.category))
    }

    pub(super) fn append_id(&self, number: usize) -> AppendId {
        self.append_ids[number]
    }

    pub(super) fn append(&self, intent: &Intent, model: &Model) -> Append {
        let writes = intent.writes.iter().map(|(number, expect, events)| {
            let stream = self.stream(*number);
            let expected = match expect {
                Expect::Any => Expected::Any,
                Expect::NoStream => Expected::NoStream,
                Expect::StreamExists => Expected::StreamExists,
                Expect::Actual => Expected::Exact(model.stream_version(&stream)),
                Expect::Exact(version) => Expected::Exact(Version::new(*version)),
            };
            StreamWrite {
                stream,
                expected,
                events: events
                    .iter()
                    .map(|&(name, tags)| new_event(name, tags))
                    .collect(),
            }
        });
        let mut append = Append {
            id: None,
            fingerprint: [0; 16],
            writes: writes.collect(),
            condition: None,
            recorded_at: now(),
        };
        if let Some((filter, back)) = &intent.condition {
            append = append.unless(self.query(filter), model.head().minus(*back));
        }
        if let Some((number, fingerprint)) = intent.id {
            append = append.once(self.append_id(number), [fingerprint; 16]);
        }
        append
    }

    fn query(&self, filter: &Filter) -> Query {
        let items = filter.items.iter().map(|(types, tags)| QueryItem {
            categories: vec![self.category.clone()],
            types: types
                .iter()
                .map(|&index| event_type(TYPES[index]))
                .collect(),
            tags: chosen(*tags).map(tag).collect(),
        });
        Query {
            items: items.collect(),
        }
    }

    pub(super) fn stream_read(
        &self,
        number: usize,
        from: u64,
        limit: usize,
        direction: Direction,
    ) -> StreamRead {
        StreamRead {
            stream: self.stream(number),
            from: Version::new(from),
            direction,
            limit,
        }
    }

    pub(super) fn log_read(
        &self,
        filter: &Filter,
        from: u64,
        limit: usize,
        direction: Direction,
    ) -> LogRead {
        LogRead {
            query: self.query(filter),
            from: self.base.plus(from),
            direction,
            limit,
        }
    }
}

fn chosen(bits: u8) -> impl Iterator<Item = &'static str> {
    let tags = TAGS.into_iter().enumerate();
    tags.filter(move |(index, _)| bits & (1 << index) != 0)
        .map(|(_, tag)| tag)
}

fn new_event(name: usize, tags: u8) -> NewEvent {
    tagged(TYPES[name], &chosen(tags).collect::<Vec<_>>())
}
