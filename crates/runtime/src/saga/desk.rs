//! Which sagas are being worked on, and what waits for them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use annals_core::{Position, Version};
use tokio::time::Instant;

use super::worker::{Done, Order};

/// How many sagas are remembered in each of two generations.
const REMEMBERED: usize = 20_000;

/// Hands out sagas to work on: each to one worker at a time, no more than so many at once.
#[derive(Debug)]
pub(super) struct Desk {
    concurrent: usize,
    waiting_limit: usize,
    working: HashSet<String>,
    /// What is to be done for a saga, once nobody works on it.
    tasks: HashMap<String, Task>,
    /// Sagas with tasks that nobody works on and nothing holds back, in turn.
    ready: VecDeque<String>,
    /// Sagas that had trouble, until when they are left alone.
    held_back: BinaryHeap<Reverse<(Instant, String)>>,
    held: HashSet<String>,
    /// Events that are not taken in yet, with the number of sagas they are for.
    open: BTreeMap<Position, usize>,
    known: Known,
}

/// What is to be done for a saga.
#[derive(Debug, Default)]
struct Task {
    orders: VecDeque<Order>,
    /// Up to where its stream was seen on the log.
    seen: Version,
    /// Whether it has something to do by itself, whatever was seen.
    due: bool,
}

impl Task {
    /// Whether nothing is to be done by somebody who has read the saga's stream up to a version.
    fn is_done_at(&self, version: Version) -> bool {
        self.orders.is_empty() && !self.due && self.seen <= version
    }
}

impl Desk {
    pub(super) fn new(concurrent: usize, waiting: usize) -> Self {
        Self {
            concurrent: concurrent.max(1),
            waiting_limit: waiting.max(1),
            working: HashSet::new(),
            tasks: HashMap::new(),
            ready: VecDeque::new(),
            held_back: BinaryHeap::new(),
            held: HashSet::new(),
            open: BTreeMap::new(),
            known: Known::default(),
        }
    }

    /// Whether more work is to wait outside.
    pub(super) fn is_full(&self) -> bool {
        self.tasks.len() >= self.waiting_limit || self.open.len() >= self.waiting_limit
    }

    pub(super) fn working(&self) -> usize {
        self.working.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn is_working_on(&self, id: &str) -> bool {
        self.working.contains(id)
    }

    /// The first event that is not taken in yet.
    pub(super) fn first_open(&self) -> Option<Position> {
        self.open.keys().next().copied()
    }

    /// Whether a saga's stream was seen up to this version, by a worker or on the log.
    pub(super) fn knows(&self, id: &str, version: Version) -> bool {
        self.known.version(id).is_some_and(|known| known >= version)
    }

    /// A saga's stream reaches this version, and there is nothing to do about it.
    pub(super) fn learn(&mut self, id: &str, version: Version) {
        self.known.learn(id, version);
    }

    /// Has somebody look at a saga that has something to do by itself.
    pub(super) fn wake(&mut self, id: &str) {
        self.task(id).due = true;
    }

    /// Has somebody look at a saga whose stream was seen to reach this version, unless whoever
    /// works on it comes as far by then: what that one writes is on the log before it is done.
    pub(super) fn notice(&mut self, id: &str, version: Version) {
        let task = self.task(id);
        task.seen = task.seen.max(version);
    }

    /// Has a saga take in an event.
    pub(super) fn order(&mut self, id: &str, order: Order) {
        *self.open.entry(order.event.position).or_default() += 1;
        self.task(id).orders.push_back(order);
    }

    fn task(&mut self, id: &str) -> &mut Task {
        let new = !self.tasks.contains_key(id);
        if new && !self.working.contains(id) && !self.held.contains(id) {
            self.ready.push_back(id.to_owned());
        }
        self.tasks.entry(id.to_owned()).or_default()
    }

    /// The next saga to work on, if one is ready and a worker is free.
    pub(super) fn next(&mut self) -> Option<(String, VecDeque<Order>)> {
        if self.working.len() >= self.concurrent {
            return None;
        }
        let id = self.ready.pop_front()?;
        let orders = self.tasks.remove(&id).unwrap_or_default().orders;
        self.working.insert(id.clone());
        let positions = orders.iter().map(|order| order.event.position);
        debug_assert!(
            positions
                .clone()
                .all(|position| self.open.contains_key(&position))
        );
        Some((id, orders))
    }

    /// A worker is done with `taken` events of a saga, and leaves the rest.
    pub(super) fn done(&mut self, done: Done, taken: &[Position], hold_back: Duration) {
        let left: HashSet<Position> = done.left.iter().map(|order| order.event.position).collect();
        for position in taken.iter().filter(|position| !left.contains(position)) {
            self.close(*position);
        }
        self.working.remove(&done.id);
        if done.problem.is_none() {
            self.known.learn(&done.id, done.version);
            let task = self.tasks.get(&done.id);
            match task.map(|task| task.is_done_at(done.version)) {
                Some(true) => drop(self.tasks.remove(&done.id)),
                Some(false) => self.ready.push_back(done.id),
                None => {}
            }
            return;
        }
        // What is left comes before what arrived meanwhile.
        let mut orders = done.left;
        let mut task = self.tasks.remove(&done.id).unwrap_or_default();
        orders.append(&mut task.orders);
        let task = Task {
            orders,
            due: true,
            ..task
        };
        self.tasks.insert(done.id.clone(), task);
        self.held.insert(done.id.clone());
        let until = Instant::now() + hold_back;
        self.held_back.push(Reverse((until, done.id)));
    }

    /// Lets those go on whose time is up.
    pub(super) fn release(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((until, _))) = self.held_back.peek()
            && *until <= now
        {
            if let Some(Reverse((_, id))) = self.held_back.pop() {
                self.held.remove(&id);
                if !self.working.contains(&id) {
                    self.ready.push_back(id);
                }
            }
        }
    }

