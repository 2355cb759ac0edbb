//! What the store on PostgreSQL is worth, against sqlx by hand on the same server.

mod appends;
mod by_hand;
mod latency;
mod nodes;
mod rebuild;
mod rounds;
mod sagas;
mod scan;
mod server;

use std::path::Path;

use clap::{Args, ValueEnum};

use crate::{Extent, Outcome, report::Section};
use server::Server;

/// Which benchmark, and on which server.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Which benchmark; without it, all of them.
    #[arg(value_enum, default_value_t = Which::All)]
    which: Which,
    /// The URL of a database in which the benchmark may create schemas. The server must sync to
    /// the disk (`fsync = on`, `synchronous_commit = on`).
    #[arg(
        long,
        env = "ANNALS_TEST_POSTGRES",
        hide_env_values = true,
        value_name = "URL"
    )]
    postgres: Option<String>,
    /// Run as one of several processes that append, in the store at this URL.
    #[arg(long, hide = true)]
    node: Option<String>,
    /// Which of how many nodes it is, and for how many milliseconds it appends.
    #[arg(long, hide = true, num_args = 3)]
    share: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Appends of one event, against a hand-written transaction each.
    Appends,
    /// From the commit to the read model.
    Latency,
    /// A rebuild of a read model, against bare scans and against an update per event.
    Rebuild,
    /// Four processes that append, against one.
    Nodes,
    /// Transfers from end to end, on both stores.
    Sagas,
    /// All of them.
    All,
}

impl Arguments {
    /// Does a node's part if this process is one.
    pub(crate) async fn is_node(&self) -> Outcome<bool> {
        let (Some(url), [node, nodes, millis]) = (&self.node, &*self.share) else {
            return Ok(false);
        };
        nodes::run(url, *node, *nodes, *millis).await?;
        Ok(true)
    }
}

/// Measures what was asked for.
pub(crate) async fn measure(
    arguments: &Arguments,
    dir: &Path,
    extent: &Extent,
) -> Outcome<Vec<Section>> {
    let url = arguments.postgres.as_deref().ok_or(
        "no server to measure: say --postgres postgres://USER@HOST/DATABASE, or set \
         ANNALS_TEST_POSTGRES; `./scripts/test` shows how to start one",
    )?;
    let server = Server::at(url);
    server.check_durable().await?;
    let which = |one| arguments.which == one || arguments.which == Which::All;
    let mut sections = Vec::new();
    if which(Which::Appends) {
        sections.extend(appends::measure(&server, extent).await?);
    }
    if which(Which::Latency) {
        sections.push(latency::measure(&server, extent).await?);
    }
    if which(Which::Rebuild) {
        sections.push(rebuild::measure(&server, extent).await?);
    }
    if which(Which::Nodes) {
        sections.push(nodes::measure(&server, extent).await?);
    }
    if which(Which::Sagas) {
        sections.extend(sagas::measure(&server, dir, extent).await?);
    }
    Ok(sections)
}
