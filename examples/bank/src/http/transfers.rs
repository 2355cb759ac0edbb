//! `/transfers`: money from one account to another.

use annals::saga::{Instance, Linear};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::{
    Api,
    accounts::{LOG_POSITION, header_text, percent_encoded},
    extract::{Body, IdPath, Numbers, Post, required},
    idempotency::new_id,
    problem::{Kind, Problem},
};
use crate::{
    domain::{AccountId, Amount, Transfer, TransferId, TransferStatus},
    transferring::Transferring,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TransferBody {
    from: Option<AccountId>,
    to: Option<AccountId>,
    amount: Option<Amount>,
    id: Option<TransferId>,
}

impl Body for TransferBody {}

#[derive(Debug, Serialize)]
struct TransferView<'a> {
    id: &'a TransferId,
    from: &'a AccountId,
    to: &'a AccountId,
    amount: Amount,
    status: TransferStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// `POST /transfers`
pub(super) async fn begin(
    State(api): State<Api>,
    post: Post<TransferBody>,
) -> Result<Response, Problem> {
    if post.if_match.is_some() {
        let detail = "a transfer that is yet to be begun has no version to match";
        return Err(Problem::new(Kind::VersionMismatch, detail));
    }
    let Post {
        body, once, trace, ..
    } = post;
    let transferring = Transferring {
        from: required(body.from, "from")?,
        to: required(body.to, "to")?,
        amount: required(body.amount, "amount")?,
        id: new_id(body.id, "transfer", once.as_ref())?,
        within: api.limits.transferred_within,
        command_id: once.as_ref().map(|once| once.id),
        fingerprint: once.map(|once| once.fingerprint).unwrap_or_default(),
    };
    let begun = transferring.begin_with(&api.app, |starting| match trace {
        Some(trace) => starting.trace(trace),
        None => starting,
    });
    let begun = begun.await?;
    let Transferring {
        id,
        from,
        to,
        amount,
        ..
    } = &transferring;
    let location = format!("/transfers/{}", percent_encoded(id.as_ref()));
    let view = TransferView {
        id,
        from,
        to,
        amount: *amount,
        status: TransferStatus::Pending,
        reason: None,
    };
    Ok((
        StatusCode::ACCEPTED,
        AppendHeaders([
            (header::LOCATION, header_text(&location)),
            (LOG_POSITION, begun.position.get().into()),
        ]),
        Json(view),
    )
        .into_response())
}

/// `GET /transfers/{id}`
pub(super) async fn show(
    State(api): State<Api>,
    IdPath(id): IdPath<TransferId>,
    query: Numbers,
) -> Result<Response, Problem> {
    let query = query.only(&["at_least"])?;
    api.log_reaches(query.get("at_least")).await?;
    let saga = api.app.saga::<Transfer>(&id).await?;
    let view = saga.as_ref().and_then(|saga| view(&id, saga));
    let view = view.ok_or_else(|| {
        let detail = "there is no transfer with this id";
        Problem::new(Kind::TransferNotFound, detail)
    })?;
    Ok(Json(view).into_response())
}

fn view<'a>(id: &'a TransferId, saga: &'a Instance<Linear<Transfer>>) -> Option<TransferView<'a>> {
    let transfer = saga.process().saga()?;
    Some(TransferView {
        id,
        from: &transfer.from,
        to: &transfer.to,
        amount: transfer.amount,
        status: saga.status().into(),
        reason: saga.reason(),
    })
}
