//! Crash points: after which operation the machine stops, and what the disk
//! makes of the changes that were not durable by then.

use std::fmt;
use std::ops::Range;

use crate::disk::{Disk, Fate, Image};
use crate::recording::Op;
use annals_testing::seed::Seed;

/// The unit in which a disk writes atomically.
const SECTOR: usize = 512;

/// Shares (of 32) of undecided changes that survive a power loss. Each image
/// uses one of them: with even odds alone, the damage would nearly always be
/// at the very first of many changes.
const KEPT_SHARES: [usize; 4] = [4, 16, 28, 31];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process died, the machine did not: everything done is there.
    ProcessKilled,
    /// The power failed and took everything that was not synced.
    OnlySynced,
    /// The power failed; of what was not synced, each change was kept with
    /// this probability (of 32), otherwise dropped or torn.
    PowerLoss { kept: usize },
}

/// One crash image, named by its number under a seed.
#[derive(Debug)]
pub(crate) struct CrashPoint {
    pub(crate) number: usize,
    /// How many operations of the recording happened before the crash.
    pub(crate) operations: usize,
    pub(crate) crash: Crash,
    choices: Seed,
}

impl CrashPoint {
    /// The `number`-th of `points` crash points spread over a recording of
    /// `length` operations, from "nothing happened" to "everything happened".
    pub(crate) fn new(seed: u64, number: usize, points: usize, length: usize) -> Self {
        let mut choices = Seed::apart(seed, number as u64);
        let crash = match choices.below(8) {
            0 => Crash::ProcessKilled,
            1 => Crash::OnlySynced,
            _ => Crash::PowerLoss {
                kept: KEPT_SHARES[choices.below(KEPT_SHARES.len())],
            },
        };
        let operations = number * length / points.saturating_sub(1).max(1);
        Self {
            number,
            operations,
            crash,
            choices,
        }
    }

    /// The image this crash leaves of `disk`, which must have been advanced to
    /// this point's number of operations.
    pub(crate) fn image(&mut self, disk: &Disk<'_>) -> Image {
        let choices = &mut self.choices;
        match self.crash {
            Crash::ProcessKilled => disk.crash(|_| Fate::Kept),
            Crash::OnlySynced => disk.crash(|_| Fate::Dropped),
            Crash::PowerLoss { kept } => disk.crash(|op| match op {
                _ if choices.chance(kept, 32) => Fate::Kept,
                Op::Write { offset, data, .. } if choices.chance(1, 2) => {
                    tear(choices, *offset, data.len()).map_or(Fate::Dropped, Fate::Torn)
                }
                _ => Fate::Dropped,
            }),
        }
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "crash point {}: {:?} after {} operations",
            self.number, self.crash, self.operations
        )
    }
}

/// The part of a write that survives when it is cut at a sector boundary: the
/// front or the back, since sectors are written in any order. `None` if the
/// write lies within one sector and so cannot be torn.
fn tear(choices: &mut Seed, offset: usize, length: usize) -> Option<Range<usize>> {
    let first = offset / SECTOR + 1;
    let boundaries = (offset + length).div_ceil(SECTOR) - first;
    if boundaries == 0 {
        return None;
    }
    let cut = (first + choices.below(boundaries)) * SECTOR - offset;
    Some(if choices.chance(1, 2) {
        0..cut
    } else {
        cut..length
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tear_is_at_an_inner_sector_boundary() {
        let mut choices = Seed::apart(1, 0);
        assert_eq!(tear(&mut choices, 512, 512), None);
        assert_eq!(tear(&mut choices, 1000, 24), None);
        for _ in 0..100 {
            let range = tear(&mut choices, 1000, 2000).expect("the write spans several sectors");
            let cut = if range.start == 0 {
                range.end
            } else {
                range.start
            };
            assert_eq!((1000 + cut) % SECTOR, 0);
            assert!(0 < cut && cut < 2000);
        }
    }
}
