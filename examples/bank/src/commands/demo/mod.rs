//! `bank demo`: the story from end to end, on a real SQLite file.

mod accounts;
mod next;
mod show;
mod traffic;
mod transfers;

use std::time::{Duration, Instant};

use annals::{
    App,
    cli::{
        self, OperatorCommand, OperatorOptions, Output, ProjectionCommand, RebuildArgs, SagaArgs,
        SagaCommand, ShowArgs, StoreCommand, StreamCommand, count, duration, per_second,
    },
};
use clap::Args;

use super::{checks, error::BankError, wiring};
use crate::domain::UserBalance;
use accounts::Accounts;
use traffic::Traffic;

/// A file of its own: nobody wants generated accounts in the bank's books.
pub(super) const DEMO_STORE: &str = "sqlite://demo-bank.db";
/// How long the read model may take to catch up.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(60);

/// How large a demo.
#[derive(Args, Clone, Debug)]
pub(super) struct DemoArgs {
    /// How many deposits and withdrawals to make
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    transactions: u64,
    /// How many transfers to make
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    transfers: u64,
    /// How many accounts to open
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    accounts: u64,
    /// Where the generated amounts begin: the same seed, the same story
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Add the demo's accounts to a store that holds other data
    #[arg(long)]
    mix: bool,
}

pub(super) async fn run(args: DemoArgs, mut options: OperatorOptions) -> Result<(), BankError> {
    let url = options.store_or(DEMO_STORE).to_owned();
    // People watch a demo; there is nothing in it for a script.
    options.json = false;
    let app = wiring::bank(&url).await?.start().await?;
    let told = tell(&app, &args, &options, &url).await;
    app.shutdown().await;
    told
}

async fn tell(
    app: &App,
    args: &DemoArgs,
    options: &OperatorOptions,
    url: &str,
) -> Result<(), BankError> {
    let output = Output::new(false);
    let place = next::shown(url);
    let accounts = Accounts::next_run(app, args.accounts).await?;
    if !accounts.is_first_run() {
        output.line(&format!(
            "{place} holds an earlier demo; this one adds to it\n"
        ))?;
    } else if app.store().head().await?.get() > 0 && !args.mix {
        let url = place.into_owned();
        return Err(BankError::NotADemoStore { url });
    }

    output.line(&format!(
        "1. {} accounts, then {} transactions, each a command of its own, into {place}",
        count(args.accounts),
        count(args.transactions)
    ))?;
    let started = Instant::now();
    let before = app.store().head().await?;
    accounts.open(app).await?;
    let mut traffic = Traffic::new(args.accounts, args.seed);
    traffic::run(app, &accounts, &mut traffic, args.transactions).await?;
    let head = app.store().head().await?;
    let (events, took) = (head.get().saturating_sub(before.get()), started.elapsed());
    output.line(&format!(
        "   {} events in {}, {} a second, each on disk before it was acknowledged",
        count(events),
        duration(took),
        count(per_second(events, took))
    ))?;
    show::overdraft(app, &accounts, output).await?;

    transfer(app, args, &accounts, &mut traffic, options).await?;

    let head = app.store().head().await?;
    output.line("\n3. The read model `user_balance` has followed. The richest users:")?;
    app.caught_up_within::<UserBalance>(head, CAUGHT_UP_WITHIN)
        .await?;
    show::top_balances(app, output).await?;
    let stream = accounts.first_stream()?;
    output.line(&format!(
        "\n4. How `{stream}` came to its balance, from the first event on:"
    ))?;
    let show = OperatorCommand::Stream(StreamCommand::Show(ShowArgs {
        stream,
        backwards: false,
        limit: Some(6),
    }));
    cli::run_on(app, show, options, Vec::new()).await?;

    output.line("\n5. Is the log sound, and no money lost?")?;
    let verify = OperatorCommand::Store(StoreCommand::Verify);
    cli::run_on(app, verify, options, checks::all()).await?;

    output.line("\n6. The read model can be rebuilt from the log at any time, live:")?;
    let rebuild = OperatorCommand::Projection(ProjectionCommand::Rebuild(RebuildArgs {
        name: "user_balance".to_owned(),
        verify: true,
        restart: false,
        lease: None,
    }));
    cli::run_on(app, rebuild, options, Vec::new()).await?;
    output.line(&next::what_next(url, &accounts)?)?;
    Ok(())
}

/// Makes the transfers, and shows what happened to one of them.
async fn transfer(
    app: &App,
    args: &DemoArgs,
    accounts: &Accounts,
    traffic: &mut Traffic,
    options: &OperatorOptions,
) -> Result<(), BankError> {
    let output = Output::new(false);
    output.line(&format!(
        "\n2. {} transfers, each a saga: the money arrives, or it comes back",
        count(args.transfers)
    ))?;
    let started = Instant::now();
    let (ends, one) = transfers::run(app, accounts, traffic, args.transfers).await?;
    let took = started.elapsed();
    output.line(&format!("   in {}:", duration(took)))?;
    transfers::tell(ends, output)?;
    output.line("   What happened to one of these, as its own stream tells it:")?;
    let show = OperatorCommand::Saga(SagaCommand::Show(SagaArgs {
        id: one.to_string(),
        saga: None,
    }));
    cli::run_on(app, show, options, Vec::new()).await?;
    Ok(())
}
