//! Problem details (RFC 9457): what every refusal and failure looks like.

use annals::{
    AppendError, CaughtUpError, ExecuteError, LoadError, ReadError, SagaError, StartSagaError,
    StoreError, StoreErrorKind, Version,
};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    domain::{AccountError, Money, MoneyError},
    opening::OpeningError,
    transferring::TransferringError,
};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $slug:literal, $status:ident, $title:literal;)+) => {
        /// What kinds of problems there are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name),+ }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The `type` member: a relative URI.
            #[must_use]
            pub fn uri(self) -> &'static str {
                match self { $(Self::$name => concat!("/problems/", $slug)),+ }
            }

            /// The status that it is answered with.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),+ }
            }

            /// The `title` member.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }
        }
    };
}

kinds! {
    /// The path can't be read.
    InvalidPath = "invalid-path", BAD_REQUEST, "The path is malformed";
    /// A query parameter is unknown or can't be read.
    InvalidQuery = "invalid-query", BAD_REQUEST, "The query is malformed";
    /// A header can't be read.
    InvalidHeader = "invalid-header", BAD_REQUEST, "A header is malformed";
    /// The body ends early or is no JSON.
    MalformedJson = "malformed-json", BAD_REQUEST, "The body is not JSON";
    /// There is nothing at this path.
    NotFound = "not-found", NOT_FOUND, "There is nothing here";
    /// Nobody has opened the account.
    AccountNotFound = "account-not-found", NOT_FOUND, "There is no such account";
    /// There is no transfer with this id.
    TransferNotFound = "transfer-not-found", NOT_FOUND, "There is no such transfer";
    /// Nobody of this name has an account.
    UserNotFound = "user-not-found", NOT_FOUND, "There is no such user";
    /// The path has other methods.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// The client did not send its body in time.
    RequestTimeout = "request-timeout", REQUEST_TIMEOUT, "The body did not arrive in time";
    /// The account's id is taken.
    AccountExists = "account-exists", CONFLICT, "The account exists already";
    /// The transfer's id is taken by another one.
    TransferExists = "transfer-exists", CONFLICT, "The transfer exists already";
    /// The account is not at the version that `If-Match` asks for.
    VersionMismatch = "version-mismatch", PRECONDITION_FAILED, "The account has changed";
    /// The body is too large.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body is not declared as JSON.
    UnsupportedMediaType =
        "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body must be JSON";
    /// A field is missing, unknown, of the wrong type or out of range.
    InvalidField = "invalid-field", UNPROCESSABLE_ENTITY, "A field is not valid";
    /// The account holds less than is wanted.
    InsufficientFunds = "insufficient-funds", UNPROCESSABLE_ENTITY, "The account holds too little";
    /// The account is closed.
    AccountClosed = "account-closed", UNPROCESSABLE_ENTITY, "The account is closed";
    /// The account neither gives nor takes money for the time being.
    AccountFrozen = "account-frozen", UNPROCESSABLE_ENTITY, "The account is frozen";
    /// The account holds money, so it can't be closed.
    AccountNotEmpty = "account-not-empty", UNPROCESSABLE_ENTITY, "The account is not empty";
    /// The balance would exceed what can be counted.
    BalanceOverflow =
        "balance-overflow", UNPROCESSABLE_ENTITY, "The balance would exceed what can be counted";
    /// The user's accounts, or the account itself, are in another currency.
    OtherCurrency =
        "other-currency", UNPROCESSABLE_ENTITY, "The currency is another one";
    /// The idempotency key was used for another request.
    KeyReused =
        "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The Idempotency-Key was used before";
    /// A bug, or a store that needs an operator.
    Internal = "internal", INTERNAL_SERVER_ERROR, "The server failed";
    /// Others kept getting in between.
    Busy = "busy", SERVICE_UNAVAILABLE, "Too many changes at once";
    /// What was asked for is not shown yet.
    Behind = "behind", SERVICE_UNAVAILABLE, "The answer is not up to date yet";
    /// The store can't be used at the moment.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "The store is not available";
    /// The server can't serve at the moment.
    NotReady = "not-ready", SERVICE_UNAVAILABLE, "The server is not ready";
}

/// After how many seconds it is worth trying again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An error as the API answers it.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    members: Map<String, Value>,
    retry: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

impl Problem {
    /// A problem of a kind; `detail` says what to do about this occurrence.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            members: Map::new(),
            retry: false,
        }
    }

    /// A field of the body or of the path that is not valid.
    pub fn field(field: &str, detail: impl Into<String>) -> Self {
        Self::new(Kind::InvalidField, detail).with("field", field)
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// Says that the same request may succeed a little later.
    #[must_use]
    pub fn retry(mut self) -> Self {
        self.retry = true;
        self
    }

    /// A failure that is no fault of the request. The cause goes into the log, not to the client:
    /// it may name files and hosts.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        log(error);
        Self::new(
            Kind::Internal,
            "the server failed to answer; its log says why",
        )
    }

    fn balance(kind: Kind, error: &AccountError, balance: Money) -> Self {
        Self::new(kind, error.to_string()).with("balance", balance.minor_units())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: self.kind.uri(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            members: &self.members,
        };
        // Texts and numbers always serialise.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let content_type = HeaderValue::from_static("application/problem+json");
        let mut response = (
            self.kind.status(),
            [(header::CONTENT_TYPE, content_type)],
            body,
        )
            .into_response();
        if self.retry {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::AlreadyOpen => Self::new(Kind::AccountExists, error.to_string()),
            AccountError::NotFound => Self::new(Kind::AccountNotFound, error.to_string()),
            AccountError::Closed => Self::new(Kind::AccountClosed, error.to_string()),
            AccountError::Frozen => Self::new(Kind::AccountFrozen, error.to_string()),
            AccountError::OtherCurrency { held, .. } => {
                Self::new(Kind::OtherCurrency, error.to_string()).with("currency", held.code())
            }
            AccountError::InsufficientFunds { balance, amount } => {
                Self::balance(Kind::InsufficientFunds, &error, balance)
                    .with("amount", amount.minor_units())
            }
            AccountError::NotEmpty { balance } => {
                Self::balance(Kind::AccountNotEmpty, &error, balance)
            }
            AccountError::Money(MoneyError::Overflow) => {
                Self::new(Kind::BalanceOverflow, error.to_string())
            }
            AccountError::Money(MoneyError::AmountOutOfRange(_)) => {
                Self::field("amount", error.to_string())
            }
        }
    }
}

