//! Where a runner's checkpoint may be set.

use annals_core::{Checkpoint, Position};

/// How many places are remembered.
const KEPT: usize = 1_024;

/// The ends of the pages that were taken in, as far as no checkpoint was set there yet.
///
/// A saga that can't take an event in holds the checkpoint before that event, for as long as it
/// takes; what is remembered meanwhile is bounded, and only becomes less exact.
#[derive(Debug)]
pub(super) struct Trail {
    ends: Vec<Checkpoint>,
    /// How many pages one of them stands for, so that they are spread evenly.
    stride: usize,
    /// How many the last one stands for.
    pages: usize,
}

impl Default for Trail {
    fn default() -> Self {
        Self {
            ends: Vec::new(),
            stride: 1,
            pages: 0,
        }
    }
}

impl Trail {
    /// A page was taken in up to here.
    pub(super) fn note(&mut self, end: Checkpoint) {
        if let Some(last) = self.ends.last_mut()
            && self.pages < self.stride
        {
            *last = end;
            self.pages += 1;
            return;
        }
        if self.ends.len() >= KEPT {
            self.thin_out();
        }
        self.ends.push(end);
        self.pages = 1;
    }

    fn thin_out(&mut self) {
        self.stride = self.stride.saturating_mul(2);
        let mut keep = true;
        self.ends.retain(|_| {
            keep = !keep;
            keep
        });
    }

    /// The last place before an event that is not taken in, or of all; it is not given again.
    pub(super) fn take_before(&mut self, open: Option<Position>) -> Option<Checkpoint> {
        let done = |end: &Checkpoint| open.is_none_or(|open| end.position < open);
        let done = self.ends.partition_point(done);
        let last = self.ends.drain(..done).next_back()?;
        self.stride = 1;
        Some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(position: u64) -> Checkpoint {
        Checkpoint {
            position: Position::new(position),
            event_id: None,
        }
    }

    fn taken(trail: &mut Trail, open: Option<u64>) -> Option<u64> {
        let taken = trail.take_before(open.map(Position::new));
        taken.map(|end| end.position.get())
    }

    #[test]
    fn a_checkpoint_is_set_before_the_first_open_event() {
        let mut trail = Trail::default();
        for position in [10, 20, 30] {
            trail.note(end(position));
        }
        assert_eq!(taken(&mut trail, Some(10)), None);
        assert_eq!(taken(&mut trail, Some(25)), Some(20));
        assert_eq!(taken(&mut trail, Some(25)), None);
        assert_eq!(taken(&mut trail, None), Some(30));
    }

    #[test]
    fn an_event_that_stays_open_costs_no_more_memory_than_so_much() {
        let mut trail = Trail::default();
        let pages = 1_000_000;
        for page in 1..=pages {
            trail.note(end(page));
            assert!(trail.ends.len() <= KEPT);
        }
        assert!(trail.ends.is_sorted_by_key(|end| end.position));
        // Once it is closed the checkpoint moves at once, also when another one is open by then.
        let near_the_end = pages - pages / 100;
        let reached = taken(&mut trail, Some(near_the_end)).unwrap();
        assert!((pages / 2..near_the_end).contains(&reached), "{reached}");
        assert_eq!(taken(&mut trail, None), Some(pages));
    }
}
