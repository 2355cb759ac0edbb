//! `store migrate`: bring the store's tables up to date.

use annals_core::{Migrated, Position, Store};
use serde::Serialize;

use crate::{error::CliError, output::Output, shown::things};

#[derive(Serialize)]
struct Answer {
    kind: &'static str,
    /// The newest migration that had run before this command; 0 when there was no store.
    from: Option<u32>,
    /// The newest one that has run by now.
    to: Option<u32>,
    head: Position,
}

/// The store has been opened by now, and opening is what migrates it.
pub(super) async fn run(store: &dyn Store, output: Output) -> Result<(), CliError> {
    let migrated = store.migrated();
    let answer = Answer {
        kind: store.kind(),
        from: migrated.map(|migrated| migrated.from),
        to: migrated.map(|migrated| migrated.to),
        head: store.head().await?,
    };
    output.answer(&answer, || {
        let events = things(answer.head.get(), "event");
        let done = migrated.map_or_else(|| "there are no tables".to_owned(), done);
        format!("{} store: {done}; it holds {events}", answer.kind)
    })
}

fn done(Migrated { from, to }: Migrated) -> String {
    match from {
        0 => format!("made, with tables of migration {to}"),
        from if from == to => format!("its tables were up to date, at migration {to}"),
        from => format!("brought from migration {from} to {to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opening_did_is_told() {
        for (from, to, told) in [
            (0, 3, "made, with tables of migration 3"),
            (3, 3, "its tables were up to date, at migration 3"),
            (1, 3, "brought from migration 1 to 3"),
        ] {
            assert_eq!(done(Migrated { from, to }), told);
        }
    }
}
