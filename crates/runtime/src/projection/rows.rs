//! The rows that a projection is working on, in memory.

use std::{
    any::Any,
    collections::{HashMap, HashSet, hash_map::Entry},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

use annals_core::{
    Changes, Decoded, FoldError, Projection, Row, RowError, StoredEvent, StreamName, Value,
    projector::relevant,
};

/// Rows by key, with what has changed since the last commit.
///
/// A page is folded in three steps, so that its rows are loaded in one go and each key is hashed
/// once: [`touch`](Self::touch) finds the row of every event, [`fill`](Self::fill) takes in what
/// the table has for new keys, [`fold`](Self::fold) folds.
pub(super) struct RowCache<P: Projection> {
    projection: String,
    slots: Vec<Slot<P>>,
    by_key: HashMap<P::Key, usize>,
    /// Slots from here on have not been looked up in the table.
    filled: usize,
    touches: Vec<Touch>,
    dirty: Vec<usize>,
}

struct Slot<P: Projection> {
    key: P::Key,
    row: Option<P>,
    /// Whether the table has a row with this key.
    stored: bool,
    dirty: bool,
}

#[derive(Clone, Copy)]
struct Touch {
    event: usize,
    slot: usize,
}

impl<P: Projection> RowCache<P> {
    pub(super) fn new(projection: &str) -> Self {
        Self {
            projection: projection.to_owned(),
            slots: Vec::new(),
            by_key: HashMap::new(),
            filled: 0,
            touches: Vec::new(),
            dirty: Vec::new(),
        }
    }

    /// Finds the rows that these events touch.
    ///
    /// After an error the events before the failing one can still be folded.
    pub(super) fn touch(
        &mut self,
        events: &[StoredEvent],
        decoded: &[Decoded<P::Event>],
        range: Range<usize>,
        parked: &HashSet<StreamName>,
    ) -> Result<(), FoldError> {
        self.touches.clear();
        let count = range.len();
        let pairs = events.iter().zip(decoded).enumerate();
        for (index, (stored, decoded)) in pairs.skip(range.start).take(count) {
            if !parked.is_empty() && parked.contains(&stored.stream) {
                continue;
            }
            let relevant = relevant(&self.projection, stored, decoded, P::UNKNOWN)?;
            let Some(recorded) = relevant else { continue };
            let first = self.touches.len();
            catch_unwind(AssertUnwindSafe(|| {
                for key in P::keys(recorded) {
                    self.touch_key(index, key, first);
                }
            }))
            .map_err(|panic| self.panicked(stored, panic.as_ref()))?;
        }
        Ok(())
    }

    fn touch_key(&mut self, event: usize, key: P::Key, first_of_event: usize) {
        let slot = match self.by_key.entry(key) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let slot = self.slots.len();
                self.slots.push(Slot {
                    key: new.key().clone(),
                    row: None,
                    stored: false,
                    dirty: false,
                });
                *new.insert(slot)
            }
        };
        // An event counts once for a row, even where its keys name the row twice.
        let touched = self.touches.get(first_of_event..).unwrap_or_default();
        if touched.iter().all(|touch| touch.slot != slot) {
            self.touches.push(Touch { event, slot });
        }
    }

    /// The keys that the table has not been asked for.
    pub(super) fn unfilled(&self) -> Vec<Vec<Value>> {
        let new = self.slots.get(self.filled..).unwrap_or_default();
        new.iter().map(|slot| P::key_values(&slot.key)).collect()
    }

    /// Takes in what the table has for the keys it was asked for.
    pub(super) fn fill(&mut self, rows: Vec<Row>) -> Result<(), RowError> {
        for row in rows {
            let row = P::from_row(row)?;
            let key = row.key();
            let slot = self.by_key.get(&key);
            let Some(slot) = slot.and_then(|&slot| self.slots.get_mut(slot)) else {
                return Err(RowError::new(format!(
                    "the key {key:?} does not come back as it was written"
                )));
            };
            slot.row = Some(row);
            slot.stored = true;
        }
        self.filled = self.slots.len();
        Ok(())
    }

    /// Folds the events that were touched last.
    pub(super) fn fold(&mut self, decoded: &[Decoded<P::Event>]) -> Result<(), FoldError> {
        let mut at = 0;
        let folded = catch_unwind(AssertUnwindSafe(|| self.fold_touched(decoded, &mut at)));
        folded.unwrap_or_else(|panic| match decoded.get(at) {
            Some(Decoded::Event(event)) => Err(FoldError::event(
                &self.projection,
                event,
                panic_message(panic.as_ref()),
            )),
            _ => Ok(()),
        })
    }

    fn fold_touched(
        &mut self,
        decoded: &[Decoded<P::Event>],
        at: &mut usize,
    ) -> Result<(), FoldError> {
        for touch in &self.touches {
            let slot = self.slots.get_mut(touch.slot);
            let (Some(Decoded::Event(event)), Some(slot)) = (decoded.get(touch.event), slot) else {
                continue;
            };
            *at = touch.event;
            let row = P::fold(&slot.key, slot.row.take(), event)
                .map_err(|error| FoldError::event(&self.projection, event, error.message()))?;
            if let Some(row) = &row
                && row.key() != slot.key
            {
                let (wrong, right) = (row.key(), &slot.key);
                let message = format!("`fold` made a row with key {wrong:?} for key {right:?}");
                return Err(FoldError::event(&self.projection, event, message));
            }
            slot.row = row;
            if !slot.dirty {
                slot.dirty = true;
                self.dirty.push(touch.slot);
            }
        }
        Ok(())
    }

    fn panicked(&self, event: &StoredEvent, panic: &(dyn Any + Send)) -> FoldError {
        FoldError::event(&self.projection, event, panic_message(panic))
    }

    /// How many rows have changed since the last commit.
    pub(super) fn pending(&self) -> usize {
        self.dirty.len()
    }

    /// How many keys are in memory.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What has changed since the last commit.
    pub(super) fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        for slot in self.dirty.iter().filter_map(|&slot| self.slots.get(slot)) {
            match &slot.row {
                Some(row) => changes.upserts.push(row.to_row()),
                None if slot.stored => changes.deletes.push(P::key_values(&slot.key)),
                None => {}
            }
        }
        changes
    }

    /// The changes are in the table now.
    pub(super) fn committed(&mut self) {
        for slot in self.dirty.drain(..) {
            if let Some(slot) = self.slots.get_mut(slot) {
                slot.dirty = false;
                slot.stored = slot.row.is_some();
            }
        }
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.by_key.clear();
        self.touches.clear();
        self.dirty.clear();
        self.filled = 0;
    }
}

/// What a panic in the application's code says.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the code panicked: {}", text.unwrap_or("no message"))
}
