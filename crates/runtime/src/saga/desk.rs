//! Which sagas are being worked on, and what waits for them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use annals_core::{Position, Version};

use super::{
    inbox::Inbox,
    troubled::Troubled,
    worker::{Done, Job, Order},
};

/// How many sagas are remembered in each of two generations.
const REMEMBERED: usize = 20_000;

/// Hands out sagas to work on: each to one worker at a time, no more than so many at once.
///
/// Sagas in trouble are tried again after ever longer waits, and stand aside meanwhile: they take no
/// room from the others, and never more than half of the workers.
#[derive(Debug)]
pub(super) struct Desk {
    concurrent: usize,
    waiting_limit: usize,
    working: HashMap<String, Work>,
    /// What is to be done for a saga, once nobody works on it.
    tasks: HashMap<String, Task>,
    /// Sagas with tasks that nobody works on and nothing holds back, in turn.
    ready: VecDeque<String>,
    /// Events that are not taken in yet, with the number of sagas they are for.
    open: BTreeMap<Position, usize>,
    troubled: Troubled,
    known: Known,
}

/// What a worker is at.
#[derive(Debug)]
struct Work {
    inbox: Arc<Inbox>,
    /// The events that it was given and is not known to have taken in, in order.
    given: VecDeque<Position>,
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
    pub(super) fn new(concurrent: usize, waiting: usize, owner: &str) -> Self {
        let waiting_limit = waiting.max(1);
        Self {
            concurrent: concurrent.max(1),
            waiting_limit,
            working: HashMap::new(),
            tasks: HashMap::new(),
            ready: VecDeque::new(),
            open: BTreeMap::new(),
            troubled: Troubled::new(waiting_limit, owner),
            known: Known::default(),
        }
    }

    /// Whether more events are to wait on the log.
    pub(super) fn is_full(&self) -> bool {
        let aside = self.troubled.orders();
        let open = self.open.len().saturating_sub(aside);
        [self.ready.len(), open, aside]
            .into_iter()
            .any(|waiting| waiting >= self.waiting_limit)
    }

    /// Whether what is due is to wait in the table. It has room of its own beside what comes from
    /// the log, which can be more than there is room for, for as long as it takes.
    pub(super) fn is_overloaded(&self) -> bool {
        self.ready.len() >= self.waiting_limit.saturating_mul(2)
    }