    fn close(&mut self, position: Position) {
        if let Some(count) = self.open.get_mut(&position) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&position);
            }
        }
    }
}

/// The versions of the sagas seen last, so that the log's echo of one's own work is no work.
#[derive(Debug, Default)]
struct Known {
    recent: HashMap<String, Version>,
    before: HashMap<String, Version>,
}

impl Known {
    fn version(&self, id: &str) -> Option<Version> {
        self.recent.get(id).or_else(|| self.before.get(id)).copied()
    }

    fn learn(&mut self, id: &str, version: Version) {
        if self.recent.len() >= REMEMBERED {
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(id.to_owned(), version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk() -> Desk {
        Desk::new(1, 10)
    }

    fn version(number: u64) -> Version {
        Version::new(number)
    }

    /// A worker has come as far as this version.
    fn done(desk: &mut Desk, number: u64) {
        let done = Done {
            id: "1".to_owned(),
            version: version(number),
            left: VecDeque::new(),
            next: None,
            problem: None,
        };
        desk.done(done, &[], Duration::ZERO);
    }

    fn has_work(desk: &mut Desk) -> bool {
        desk.next().is_some()
    }

    #[test]
    fn what_a_worker_has_written_itself_is_no_work() {
        let mut desk = desk();
        desk.notice("1", version(3));
        assert!(has_work(&mut desk));
        desk.notice("1", version(5));
        desk.notice("1", version(4));
        done(&mut desk, 5);
        assert!(desk.knows("1", version(5)));
        assert!(!has_work(&mut desk));
        assert_eq!(desk.waiting(), 0);
    }

    #[test]
    fn what_others_wrote_after_the_worker_had_read_is_work() {
        let mut desk = desk();
        desk.notice("1", version(3));
        assert!(has_work(&mut desk));
        desk.notice("1", version(6));
        done(&mut desk, 5);
        assert!(has_work(&mut desk));
        done(&mut desk, 6);
        assert!(!has_work(&mut desk));
    }

    #[test]
    fn a_saga_with_something_to_do_by_itself_is_looked_at_again() {
        let mut desk = desk();
        desk.notice("1", version(3));
        assert!(has_work(&mut desk));
        desk.wake("1");
        done(&mut desk, 5);
        assert!(has_work(&mut desk));
    }
}
