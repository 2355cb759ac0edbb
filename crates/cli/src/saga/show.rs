//! `saga show`: all that happened to a saga, and what it has to do.

use annals_runtime::{App, SagaView};

use super::{
    SagaArgs, find,
    timeline::{details, refused, what},
};
use crate::{
    error::CliError,
    output::Output,
    shown::{plain, time},
    table::{Align, Table},
};

pub(super) async fn run(app: &App, args: &SagaArgs, output: Output) -> Result<(), CliError> {
    let view = find(app, args).await?;
    output.answer(&view, || text(&view))
}

fn text(view: &SagaView) -> String {
    let mut text = headline(view);
    if let Some(problem) = &view.problem {
        text.push_str(&plain(&format!(
            "\nthis release can't replay it: {problem}"
        )));
    }
    text.push_str("\n\n");
    text.push_str(&timeline(view).to_string());
    let ahead = ahead(view);
    if !ahead.is_empty() {
        text.push_str("\n\n");
        text.push_str(&ahead.to_string());
    }
    text
}

/// The saga and how it stands, on one line.
pub(super) fn headline(view: &SagaView) -> String {
    let line = format!("{} {}: {}", view.saga, view.id, view.status);
    match &view.reason {
        Some(reason) => plain(&format!("{line} ({reason})")),
        None => plain(&line),
    }
}

fn timeline(view: &SagaView) -> Table {
    let mut table = Table::new([
        ("version", Align::Right),
        ("position", Align::Right),
        ("at", Align::Left),
        ("what", Align::Left),
        ("details", Align::Left),
    ]);
    for entry in &view.timeline {
        let (what, details) = match &entry.event {
            Some(event) => (what(event), details(event)),
            None => ("unreadable", plain(&entry.event_type)),
        };
        table.row([
            entry.version.to_string(),
            entry.position.to_string(),
            time(entry.at),
            what.to_owned(),
            details,
        ]);
    }
    table
}

/// What the saga has to do, or waits for.
fn ahead(view: &SagaView) -> Table {
    let mut table = Table::new([
        ("due", Align::Left),
        ("what", Align::Left),
        ("details", Align::Left),
    ]);
    for command in &view.outstanding {
        let now = || "-".to_owned();
        let (due, what) = match (command.parked, &command.recalled) {
            (true, _) => (now(), "waits for an operator"),
            (false, Some(_)) => (now(), "is taken back"),
            (false, None) => (time(command.due), "command"),
        };
        let refusal = command.last_refusal.as_deref();
        let refusal = refusal.map(|reason| format!("; {}: {reason}", refused(command.refusals)));
        let details = format!(
            "{} to {}{}",
            command.step,
            command.receiver,
            refusal.unwrap_or_default()
        );
        table.row([due, what.to_owned(), plain(&details)]);
    }
    for deadline in &view.deadlines {
        table.row([
            time(deadline.due),
            "deadline".to_owned(),
            plain(&deadline.name),
        ]);
    }
    table
}
