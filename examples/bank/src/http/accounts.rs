//! `/accounts`: opening, filling, emptying, closing and looking at accounts.

use annals::{
    Category, Event, Executed, Position, Recorded, StoredEvent, StreamName, StreamRead, Version,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Api,
    extract::{Body, IdPath, Numbers, Post, required},
    idempotency::new_id,
    problem::{Kind, Problem},
};
use crate::{
    domain::{
        Account, AccountCommand, AccountError, AccountEvent, AccountId, Amount, Currency, Money,
        Status, UserId,
    },
    opening::Opening,
};

/// Up to where the log holds what a request brought about: what to pass as `at_least`.
pub(super) const LOG_POSITION: HeaderName = HeaderName::from_static("log-position");
/// How many events a page has unless the client says otherwise.
const PAGE: u64 = 100;
/// How many it has at most.
const MAX_PAGE: u64 = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenBody {
    owner: Option<UserId>,
    id: Option<AccountId>,
    currency: Option<Currency>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AmountBody {
    amount: Option<Amount>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoBody {}

impl Body for OpenBody {}
impl Body for AmountBody {}
impl Body for NoBody {
    const OPTIONAL: bool = true;
}

#[derive(Debug, Serialize)]
struct AccountView<'a> {
    id: &'a AccountId,
    owner: Option<&'a UserId>,
    currency: Currency,
    balance: Money,
    status: Status,
    version: Version,
}

#[derive(Debug, Serialize)]
struct MovementView<'a> {
    account: &'a AccountId,
    version: Version,
    position: Position,
    balance: Money,
}

#[derive(Debug, Serialize)]
struct HistoryView {
    events: Vec<EventView>,
    next: Option<Version>,
}

#[derive(Debug, Serialize)]
struct EventView {
    id: Uuid,
    version: Version,
    position: Position,
    r#type: &'static str,
    time: DateTime<Utc>,
    data: Box<RawValue>,
    correlation_id: Uuid,
    causation_id: Uuid,
}

/// `POST /accounts`
pub(super) async fn open(
    State(api): State<Api>,
    post: Post<OpenBody>,
) -> Result<Response, Problem> {
    if post.if_match.is_some() {
        let detail = "an account that is yet to be opened has no version to match";
        return Err(Problem::new(Kind::VersionMismatch, detail));
    }
    let Post {
        body, once, trace, ..
    } = post;
    let opening = Opening {
        owner: required(body.owner, "owner")?,
        id: new_id(body.id, "account", once.as_ref())?,
        currency: body.currency.unwrap_or_default(),
        command_id: once.as_ref().map(|once| once.id),
        fingerprint: once.map(|once| once.fingerprint).unwrap_or_default(),
        trace,
    };
    let done = opening.execute(&api.app).await?;
    let location = format!("/accounts/{}", percent_encoded(opening.id.as_ref()));
    let view = account_view(&opening.id, &done.state, done.version);
    Ok((
        StatusCode::CREATED,
        AppendHeaders([
            (header::LOCATION, header_text(&location)),
            (header::ETAG, etag(done.version)),
            (LOG_POSITION, done.position.get().into()),
        ]),
        Json(view),
    )
        .into_response())
}

/// `POST /accounts/{id}/deposits`
pub(super) async fn deposit(
    State(api): State<Api>,
    IdPath(id): IdPath<AccountId>,
    post: Post<AmountBody>,
) -> Result<Response, Problem> {
    let amount = required(post.body.amount, "amount")?;
    movement(&api, &id, &post, AccountCommand::Deposit { amount }).await
}

/// `POST /accounts/{id}/withdrawals`
pub(super) async fn withdraw(
    State(api): State<Api>,
    IdPath(id): IdPath<AccountId>,
    post: Post<AmountBody>,
) -> Result<Response, Problem> {
    let amount = required(post.body.amount, "amount")?;
    movement(&api, &id, &post, AccountCommand::Withdraw { amount }).await
}

async fn movement(
    api: &Api,
    id: &AccountId,
    post: &Post<AmountBody>,
    command: AccountCommand,
) -> Result<Response, Problem> {
    let done = post.apply(api.app.execute(id, command)).await?;
    let view = MovementView {
        account: id,
        version: done.version,
        position: done.position,
        balance: done.state.balance,
    };
    Ok((StatusCode::CREATED, written(&done), Json(view)).into_response())
}

/// `POST /accounts/{id}/freeze`
pub(super) async fn freeze(
    State(api): State<Api>,
    IdPath(id): IdPath<AccountId>,
    post: Post<NoBody>,
) -> Result<Response, Problem> {
    change(&api, &id, &post, AccountCommand::Freeze).await
}