    pub(super) fn working(&self) -> usize {
        self.working.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn is_working_on(&self, id: &str) -> bool {
        self.working.contains_key(id)
    }

    /// What is in the way of a saga, if something is in the way of any.
    pub(super) fn problem(&self) -> Option<String> {
        self.troubled.problem()
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
        if let Some(work) = self.working.get(id) {
            work.inbox.notice(version);
        }
        let task = self.task(id);
        task.seen = task.seen.max(version);
    }

    /// Has a saga take in an event.
    pub(super) fn order(&mut self, id: &str, order: Order) {
        let position = order.event.position;
        *self.open.entry(position).or_default() += 1;
        let order = match self.working.get_mut(id) {
            Some(work) => match work.inbox.order(order) {
                Some(order) => order,
                None => return work.given.push_back(position),
            },
            None => order,
        };
        if self.troubled.is_aside(id) {
            self.troubled.note_order();
        }
        self.task(id).orders.push_back(order);
    }

    fn task(&mut self, id: &str) -> &mut Task {
        let new = !self.tasks.contains_key(id);
        if new && !self.working.contains_key(id) && !self.troubled.is_aside(id) {
            self.ready.push_back(id.to_owned());
        }
        self.tasks.entry(id.to_owned()).or_default()
    }

    /// The next saga to work on, if one is ready and a worker is free.
    pub(super) fn next(&mut self) -> Option<Job> {
        if self.working.len() >= self.concurrent {
            return None;
        }
        let id = self.next_in_turn()?;
        let orders = self.tasks.remove(&id).unwrap_or_default().orders;
        self.troubled.begin(&id, orders.len());
        let inbox = Arc::<Inbox>::default();
        let positions = orders.iter().map(|order| order.event.position);
        let work = Work {
            inbox: Arc::clone(&inbox),
            given: positions.collect(),
        };
        self.working.insert(id.clone(), work);
        Some(Job {
            failures: self.troubled.failures(&id),
            id,
            orders,
            inbox,
        })
    }

    /// Neither those in trouble nor the others are kept waiting for ever, however many there are.
    fn next_in_turn(&mut self) -> Option<String> {
        let (few, half) = ((self.concurrent / 4).max(1), self.concurrent.div_ceil(2));
        let next = self.troubled.next(few);
        let next = next.or_else(|| self.ready.pop_front());
        next.or_else(|| self.troubled.next(half))
    }

    /// Keeps no event any longer that a worker has taken in, though it goes on for as long as one of
    /// its saga's commands is on its way.
    pub(super) fn close_taken_in(&mut self) {
        let mut taken_in = Vec::new();
        for work in self.working.values_mut() {
            let number = work.inbox.newly_taken_in().min(work.given.len());
            taken_in.extend(work.given.drain(..number));
        }
        taken_in
            .into_iter()
            .for_each(|position| self.close(position));
    }

    /// A worker is done with the events of a saga that it was given, but for those that it leaves.
    pub(super) fn done(&mut self, done: Done) {
        let given = self.working.remove(&done.id).map(|work| work.given);
        let given = given.unwrap_or_default();
        // Events are taken in in the order in which they were given.
        let taken_in = given.len().saturating_sub(done.left.len());
        given
            .into_iter()
            .take(taken_in)
            .for_each(|position| self.close(position));
        self.troubled.end(&done.id);
        // What is left comes before what arrived meanwhile.
        let mut orders = done.left;
        let mut task = self.tasks.remove(&done.id).unwrap_or_default();
        orders.append(&mut task.orders);
        let task = Task { orders, ..task };
        if let Some(problem) = done.problem {
            self.hold_back(done.id, task, problem);
            return;
        }
        self.troubled.forget(&done.id);
        self.known.learn(&done.id, done.version);
        if !task.is_done_at(done.version) {
            self.ready.push_back(done.id.clone());
            self.tasks.insert(done.id, task);
        }
    }

    /// Leaves a saga in trouble alone for a while.
    fn hold_back(&mut self, id: String, task: Task, problem: String) {
        if self.troubled.hold_back(&id, task.orders.len(), problem) {
            let due = true;
            self.tasks.insert(id, Task { due, ..task });
        }
    }

    /// Lets those in trouble go on whose time is up.
    pub(super) fn release(&mut self) {
        self.troubled.release();
    }

    /// Whether it is time to look for sagas in trouble that there was no room to remember.
    pub(super) fn looks_again(&mut self) -> bool {
        self.troubled.looks_again()
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
    use annals_core::{EventId, EventType, Metadata, saga::ReceivedEvent};

    use crate::projection::Backoff;

    fn desk() -> Desk {
        Desk::new(1, 10, "node 1")
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
        desk.done(done);
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

    /// A worker could not go on with a saga.
    fn failed(desk: &mut Desk, id: &str, left: VecDeque<Order>) {
        let done = Done {
            id: id.to_owned(),
            version: Version::NONE,
            left,
            next: None,
            problem: Some("no store".to_owned()),
        };
        desk.done(done);
    }

    fn order(position: u64) -> Order {
        let id = EventId::new(uuid::Uuid::from_u128(position.into()));
        let event = ReceivedEvent {
            position: position.into(),
            stream: "account-a".parse().unwrap(),
            version: version(position),
            id,
            event_type: EventType::new("account.frozen").unwrap(),
            schema_version: 1,
            recorded_at: chrono::DateTime::UNIX_EPOCH,
            tags: Vec::new(),
            metadata: Metadata::caused_by(id.into(), id.uuid().into()),
            payload: serde_json::Value::Null,
        };
        Order {
            event: Box::new(event),
            starts: true,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_are_in_trouble_few_are_remembered_and_none_is_kept_out() {
        let mut desk = desk();
        for number in 0..1_000 {
            desk.wake(&number.to_string());
            let job = desk.next().unwrap();
            failed(&mut desk, &job.id, job.orders);
            assert!(!desk.is_full() && !desk.is_overloaded());
        }
        assert_eq!(desk.waiting(), 10);
        assert!(desk.problem().unwrap().contains("`0`"));
        assert!(desk.problem().unwrap().ends_with("no store (and 9 more)"));
        // Those that are not remembered are looked for in the table, once.
        assert!(!desk.looks_again());
        tokio::time::advance(Backoff::LONGEST).await;
        assert!(desk.looks_again());
        assert!(!desk.looks_again());
    }

    #[tokio::test(start_paused = true)]
    async fn events_for_sagas_in_trouble_wait_at_the_desk_until_they_are_too_many() {
        let mut desk = desk();
        for number in 1..=10 {
            assert!(!desk.is_full());
            let id = number.to_string();
            desk.order(&id, order(number));
            let job = desk.next().unwrap();
            failed(&mut desk, &job.id, job.orders);
        }
        assert!(desk.is_full() && !desk.is_overloaded());
        assert_eq!(desk.first_open(), Some(1.into()));
        tokio::time::advance(Backoff::LONGEST).await;
        desk.release();
        let job = desk.next().unwrap();
        assert_eq!(job.orders.len(), 1);
        assert!(!desk.is_full());
        // It is tried again later than the first time.
        failed(&mut desk, &job.id, job.orders);
        assert!(desk.is_full());
    }

    #[tokio::test(start_paused = true)]
    async fn sagas_in_trouble_leave_half_of_the_workers_to_the_others() {
        let mut desk = Desk::new(4, 10, "node 1");
        for id in ["1", "2", "3", "4"] {
            desk.wake(id);
            assert!(has_work(&mut desk));
            failed(&mut desk, id, VecDeque::new());
        }
        assert!(!has_work(&mut desk));
        tokio::time::advance(Backoff::LONGEST).await;
        desk.release();
        desk.wake("well");
        let mut next = || desk.next().map(|job| job.id);
        assert!(next().is_some_and(|id| id != "well"));
        assert_eq!(next().as_deref(), Some("well"));
        assert!(next().is_some());
        assert_eq!(next(), None);
        desk.wake("as well");
        assert_eq!(desk.next().unwrap().id, "as well");
    }

    #[test]
    fn an_event_reaches_the_worker_at_its_saga_or_waits_for_the_next() {
        let mut desk = desk();
        desk.order("1", order(1));
        let job = desk.next().unwrap();
        desk.order("1", order(2));
        let (came_in, _) = job.inbox.take();
        assert_eq!(came_in.len(), 1);
        // Too late for this worker, who gives one back and meets the other no more.
        desk.order("1", order(3));
        let left = job.inbox.close();
        assert_eq!(left.len(), 1);
        desk.order("1", order(4));
        let done = Done {
            id: job.id,
            version: version(3),
            left,
            next: None,
            problem: None,
        };
        desk.done(done);
        assert_eq!(desk.first_open(), Some(3.into()));
        let next = desk.next().unwrap().orders;
        let positions: Vec<_> = next
            .iter()
            .map(|order| order.event.position.get())
            .collect();
        assert_eq!(positions, [3, 4]);
    }

    #[test]
    fn what_a_worker_has_taken_in_is_open_no_more_though_it_goes_on() {
        let mut desk = desk();
        for position in 1..=2 {
            desk.order("1", order(position));
        }
        let job = desk.next().unwrap();
        for position in 3..=10 {
            desk.order("1", order(position));
        }
        assert!(desk.is_full());
        (0..9).for_each(|_| job.inbox.took_in());
        desk.close_taken_in();
        assert!(!desk.is_full());
        assert_eq!(desk.first_open(), Some(10.into()));
        // It meets its end before the desk has asked about the last.
        job.inbox.took_in();
        job.inbox.take();
        assert!(job.inbox.close().is_empty());
        done(&mut desk, 3);
        assert_eq!(desk.first_open(), None);
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
