//! A rebuild of a read model, against bare scans of the same log.

use std::path::Path;

use tokio::process::Command;

use crate::{
    Extent, Outcome, fill,
    measure::ratio,
    report::{Bound, Contestant, Section, Target},
    scan::{Replay, Replayed},
};

const EVENTS: u64 = 1_000_000;
const ACCOUNTS: u64 = 10_000;

/// Lets all contestants take turns, each in a process of its own.
pub(crate) async fn measure(dir: &Path, extent: &Extent) -> Outcome<Section> {
    let events = if extent.quick { EVENTS / 20 } else { EVENTS };
    let kept = extent.log.clone();
    let file = kept.unwrap_or_else(|| dir.join("replayed.db"));
    if !file.exists() {
        eprintln!("writing a log of {events} events ...");
        fill::log(&file, events, ACCOUNTS).await?;
    }
    // Once without measuring, so that the file is in the system's cache for all.
    for replay in [Replay::Rusqlite, Replay::Rebuild] {
        in_child(replay, &file).await?;
    }
    let mut rounds: Vec<(Replay, Vec<Replayed>)> = Replay::ALL
        .into_iter()
        .filter(|replay| extent.includes(replay.label()))
        .map(|replay| (replay, Vec::new()))
        .collect();
    for _ in 0..extent.rounds {
        for (replay, replayed) in &mut rounds {
            let one = in_child(*replay, &file).await?;
            if one.events != events {
                return Err(format!("{replay:?} saw {} of {events} events", one.events).into());
            }
            replayed.push(one);
        }
    }
    Ok(section(events, &rounds))
}

async fn in_child(replay: Replay, file: &Path) -> Outcome<Replayed> {
    use clap::ValueEnum as _;
    let name = replay.to_possible_value().ok_or("no name")?;
    let output = Command::new(std::env::current_exe()?)
        .arg("replay")
        .arg(name.get_name())
        .arg(file)
        .output()
        .await?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn section(events: u64, rounds: &[(Replay, Vec<Replayed>)]) -> Section {
    let figures = |replay: Replay, figure: fn(&Replayed) -> f64| -> Vec<f64> {
        let found = rounds.iter().find(|(other, _)| *other == replay);
        found.map_or(Vec::new(), |(_, replayed)| {
            replayed.iter().map(figure).collect()
        })
    };
    let memory = |replay| {
        let rounds = figures(replay, |replayed| replayed.peak_memory_mib);
        rounds.into_iter().fold(0.0, f64::max)
    };
    let contestant = |replay: Replay| {
        let notes = format!("at most {:.0} MiB", memory(replay));
        let rates = figures(replay, |replayed| replayed.per_second);
        Contestant::new(replay.label(), rates, notes)
    };
    let against = |other| {
        let rates = |replay| figures(replay, |replayed| replayed.per_second);
        ratio(&rates(Replay::Rebuild), &rates(other))
    };
    Section {
        name: "rebuild",
        about: format!("{events} events over {ACCOUNTS} accounts, read, folded and swapped in"),
        unit: "events/s",
        contestants: rounds
            .iter()
            .map(|(replay, _)| contestant(*replay))
            .collect(),
        targets: vec![
            Target::new(
                "rebuild : sqlx row stream",
                against(Replay::Sqlx),
                "x",
                Bound::AtLeast(1.0),
            ),
            Target::known(
                "rebuild : sqlx row stream, events decoded",
                against(Replay::SqlxDecode),
                "x",
            ),
            Target::known("rebuild : rusqlite", against(Replay::Rusqlite), "x"),
            Target::new(
                "most memory of a rebuild",
                memory(Replay::Rebuild),
                "MiB",
                Bound::Below(300.0),
            ),
        ],
    }
}
