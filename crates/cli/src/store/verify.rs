//! `store verify`: read the whole log and check that it is sound.

mod checkpoints;
mod dense;
mod ids;
mod tags;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use annals_core::{Position, StoreError, StoreErrorKind, Version};
use annals_runtime::App;
use serde::Serialize;

use self::{checkpoints::Checkpoints, dense::Dense, ids::UniqueIds, tags::Tags};
use super::{
    export::Appends,
    log::WholeLog,
    log_file::{Tally, Totals},
};
use crate::{
    check::{LogCheck, Problem},
    error::CliError,
    output::Output,
    shown::{count, duration, per_second, plain, things},
    signal::stop_requested,
};

/// How many problems are reported in full: a log that is broken throughout has one per event.
const REPORTED: usize = 100;

#[derive(Serialize)]
struct Report {
    streams: u64,
    head: Position,
    /// How many events and appends there are, and their digest, which is the same in every store.
    #[serde(flatten)]
    totals: Totals,
    checks: Vec<String>,
    /// The checks that found a problem, be it one that `problems` has no room for.
    failed: BTreeSet<String>,
    /// What checks have to say besides, by check.
    notes: BTreeMap<String, String>,
    /// How many problems there are; `problems` has the first few.
    problem_count: u64,
    problems: Vec<Problem>,
    seconds: f64,
}

pub(super) async fn run(
    app: &App,
    checks: Vec<Box<dyn LogCheck>>,
    output: Output,
) -> Result<(), CliError> {
    let report = tokio::select! {
        report = verify(app, checks) => report?,
        () = stop_requested() => {
            let next = "nothing was changed; run it again to verify the whole log".to_owned();
            return Err(CliError::Interrupted { next });
        }
    };
    output.answer(&report, || text(&report))?;
    match report.problem_count {
        0 => Ok(()),
        count => Err(CliError::Verify { count }),
    }
}

async fn verify(app: &App, mut checks: Vec<Box<dyn LogCheck>>) -> Result<Report, CliError> {
    let started = Instant::now();
    let own: [Box<dyn LogCheck>; 4] = [
        Box::new(Dense::default()),
        Box::new(UniqueIds::default()),
        Box::new(Checkpoints::default()),
        Box::new(Tags),
    ];
    checks.splice(0..0, own);
    for check in &mut checks {
        check.begin(app).await?;
    }
    let mut found = Found::default();
    let mut log = WholeLog::open(&**app.store(), "verifying").await?;
    if let Err(error) = found.read(&mut log, &mut checks).await {
        if error.kind() != StoreErrorKind::Corrupt {
            return Err(error.into());
        }
        found.problem(Problem::at(
            "the log can be read",
            log.at().next(),
            in_full(&error),
        ));
    } else if log.at() < log.head() {
        let message = format!("the log should go on to position {}", log.head());
        found.problem(Problem::at("the log can be read", log.at().next(), message));
    }
    let head = log.head();
    drop(log);
    found.read_appends(app, head).await?;
    for check in &mut checks {
        check
            .end(app)
            .await?
            .into_iter()
            .for_each(|problem| found.problem(problem));
    }
    Ok(Report {
        streams: found.streams,
        head,
        totals: found.tally.totals(),
        checks: checks.iter().map(|check| check.name().to_owned()).collect(),
        failed: found.failed,
        notes: checks
            .iter()
            .filter_map(|check| Some((check.name().to_owned(), check.note()?)))
            .collect(),
        problem_count: found.problem_count,
        problems: found.problems,
        seconds: started.elapsed().as_secs_f64(),
    })
}

#[derive(Default)]
struct Found {
    tally: Tally,
    streams: u64,
    failed: BTreeSet<String>,
    problem_count: u64,
    problems: Vec<Problem>,
}

impl Found {
    async fn read(
        &mut self,
        log: &mut WholeLog<'_>,
        checks: &mut [Box<dyn LogCheck>],
    ) -> Result<(), StoreError> {
        while let Some(events) = log.next().await? {
            for event in &events {
                self.tally.event(event).map_err(digested)?;
                self.streams += u64::from(event.version == Version::new(1));
                for check in &mut *checks {
                    if let Some(message) = check.event(event) {
                        self.problem(Problem::at(check.name(), event.position, message));
                    }
                }
            }
        }
        Ok(())
    }

    /// Appends belong to the log: without them a repeated command would be carried out again.
    async fn read_appends(&mut self, app: &App, head: Position) -> Result<(), StoreError> {
        let mut appends = Appends::up_to(head);
        while let Some(page) = appends.next(&**app.store()).await? {
            for append in &page {
                self.tally.append(append).map_err(digested)?;
            }
        }
        Ok(())
    }

    fn problem(&mut self, problem: Problem) {
        self.problem_count += 1;
        if !self.failed.contains(&problem.check) {
            self.failed.insert(problem.check.clone());
        }
        if self.problems.len() < REPORTED {
            self.problems.push(problem);
        }
    }
}

fn digested(error: std::io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "digest the log").caused_by(error)
}

fn in_full(error: &StoreError) -> String {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    message
}

fn text(report: &Report) -> String {
    let time = Duration::try_from_secs_f64(report.seconds).unwrap_or_default();
    let mut text = String::new();
    for problem in &report.problems {
        let place = match problem.position {
            Some(position) => format!("position {position}: "),
            None => String::new(),
        };
        let (check, message) = (&problem.check, plain(&problem.message));
        text.push_str(&format!("wrong: {place}{message} ({check})\n"));
    }
    let shown = u64::try_from(report.problems.len()).unwrap_or(u64::MAX);
    if report.problem_count > shown {
        let more = things(report.problem_count - shown, "problem");
        text.push_str(&format!("and {more} besides\n"));
    }
    text.push_str(&format!(
        "verified {} in {} in {} ({} events/s)",
        things(report.totals.events, "event"),
        things(report.streams, "stream"),
        duration(time),
        count(per_second(report.totals.events, time)),
    ));
    for check in &report.checks {
        let wrong = report.failed.contains(check);
        text.push_str(&format!(
            "\n  {}  {check}",
            if wrong { "WRONG" } else { "ok   " }
        ));
        if let Some(note) = report.notes.get(check) {
            text.push_str(&format!(": {}", plain(note)));
        }
    }
    text.push_str(&format!(
        "\nsha256 {} up to position {}",
        report.totals.sha256, report.head
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_broken_throughout_is_reported_in_part() {
        let mut found = Found::default();
        for position in 1..=1_000 {
            found.problem(Problem::at("dense", Position::new(position), "wrong"));
        }
        assert_eq!(found.problem_count, 1_000);
        assert_eq!(found.problems.len(), REPORTED);
    }

    #[test]
    fn a_check_that_fails_after_many_problems_of_others_is_not_called_ok() {
        let mut found = Found::default();
        for position in 1..=1_000 {
            found.problem(Problem::at("dense", Position::new(position), "wrong"));
        }
        found.problem(Problem::new("money is conserved", "5 are missing"));
        let text = text(&Report {
            streams: 0,
            head: Position::new(1_000),
            totals: found.tally.totals(),
            checks: ["dense", "money is conserved", "ids"]
                .map(str::to_owned)
                .into(),
            failed: found.failed,
            notes: BTreeMap::new(),
            problem_count: found.problem_count,
            problems: found.problems,
            seconds: 1.0,
        });
        assert!(text.contains("\n  WRONG  money is conserved"), "{text}");
        assert!(text.contains("\n  ok     ids"), "{text}");
        assert!(text.contains("\nand 901 problems besides\n"), "{text}");
    }
}
