//! `saga retry` and `saga abandon`.

use annals_runtime::App;

use super::{AbandonArgs, SagaArgs, find, show::headline};
use crate::{error::CliError, output::Output};

/// Who is behind it, as far as the command line knows.
const OPERATOR: &str = "operator";

pub(super) async fn retry(app: &App, args: &SagaArgs, output: Output) -> Result<(), CliError> {
    let found = find(app, args).await?;
    let retrying = app.sagas().retry(&found.saga, &found.id);
    let view = retrying.actor(OPERATOR).await?;
    output.answer(&view, || headline(&view))
}

pub(super) async fn abandon(app: &App, args: &AbandonArgs, output: Output) -> Result<(), CliError> {
    let found = find(app, &args.saga).await?;
    let sagas = app.sagas();
    let abandoning = sagas.abandon(&found.saga, &found.id, &args.reason);
    let view = abandoning.actor(OPERATOR).await?;
    output.answer(&view, || headline(&view))
}
