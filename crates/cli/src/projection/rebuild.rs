//! `projection rebuild`: build a table anew, and swap it in.

use std::time::Duration;

use annals_core::{Differences, RebuildError, RowDifference};
use annals_runtime::{App, Progress, RebuildOptions, RebuildPhase, RebuildSummary};

use super::{RebuildArgs, unknown};
use crate::{
    error::CliError,
    meter::Meter,
    output::Output,
    shown::{count, duration, per_second, plain, things},
    signal::stop_requested,
};

pub(super) async fn run(app: &App, args: RebuildArgs, output: Output) -> Result<(), CliError> {
    let (name, verify) = (args.name, args.verify);
    let defaults = RebuildOptions::default();
    let options = RebuildOptions {
        verify,
        restart: args.restart,
        lease: args.lease.map_or(defaults.lease, Duration::from_secs),
        ..defaults
    };
    let mut meter = Meter::new(format!("rebuilding {name}"), "events");
    let mut report = |progress| show(&mut meter, progress);
    let rebuilding = app.projections().rebuild(&name, options, &mut report);
    let rebuilt = stoppable(app, rebuilding).await;
    drop(meter);
    match rebuilt {
        Ok(summary) => output.answer(&summary, || text(&summary, verify)),
        Err(RebuildError::NoSuchProjection { .. }) => Err(unknown(&**app.store(), &name).await),
        Err(RebuildError::Interrupted { checkpoint, .. }) => {
            let next = format!(
                "{name} is rebuilt up to position {checkpoint}; run it again to go on from there"
            );
            Err(CliError::Interrupted { next })
        }
        Err(error) => {
            let source = Box::new(error);
            Err(CliError::Rebuild { name, source })
        }
    }
}

/// Lets the rebuild end by itself, at a place from where it can go on, when it is to stop.
async fn stoppable<T>(app: &App, rebuilding: impl Future<Output = T>) -> T {
    let mut rebuilding = std::pin::pin!(rebuilding);
    tokio::select! {
        done = &mut rebuilding => return done,
        () = stop_requested() => {}
    }
    let (done, ()) = tokio::join!(rebuilding, app.projections().shutdown());
    done
}

fn show(meter: &mut Meter, progress: Progress) {
    match progress.phase {
        RebuildPhase::Waiting => meter.waiting("waiting to see if another rebuild is alive"),
        RebuildPhase::Swapping => meter.waiting("swapping the new table in"),
        _ => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "shown to people; a cast of a float saturates"
            )]
            let speed = progress.events_per_second as u64;
            meter.at_speed(progress.position.get(), progress.target.get(), speed);
        }
    }
}

fn text(summary: &RebuildSummary, verify: bool) -> String {
    let time = Duration::try_from_secs_f64(summary.seconds).unwrap_or_default();
    let mut text = format!(
        "rebuilt {}: {} into {} in {} ({} events/s)",
        summary.projection,
        things(summary.events, "event"),
        things(summary.rows, "row"),
        duration(time),
        count(per_second(summary.events, time)),
    );
    if summary.resumed {
        text.push_str(", resumed from an interrupted rebuild");
    }
    match &summary.differences {
        Some(differences) => {
            text.push_str(&format!("; {} rows differ", count(differences.count)));
            text.push_str(&samples(differences));
        }
        None if verify => text.push_str(
            "; NOT compared: the old table has other columns, or did not stand at the same position",
        ),
        None => {}
    }
    text
}

fn samples(differences: &Differences) -> String {
    let mut text = String::new();
    for RowDifference { key, live, rebuilt } in &differences.samples {
        let row = |row: &Option<String>| row.as_deref().map_or("(no row)".to_owned(), plain);
        text.push_str(&format!(
            "\n  {}\n    live:    {}\n    rebuilt: {}",
            plain(key),
            row(live),
            row(rebuilt)
        ));
    }
    let shown = u64::try_from(differences.samples.len()).unwrap_or(u64::MAX);
    if differences.count > shown && shown > 0 {
        text.push_str(&format!(
            "\n  and {} more",
            count(differences.count - shown)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use annals_core::Position;

    use super::*;

    fn summary(differences: Option<Differences>) -> RebuildSummary {
        RebuildSummary {
            projection: "user_balance".to_owned(),
            events: 100_000,
            rows: 1_000,
            seconds: 0.8,
            differences,
            resumed: false,
            checkpoint: Position::new(100_000),
        }
    }

    #[test]
    fn the_summary_is_one_line_when_nothing_differs() {
        assert_eq!(
            text(&summary(Some(Differences::default())), true),
            "rebuilt user_balance: 100,000 events into 1,000 rows in 0.8 s (125,000 events/s); \
             0 rows differ"
        );
        assert!(!text(&summary(None), false).contains("differ"));
    }

    #[test]
    fn a_comparison_that_was_asked_for_and_could_not_be_made_is_told() {
        assert!(text(&summary(None), true).contains("; NOT compared: "));
        assert!(!text(&summary(None), false).contains("compared"));
    }

    #[test]
    fn differing_rows_are_shown_side_by_side() {
        let differences = Differences {
            count: 3,
            samples: vec![RowDifference {
                key: "owner=alice".to_owned(),
                live: Some("balance=5".to_owned()),
                rebuilt: None,
            }],
        };
        let text = text(&summary(Some(differences)), true);
        assert!(
            text.ends_with(
                "; 3 rows differ\n  owner=alice\n    live:    balance=5\n    rebuilt: (no row)\n  and 2 more"
            ),
            "{text}"
        );
    }
}
