//! What is printed: tables of medians and, against each target, a verdict.

use serde::Serialize;

use crate::measure::{Machine, median};

/// What one benchmark found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    /// What is measured, in one sentence.
    pub(crate) about: String,
    /// What the rounds' figures are: `commands/s`.
    pub(crate) unit: &'static str,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) targets: Vec<Target>,
}

/// One way of doing the work, measured in several rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) median: f64,
    /// Every round, in order.
    pub(crate) rounds: Vec<f64>,
    /// Latency or memory, readable.
    pub(crate) notes: String,
}

impl Contestant {
    pub(crate) fn new(name: impl Into<String>, rounds: Vec<f64>, notes: String) -> Self {
        Self {
            name: name.into(),
            median: median(&rounds),
            rounds,
            notes,
        }
    }
}

/// A figure and what it should be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) figure: f64,
    pub(crate) unit: &'static str,
    /// `at least` or `below`; none for a figure that is only worth knowing.
    pub(crate) bound: Option<Bound>,
    pub(crate) verdict: &'static str,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    Below(f64),
}

impl Target {
    /// A figure with a target.
    pub(crate) fn new(
        what: impl Into<String>,
        figure: f64,
        unit: &'static str,
        bound: Bound,
    ) -> Self {
        let met = match bound {
            Bound::AtLeast(least) => figure >= least,
            Bound::Below(most) => figure < most,
        };
        Self {
            what: what.into(),
            figure,
            unit,
            bound: Some(bound),
            verdict: if met { "met" } else { "missed" },
        }
    }

    /// A figure without a target.
    pub(crate) fn known(what: impl Into<String>, figure: f64, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            figure,
            unit,
            bound: None,
            verdict: "",
        }
    }
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) sections: Vec<Section>,
}

impl Report {
    /// Prints tables for people.
    pub(crate) fn print(&self) {
        let Machine {
            cores,
            fsync_micros,
            sqlite,
        } = &self.machine;
        println!(
            "{cores} cores, a durable 16 KiB write takes {fsync_micros:.0} µs, SQLite {sqlite}"
        );
        self.sections.iter().for_each(Section::print);
    }
}

impl Section {
    fn print(&self) {
        println!("\n{}: {}", self.name, self.about);
        let rounds = self.contestants.first().map_or(0, |one| one.rounds.len());
        println!("  {:<52} {:>12}  median of {rounds} rounds", "", self.unit);
        for contestant in &self.contestants {
            let Contestant {
                name,
                median,
                notes,
                ..
            } = contestant;
            println!("  {name:<52} {median:>12.0}  {notes}");
        }
        println!();
        // Without its contestants, a figure is none.
        let compared = self.targets.iter().filter(|target| target.figure > 0.0);
        for target in compared {
            let Target {
                what,
                figure,
                unit,
                verdict,
                ..
            } = target;
            let bound = match target.bound {
                Some(Bound::AtLeast(least)) => format!("at least {least}"),
                Some(Bound::Below(most)) => format!("below {most}"),
                None => String::new(),
            };
            println!("  {what:<52} {figure:>10.2} {unit:<4} {bound:<14} {verdict}");
        }
    }
}
