//! The real clock and the real source of ids.

use std::sync::Mutex;

use annals_core::{Clock, IdSource};
use chrono::{DateTime, Utc};
use uuid::{Builder, Uuid};

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// UUIDv7 from the operating system's randomness.
///
/// Ids of one process rise even within a millisecond (RFC 9562, section 6.2, method 2), which
/// keeps a database index on them append-only.
#[derive(Debug, Default)]
pub struct RandomIds {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u128,
    steps: Steps,
}

const RANDOM_BITS: u32 = 74;

impl IdSource for RandomIds {
    fn next(&self, now: DateTime<Utc>) -> Uuid {
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.last = if u128::from(millis) > state.last >> 80 {
            fresh(millis)
        } else {
            let step = state.steps.next();
            advanced(state.last, step)
        };
        Uuid::from_u128(state.last)
    }
}

/// The first UUIDv7 of a millisecond.
fn fresh(millis: u64) -> u128 {
    let random = Uuid::new_v4().into_bytes();
    let mut tail = [0; 10];
    tail.copy_from_slice(random.split_at(6).1);
    let id = Builder::from_unix_timestamp_millis(millis, &tail).into_uuid();
    id.as_u128()
}

/// A UUIDv7 so many steps after `id`, leaving version and variant bits in place.
fn advanced(id: u128, step: u16) -> u128 {
    const LOW: u128 = (1 << 62) - 1;
    const HIGH: u128 = (1 << 12) - 1;
    let random = ((id >> 64 & HIGH) << 62 | id & LOW) + 1 + u128::from(step);
    let millis = (id >> 80) + (random >> RANDOM_BITS);
    millis << 80 | 0x7 << 76 | (random >> 62 & HIGH) << 64 | 0b10 << 62 | random & LOW
}

/// Random steps from one id to the next within a millisecond: several from each request to the
/// operating system, which is dear beside all else that an id takes.
#[derive(Debug, Default)]
struct Steps {
    bits: u64,
    left: u32,
}

impl Steps {
    fn next(&mut self) -> u16 {
        if self.left == 0 {
            // A random UUID's bits below the variant's.
            self.bits = Uuid::new_v4().as_u64_pair().1;
            self.left = 3;
        }
        self.left -= 1;
        let [.., high, low] = self.bits.to_be_bytes();
        self.bits >>= 16;
        u16::from_be_bytes([high, low])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_within_and_across_milliseconds_and_are_version_7() {
        let ids = RandomIds::default();
        let now = Utc::now();
        let earlier = now - chrono::Duration::seconds(1);
        let mut last = Uuid::nil();
        for step in 0..10_000 {
            let id = ids.next(if step % 3 == 0 { earlier } else { now });
            assert!(id > last, "{id} does not come after {last}");
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            last = id;
        }
    }

    #[test]
    fn a_step_carries_into_the_time() {
        let full = Builder::from_unix_timestamp_millis(5, &[0xff; 10]).into_uuid();
        let next = Uuid::from_u128(advanced(full.as_u128(), 0));
        assert!(next > full);
        assert_eq!(
            next,
            Builder::from_unix_timestamp_millis(6, &[0; 10]).into_uuid()
        );
    }
}
