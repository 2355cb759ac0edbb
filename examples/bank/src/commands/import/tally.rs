//! What came of an import: how many rows were applied, and how many rejected for what.

use std::{collections::BTreeMap, path::Path, time::Duration};

use annals::cli::{count, duration, per_second, things};
use serde::Serialize;

use super::{apply::Outcome, reason::Reason};

/// How many rows came to what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    applied: u64,
    applied_before: u64,
    rejected: BTreeMap<Reason, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Applied => self.applied += 1,
            Outcome::AppliedBefore => self.applied_before += 1,
            Outcome::Rejected(reason) => *self.rejected.entry(reason).or_default() += 1,
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.applied += other.applied;
        self.applied_before += other.applied_before;
        for (reason, count) in other.rejected {
            *self.rejected.entry(reason).or_default() += count;
        }
    }

    pub(super) fn summary(self, rows: u64, took: Duration) -> Summary {
        Summary {
            rows,
            applied: self.applied,
            applied_before: self.applied_before,
            rejected: self.rejected,
            seconds: took.as_secs_f64(),
        }
    }
}

/// What the import tells at its end.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    rows: u64,
    /// By this run.
    applied: u64,
    /// By an earlier run, and so not again.
    applied_before: u64,
    rejected: BTreeMap<Reason, u64>,
    seconds: f64,
}

impl Summary {
    /// All on one line.
    pub(super) fn text(&self, path: &Path) -> String {
        let took = Duration::try_from_secs_f64(self.seconds).unwrap_or_default();
        let mut text = format!(
            "imported {}: {} in {} ({} rows/s): {} applied",
            path.display(),
            things(self.rows, "row"),
            duration(took),
            count(per_second(self.rows, took)),
            count(self.applied),
        );
        if self.applied_before > 0 {
            text.push_str(&format!(", {} applied before", count(self.applied_before)));
        }
        let rejected: u64 = self.rejected.values().sum();
        text.push_str(&format!(", {} rejected", count(rejected)));
        if rejected > 0 {
            let reasons = self.rejected.iter();
            let reasons: Vec<_> = reasons
                .map(|(reason, number)| format!("{} {}", reason.word(), count(*number)))
                .collect();
            text.push_str(&format!(" ({})", reasons.join(", ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_one_line() {
        let mut tally = Tally::default();
        tally.add(Outcome::Applied);
        tally.add(Outcome::Rejected(Reason::InsufficientFunds));
        tally.merge(tally.clone());
        tally.add(Outcome::AppliedBefore);
        let summary = tally.summary(5, Duration::from_secs(2));
        assert_eq!(
            summary.text(Path::new("may.csv")),
            "imported may.csv: 5 rows in 2.0 s (2 rows/s): 2 applied, 1 applied before, \
             2 rejected (insufficient_funds 2)"
        );
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["rejected"]["insufficient_funds"], 2);
    }
}
