//! `saga list`: how the sagas stand.

use annals_runtime::{App, SagaOverview, SagaQuery};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::SagaListArgs;
use crate::{
    error::{CliError, print_line},
    output::Output,
    shown::{age, plain, time},
    table::{Align, Table},
};

#[derive(Serialize)]
struct Listed<'a> {
    saga: &'a str,
    id: &'a str,
    state: &'a str,
    step: Option<&'a str>,
    reason: Option<&'a str>,
    started_at: String,
    since: String,
}

impl<'a> Listed<'a> {
    fn of(row: &'a SagaOverview) -> Self {
        Self {
            saga: &row.saga,
            id: &row.id,
            state: &row.status,
            step: row.step.as_deref(),
            reason: row.reason.as_deref(),
            started_at: time(row.started_at),
            since: time(row.since),
        }
    }
}

pub(super) async fn run(app: &App, args: &SagaListArgs, output: Output) -> Result<(), CliError> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let query = SagaQuery {
        status: args.state.map(Into::into),
        after: args.after.clone(),
        limit: limit.saturating_add(1),
    };
    let mut rows = app.sagas().list(&query).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let listed: Vec<Listed<'_>> = rows.iter().map(Listed::of).collect();
    output.answer(&listed, || text(&rows, Utc::now()))?;
    if let Some(last) = rows.last().filter(|_| more) {
        let after = plain(&format!("{}:{}", last.saga, last.id));
        print_line(&format!("there are more; go on with --after '{after}'"));
    }
    Ok(())
}

fn text(rows: &[SagaOverview], now: DateTime<Utc>) -> String {
    if rows.is_empty() {
        return "there are no such sagas".to_owned();
    }
    let mut table = Table::new([
        ("saga", Align::Left),
        ("id", Align::Left),
        ("state", Align::Left),
        ("last step", Align::Left),
        ("since", Align::Left),
        ("reason", Align::Left),
    ]);
    for row in rows {
        table.row([
            row.saga.clone(),
            plain(&row.id),
            row.status.clone(),
            plain(row.step.as_deref().unwrap_or("-")),
            age(row.since, now),
            plain(row.reason.as_deref().unwrap_or("-")),
        ]);
    }
    table.to_string()
}