/// `POST /accounts/{id}/unfreeze`
pub(super) async fn unfreeze(
    State(api): State<Api>,
    IdPath(id): IdPath<AccountId>,
    post: Post<NoBody>,
) -> Result<Response, Problem> {
    change(&api, &id, &post, AccountCommand::Unfreeze).await
}

/// `POST /accounts/{id}/close`
pub(super) async fn close(
    State(api): State<Api>,
    IdPath(id): IdPath<AccountId>,
    post: Post<NoBody>,
) -> Result<Response, Problem> {
    change(&api, &id, &post, AccountCommand::Close).await
}

/// A command that moves no money, so that there is nothing to tell but that it is done.
async fn change(
    api: &Api,
    id: &AccountId,
    post: &Post<NoBody>,
    command: AccountCommand,
) -> Result<Response, Problem> {
    let done = post.apply(api.app.execute(id, command)).await?;
    Ok((StatusCode::NO_CONTENT, written(&done)).into_response())
}

/// `GET /accounts/{id}`
pub(super) async fn show(
    State(api): State<Api>,
    IdPath(id): IdPath<AccountId>,
    query: Numbers,
) -> Result<Response, Problem> {
    let query = query.only(&["at_least"])?;
    api.log_reaches(query.get("at_least")).await?;
    let loaded = api.app.load::<Account>(&id).await?;
    if loaded.version == Version::NONE {
        return Err(AccountError::NotFound.into());
    }
    let view = account_view(&id, &loaded.state, loaded.version);
    Ok((
        AppendHeaders([(header::ETAG, etag(loaded.version))]),
        Json(view),
    )
        .into_response())
}

/// `GET /accounts/{id}/events`
pub(super) async fn history(
    State(api): State<Api>,
    IdPath(id): IdPath<AccountId>,
    query: Numbers,
) -> Result<Response, Problem> {
    let query = query.only(&["after", "limit", "at_least"])?;
    let after = Version::new(query.get("after").unwrap_or_default());
    let limit = query.get("limit").unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        let detail = format!("query parameter `limit` must be from 1 to {MAX_PAGE}");
        return Err(Problem::new(Kind::InvalidQuery, detail).with("field", "limit"));
    }
    api.log_reaches(query.get("at_least")).await?;
    let category = Category::new(AccountEvent::CATEGORY);
    let stream = category
        .and_then(|category| StreamName::new(&category, &id))
        .map_err(|error| Problem::field("id", error.to_string()))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // One more than asked for tells whether there is another page.
    let read = StreamRead::after(stream.clone(), after, limit.saturating_add(1));
    let mut stored = api.app.store().read_stream(read).await?;
    if stored.is_empty() && api.app.store().stream_version(&stream).await? == Version::NONE {
        return Err(AccountError::NotFound.into());
    }
    let more = stored.len() > limit;
    stored.truncate(limit);
    let next = stored.last().map(|event| event.version).filter(|_| more);
    let events = stored.iter().map(event_view).collect::<Result<_, _>>()?;
    Ok(Json(HistoryView { events, next }).into_response())
}

fn account_view<'a>(id: &'a AccountId, account: &'a Account, version: Version) -> AccountView<'a> {
    AccountView {
        id,
        owner: account.owner.as_ref(),
        currency: account.currency,
        balance: account.balance,
        status: account.status,
        version,
    }
}

/// An event as this release understands it, whatever the shape it was stored in.
fn event_view(stored: &StoredEvent) -> Result<EventView, Problem> {
    let recorded: Recorded<AccountEvent> = stored
        .decode()
        .map_err(|error| Problem::internal(&error))?
        .ok_or_else(|| Problem::new(Kind::Internal, "the account has an event of unknown type"))?;
    let data = recorded
        .event
        .encode()
        .map_err(|error| Problem::internal(&error))?;
    Ok(EventView {
        id: recorded.id.uuid(),
        version: recorded.version,
        position: recorded.position,
        r#type: recorded.event.schema().name,
        time: recorded.recorded_at,
        data: serde_json::from_slice(&data).map_err(|error| Problem::internal(&error))?,
        correlation_id: recorded.metadata.correlation_id.uuid(),
        causation_id: recorded.metadata.causation_id.uuid(),
    })
}

fn written(done: &Executed<Account>) -> AppendHeaders<[(HeaderName, HeaderValue); 2]> {
    AppendHeaders([
        (header::ETAG, etag(done.version)),
        (LOG_POSITION, done.position.get().into()),
    ])
}

fn etag(version: Version) -> HeaderValue {
    header_text(&format!("\"{version}\""))
}

/// A header's value from visible ASCII.
pub(super) fn header_text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A text as a segment of a path: all but the unreserved characters of RFC 3986 encoded.
pub(super) fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
