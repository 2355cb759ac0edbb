//! `saga retry` and `saga abandon`.

use annals_runtime::App;

use super::{AbandonArgs, SagaArgs, find, show::headline};
use crate::{error::CliError, output::Output};

pub(super) async fn retry(app: &App, args: &SagaArgs, output: Output) -> Result<(), CliError> {
    let found = find(app, args).await?;
    let view = app.sagas().retry(&found.saga, &found.id).await?;
    output.answer(&view, || headline(&view))
}

pub(super) async fn abandon(app: &App, args: &AbandonArgs, output: Output) -> Result<(), CliError> {
    let found = find(app, &args.saga).await?;
    let sagas = app.sagas();
    let view = sagas.abandon(&found.saga, &found.id, &args.reason).await?;
    output.answer(&view, || headline(&view))
}
