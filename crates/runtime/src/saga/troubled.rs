//! Sagas that could not go on when they were worked on last.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashSet, VecDeque},
};

use tokio::time::Instant;

use crate::projection::Backoff;

/// Holds sagas in trouble back, each for ever longer waits, until it is their turn again.
#[derive(Debug)]
pub(super) struct Troubled {
    /// How many are remembered that no events wait for.
    limit: usize,
    /// Makes the waits of this node differ from those of others.
    owner: String,
    sagas: BTreeMap<String, Trouble>,
    /// Those that nobody works on at the moment.
    aside: HashSet<String>,
    /// How many events wait for those.
    orders: usize,
    /// Until when they are left alone.
    held_back: BinaryHeap<Reverse<(Instant, String)>>,
    /// Those whose time is up, in turn.
    again: VecDeque<String>,
    /// How many are being worked on.
    working: usize,
    /// When to look for those that there was no room to remember, if there were some.
    look_again: Option<Instant>,
}

#[derive(Debug)]
struct Trouble {
    backoff: Backoff,
    problem: String,
}

impl Troubled {
    pub(super) fn new(limit: usize, owner: &str) -> Self {
        Self {
            limit,
            owner: owner.to_owned(),
            sagas: BTreeMap::new(),
            aside: HashSet::new(),
            orders: 0,
            held_back: BinaryHeap::new(),
            again: VecDeque::new(),
            working: 0,
            look_again: None,
        }
    }

    /// How many events wait for sagas that stand aside.
    pub(super) fn orders(&self) -> usize {
        self.orders
    }

    /// How often a saga could not go on in a row.
    pub(super) fn failures(&self, id: &str) -> u32 {
        let trouble = self.sagas.get(id);
        trouble.map_or(0, |trouble| trouble.backoff.failures())
    }

    /// What is in the way of a saga, if something is in the way of any.
    pub(super) fn problem(&self) -> Option<String> {
        let (id, trouble) = self.sagas.first_key_value()?;
        let problem = format!("saga `{id}` can't go on just now: {}", trouble.problem);
        Some(match self.sagas.len() - 1 {
            0 => problem,
            others => format!("{problem} (and {others} more)"),
        })
    }

    /// Whether a saga is in trouble and nobody works on it.
    pub(super) fn is_aside(&self, id: &str) -> bool {
        self.aside.contains(id)
    }

    /// An event came in for a saga that stands aside.
    pub(super) fn note_order(&mut self) {
        self.orders += 1;
    }

    /// The next saga to try again, while no more than so many are being tried.
    pub(super) fn next(&mut self, at_once: usize) -> Option<String> {
        match self.working < at_once {
            true => self.again.pop_front(),
            false => None,
        }
    }

    /// A saga is worked on, and is given so many events that waited for it.
    pub(super) fn begin(&mut self, id: &str, orders: usize) {
        if self.aside.remove(id) {
            self.orders = self.orders.saturating_sub(orders);
            self.working += 1;
        }
    }

    /// Nobody works on a saga any more.
    pub(super) fn end(&mut self, id: &str) {
        if self.sagas.contains_key(id) {
            self.working = self.working.saturating_sub(1);
        }
    }

    /// A saga is in trouble no more.
    pub(super) fn forget(&mut self, id: &str) {
        self.sagas.remove(id);
    }

    /// Holds a saga back for which so many events wait. False when there is no room to remember
    /// one more: the table of deadlines has what it has to do.
    pub(super) fn hold_back(&mut self, id: &str, orders: usize, problem: String) -> bool {
        let is_new = !self.sagas.contains_key(id);
        if is_new && orders == 0 && self.sagas.len() >= self.limit {
            let look_again = Instant::now() + Backoff::LONGEST;
            self.look_again.get_or_insert(look_again);
            return false;
        }
        let backoff = || Backoff::of(&self.owner, id);
        let trouble = self.sagas.entry(id.to_owned()).or_insert_with(|| Trouble {
            backoff: backoff(),
            problem: String::new(),
        });
        trouble.problem = problem;
        let until = Instant::now() + trouble.backoff.failed();
        self.held_back.push(Reverse((until, id.to_owned())));
        self.aside.insert(id.to_owned());
        self.orders += orders;
        true
    }

    /// Lets those go on whose time is up.
    pub(super) fn release(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((until, _))) = self.held_back.peek()
            && *until <= now
        {
            let id = self.held_back.pop().map(|Reverse((_, id))| id);
            self.again.extend(id);
        }
    }

    /// Whether it is time to look for those that there was no room to remember.
    pub(super) fn looks_again(&mut self) -> bool {
        let now = Instant::now();
        let due = self.look_again.take_if(|again| *again <= now);
        due.is_some()
    }
}
