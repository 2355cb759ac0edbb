//! Transfers in a simulated world, many times over: nodes die at any operation, overlap, are told
//! that what was done failed, are woken for nothing or late, read pages that are old or cut short, and
//! have wrong clocks. Money must never be lost or made.
//!
//! `ANNALS_SEEDS=20000` runs more worlds, as `scripts/simulate` does; a failing one prints its seed.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)] // a test fails by panicking

use std::{
    iter,
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

#[path = "../sagas/accounts.rs"]
mod accounts;
mod ledger;
mod node;
mod world;

use node::{Faults, Oddities, Planted};
use world::{Script, Target, run};

const SOUND: Faults = Faults {
    refused: 0,
    unknown: 0,
    odd: 0,
    death: None,
    planted: Planted::Nothing,
};

/// How many worlds there are unless somebody says otherwise.
const WORLDS: u64 = 2_000;

fn worlds() -> u64 {
    let wanted = std::env::var("ANNALS_SEEDS").ok();
    wanted.map_or(WORLDS, |wanted| wanted.parse().expect("a number"))
}

/// Runs worlds on every processor until there are no more.
fn in_every_world(worlds: u64, check: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                let seeds = iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
                seeds.take_while(|seed| *seed < worlds).for_each(&check);
            });
        }
    });
}

fn wild(planted: Planted) -> Script {
    let faults = Faults {
        refused: 3,
        unknown: 5,
        odd: 10,
        planted,
        ..SOUND
    };
    Script {
        transfers: 8,
        faults,
        chaos: true,
        target: None,
        within: None,
    }
}

#[test]
fn transfers_end_well_in_every_world() {
    let seen = Mutex::new(Oddities::default());
    in_every_world(worlds(), |seed| {
        let course = run(seed, wild(Planted::Nothing));
        let course = course.unwrap_or_else(|problem| panic!("world {seed}: {problem}"));
        seen.lock().unwrap().add(course.oddities);
    });
    let seen = seen.into_inner().unwrap();
    let Oddities {
        for_nothing,
        late,
        old,
        short,
    } = seen;
    let fewest = for_nothing.min(late).min(old).min(short);
    assert!(fewest >= worlds() / 10, "{seen:?} in {} worlds", worlds());
}

/// Else the seed of a world in which something went wrong would be of little use.
#[test]
fn a_world_is_the_same_each_time_it_is_run() {
    in_every_world(worlds() / 10, |seed| {
        let once = run(seed, wild(Planted::Nothing)).unwrap();
        let again = run(seed, wild(Planted::Nothing)).unwrap();
        let differs = once.log.iter().zip(&again.log).find(|(a, b)| a != b);
        assert_eq!(differs, None, "world {seed}");
        assert_eq!(once, again, "world {seed}");
    });
}

/// A node dies at each of its operations in turn, before and after it is carried out.
fn die_everywhere(target: Target, within: Option<Duration>) {
    let script = |death| Script {
        transfers: 1,
        faults: Faults { death, ..SOUND },
        chaos: false,
        target: Some(target),
        within,
    };
    let operations = run(1, script(None)).unwrap().operations;
    assert!(operations > 120, "{operations} operations");
    in_every_world(2 * operations, |number| {
        let (at, after) = (1 + number / 2, number % 2 == 1);
        if let Err(problem) = run(1, script(Some((at, after)))) {
            panic!("death at operation {at} (after: {after}): {problem}");
        }
    });
}

#[test]
fn a_node_may_die_at_any_operation_of_a_transfer_that_completes() {
    die_everywhere(Target::Open, None);
}

#[test]
fn a_node_may_die_at_any_operation_of_a_transfer_that_is_compensated() {
    die_everywhere(Target::Closed, None);
}

#[test]
fn a_node_may_die_at_any_operation_of_a_transfer_that_comes_too_late() {
    die_everywhere(Target::Frozen, None);
}

/// Whoever goes on finds the deadline of the whole transfer passed, whatever had been done by then.
#[test]
fn a_node_may_die_at_any_operation_of_a_transfer_that_nobody_goes_on_with_in_time() {
    die_everywhere(Target::Open, Some(Duration::from_secs(45)));
}

/// Whether what is broken shows like this in one world or another.
fn is_noticed(script: Script, as_what: &str) -> bool {
    let shows = |problem: String| problem.contains(as_what);
    (0..2_000).any(|seed| run(seed, script).is_err_and(shows))
}

#[test]
fn a_step_that_is_carried_out_twice_is_noticed() {
    let twice = "`debit` was carried out 2 times";
    assert!(is_noticed(wild(Planted::ForgottenCommandIds), twice));
}

#[test]
fn a_compensation_that_is_carried_out_twice_is_noticed() {
    let twice = "`undo:debit` was carried out 2 times";
    let undone = Script {
        target: Some(Target::Closed),
        ..wild(Planted::ForgottenCommandIds)
    };
    assert!(is_noticed(undone, twice));
}

#[test]
fn a_command_that_is_carried_out_after_its_rejection_is_noticed() {
    assert!(is_noticed(
        wild(Planted::UnconsumedRejections),
        ledger::BOTH
    ));
}