impl From<ExecuteError<AccountError>> for Problem {
    fn from(error: ExecuteError<AccountError>) -> Self {
        match error {
            ExecuteError::Rejected(rejection) => rejection.into(),
            // RFC 9110, section 13.2.1: a precondition does not hide that there is nothing.
            ExecuteError::VersionMismatch {
                actual: Version::NONE,
                ..
            } => AccountError::NotFound.into(),
            ExecuteError::VersionMismatch { actual, .. } => {
                let detail = format!("the account is at version {actual}; read it again first");
                Self::new(Kind::VersionMismatch, detail).with("version", actual.get())
            }
            ExecuteError::CommandIdReused { .. } => key_reused(),
            ExecuteError::InvalidId(error) => Self::field("id", error.to_string()),
            ExecuteError::Conflict { .. } => busy(),
            ExecuteError::Append(error) => error.into(),
            ExecuteError::Load(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<OpeningError> for Problem {
    fn from(error: OpeningError) -> Self {
        match error {
            OpeningError::Owner(error) => {
                Self::field("owner", format!("the owner's id {}", error.problem()))
            }
            OpeningError::OtherCurrency { held, .. } => {
                Self::new(Kind::OtherCurrency, error.to_string())
                    .with("field", "currency")
                    .with("currency", held.code())
            }
            OpeningError::Busy => busy(),
            OpeningError::Execute(error) => error.into(),
            OpeningError::CaughtUp(error) => error.into(),
            OpeningError::Read(error) => error.into(),
            OpeningError::Store(error) => error.into(),
        }
    }
}

impl From<TransferringError> for Problem {
    fn from(error: TransferringError) -> Self {
        match error {
            TransferringError::ToItself => Self::field("to", error.to_string()),
            TransferringError::Refused(refusal) => refusal.into(),
            TransferringError::Load(error) => error.into(),
            TransferringError::Read(error) => error.into(),
            TransferringError::Start(error) => error.into(),
        }
    }
}

impl From<StartSagaError> for Problem {
    fn from(error: StartSagaError) -> Self {
        match error {
            StartSagaError::IdReused { .. } => {
                let detail = "there is a transfer with this id between other accounts or of \
                              another amount";
                Self::new(Kind::TransferExists, detail)
            }
            StartSagaError::CommandIdReused { .. } => key_reused(),
            StartSagaError::Saga(error) => error.into(),
            StartSagaError::Append(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<SagaError> for Problem {
    fn from(error: SagaError) -> Self {
        match error {
            SagaError::Name(error) => Self::field("id", error.to_string()),
            SagaError::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict { .. } | AppendError::ConditionFailed { .. } => busy(),
            AppendError::Unknown(error) => {
                log(&error);
                let detail = "it is not known whether the request was carried out; repeat it \
                              with the same Idempotency-Key to find out";
                Self::new(Kind::Unavailable, detail).retry()
            }
            AppendError::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::InvalidId(error) => Self::field("id", error.to_string()),
            LoadError::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<CaughtUpError> for Problem {
    fn from(error: CaughtUpError) -> Self {
        match error {
            CaughtUpError::TimedOut {
                reached, wanted, ..
            } => {
                let detail = format!("the balances are at position {reached}, not yet at {wanted}");
                Self::new(Kind::Behind, detail)
                    .with("position", reached.get())
                    .retry()
            }
            CaughtUpError::Store(error) => error.into(),
            error @ CaughtUpError::NotRegistered { .. } => Self::internal(&error),
            error => {
                log(&error);
                Self::new(
                    Kind::Unavailable,
                    "the balances are not kept up to date at the moment",
                )
                .retry()
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if !error.is_transient() && error.kind() != StoreErrorKind::Closed {
            return Self::internal(&error);
        }
        log(&error);
        let detail = match error.kind() {
            StoreErrorKind::StorageFull => "the server's disk is full",
            StoreErrorKind::Closed => "the server is shutting down",
            _ => "the store does not answer in time",
        };
        Self::new(Kind::Unavailable, detail).retry()
    }
}

fn key_reused() -> Problem {
    let detail = "this Idempotency-Key belongs to another request; give each request its own";
    Problem::new(Kind::KeyReused, detail)
}

fn busy() -> Problem {
    Problem::new(Kind::Busy, "others kept changing the same thing; try again").retry()
}

/// Logs an error with its causes.
pub(super) fn log(error: &dyn std::error::Error) {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    tracing::error!(error = %message, "failed to answer a request");
}
