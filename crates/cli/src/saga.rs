//! `saga`: list, show, retry, abandon.

mod control;
mod list;
mod show;
mod timeline;

use annals_core::saga::SagaStatus;
use annals_runtime::{App, SagaView};
use clap::{Args, Subcommand, ValueEnum};

use crate::{error::CliError, output::Output};

/// What an operator can do with sagas.
#[derive(Clone, Debug, Subcommand)]
pub enum SagaCommand {
    /// List the sagas and how they stand.
    List(SagaListArgs),
    /// Show a saga: what happened to it, when and why, and what it has to do.
    Show(SagaArgs),
    /// Let a stuck saga try again.
    ///
    /// Commands that it had given up are sent again, under the ids they always had: what was
    /// carried out before is not carried out twice.
    Retry(SagaArgs),
    /// Give a saga up as it is.
    ///
    /// What it has sent is taken back where that is still possible; what it has done stays done.
    Abandon(AbandonArgs),
}

/// Which sagas to list.
#[derive(Args, Clone, Debug)]
pub struct SagaListArgs {
    /// Only sagas that stand like this.
    #[arg(long)]
    pub state: Option<SagaState>,
    /// Only those that come after this one, where an earlier list has ended
    ///
    /// Lists are in order of kind and id.
    #[arg(long, value_name = "KIND:ID", value_parser = kind_and_id)]
    pub after: Option<(String, String)>,
    /// At most so many.
    #[arg(long, default_value_t = 1_000, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

fn kind_and_id(text: &str) -> Result<(String, String), &'static str> {
    let (kind, id) = text
        .split_once(':')
        .ok_or("it must be a kind and an id, such as transfer:t-1")?;
    Ok((kind.to_owned(), id.to_owned()))
}

/// Which saga.
#[derive(Args, Clone, Debug)]
pub struct SagaArgs {
    /// The saga's id, as `saga list` shows it.
    pub id: String,
    /// What kind of saga, where several kinds have one of this id.
    #[arg(long, value_name = "KIND")]
    pub saga: Option<String>,
}

/// Which saga to give up, and why.
#[derive(Args, Clone, Debug)]
pub struct AbandonArgs {
    /// Which one.
    #[command(flatten)]
    pub saga: SagaArgs,
    /// Why, for whoever looks at it later.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
}

/// How a saga stands, as operators write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SagaState {
    /// On its way.
    Running,
    /// Undoing what was done.
    Compensating,
    /// Waiting for an operator.
    Stuck,
    /// Ended: all is done.
    Completed,
    /// Ended: what was done is undone.
    Compensated,
    /// Ended: nothing was done.
    Failed,
    /// Ended by an operator, as it was.
    Abandoned,
}

impl From<SagaState> for SagaStatus {
    fn from(state: SagaState) -> Self {
        match state {
            SagaState::Running => Self::Running,
            SagaState::Compensating => Self::Compensating,
            SagaState::Stuck => Self::Stuck,
            SagaState::Completed => Self::Completed,
            SagaState::Compensated => Self::Compensated,
            SagaState::Failed => Self::Failed,
            SagaState::Abandoned => Self::Abandoned,
        }
    }
}

impl SagaCommand {
    pub(crate) async fn run(self, app: &App, output: Output) -> Result<(), CliError> {
        match self {
            Self::List(args) => list::run(app, &args, output).await,
            Self::Show(args) => show::run(app, &args, output).await,
            Self::Retry(args) => control::retry(app, &args, output).await,
            Self::Abandon(args) => control::abandon(app, &args, output).await,
        }
    }
}

/// The saga that is meant, or an error that tells how to name it.
async fn find(app: &App, args: &SagaArgs) -> Result<SagaView, CliError> {
    let sagas = app.sagas();
    let kinds: Vec<&str> = match &args.saga {
        Some(saga) => vec![saga],
        None => sagas.kinds().collect(),
    };
    let mut found = Vec::new();
    for kind in &kinds {
        found.extend(sagas.show(kind, &args.id).await?);
    }
    if found.len() > 1 {
        return Err(CliError::SeveralSagas {
            id: args.id.clone(),
            kinds: found.into_iter().map(|view| view.saga).collect(),
        });
    }
    found.pop().ok_or_else(|| CliError::NoSuchSaga {
        id: args.id.clone(),
        kinds: kinds.into_iter().map(str::to_owned).collect(),
    })
}
