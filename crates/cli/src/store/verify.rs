//! `store verify`: read the whole log and check that it is sound.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use annals_core::{Position, StoreError, StoreErrorKind, StoredEvent, StreamName, Version};
use annals_runtime::App;
use async_trait::async_trait;
use serde::Serialize;

use super::log::WholeLog;
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
    events: u64,
    streams: u64,
    head: Position,
    checks: Vec<String>,
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
    checks.insert(0, Box::new(Dense::default()));
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
    for check in &mut checks {
        check
            .end(app)
            .await?
            .into_iter()
            .for_each(|problem| found.problem(problem));
    }
    Ok(Report {
        events: found.events,
        streams: found.streams,
        head,
        checks: checks.iter().map(|check| check.name().to_owned()).collect(),
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
    events: u64,
    streams: u64,
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
                self.events += 1;
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

    fn problem(&mut self, problem: Problem) {
        self.problem_count += 1;
        if self.problems.len() < REPORTED {
            self.problems.push(problem);
        }
    }
}

/// Positions follow each other without holes, and so do the versions of every stream.
#[derive(Default)]
struct Dense {
    at: Position,
    /// One entry per stream: the memory that verifying takes.
    versions: HashMap<StreamName, Version>,
}

#[async_trait]
impl LogCheck for Dense {
    fn name(&self) -> &str {
        "positions and versions are dense"
    }

    fn event(&mut self, event: &StoredEvent) -> Option<String> {
        let expected = self.at.next();
        self.at = event.position;
        if event.position != expected {
            return Some(format!("position {expected} should be here"));
        }
        let version = self.versions.entry(event.stream.clone()).or_default();
        let expected = version.next();
        *version = event.version;
        (event.version != expected).then(|| {
            let (stream, found) = (&event.stream, event.version);
            format!("version {expected} of `{stream}` should be here, not {found}")
        })
    }
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
    text.push_str(&format!(
        "verified {} in {} in {} ({} events/s)",
        things(report.events, "event"),
        things(report.streams, "stream"),
        duration(time),
        count(per_second(report.events, time)),
    ));
    for check in &report.checks {
        let wrong = report
            .problems
            .iter()
            .any(|problem| problem.check == *check);
        text.push_str(&format!(
            "\n  {}  {check}",
            if wrong { "WRONG" } else { "ok   " }
        ));
        if let Some(note) = report.notes.get(check) {
            text.push_str(&format!(": {}", plain(note)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use annals_core::{CorrelationId, EventHeader, EventId, EventType, Metadata};
    use chrono::Utc;

    use super::*;

    fn event(position: u64, stream: &str, version: u64) -> StoredEvent {
        let id = EventId::new(Default::default());
        let header = EventHeader {
            position: Position::new(position),
            stream: StreamName::parse(stream).unwrap(),
            version: Version::new(version),
            id,
            event_type: EventType::new("account.opened").unwrap(),
            schema_version: 1,
            recorded_at: Utc::now(),
            tags: Vec::new(),
            metadata: Metadata::caused_by(id.into(), CorrelationId::new(id.uuid())),
        };
        StoredEvent {
            header: Arc::new(header),
            payload: b"{}".to_vec(),
        }
    }

    #[test]
    fn a_missing_position_and_a_missing_version_are_found() {
        let mut dense = Dense::default();
        assert_eq!(dense.event(&event(1, "account-a", 1)), None);
        assert_eq!(dense.event(&event(2, "account-b", 1)), None);
        assert_eq!(dense.event(&event(3, "account-a", 2)), None);
        assert_eq!(
            dense.event(&event(4, "account-a", 4)).unwrap(),
            "version 3 of `account-a` should be here, not 4"
        );
        assert_eq!(
            dense.event(&event(6, "account-b", 2)).unwrap(),
            "position 5 should be here"
        );
    }

    #[test]
    fn a_log_that_is_broken_throughout_is_reported_in_part() {
        let mut found = Found::default();
        for position in 1..=1_000 {
            found.problem(Problem::at("dense", Position::new(position), "wrong"));
        }
        assert_eq!(found.problem_count, 1_000);
        assert_eq!(found.problems.len(), REPORTED);
    }
}
