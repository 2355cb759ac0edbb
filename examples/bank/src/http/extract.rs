//! What requests say: paths, queries, headers and bodies, or the problem with them.

use annals::{Execute, Id, TraceContext, Version};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{
    Api,
    idempotency::Once,
    problem::{Kind, Problem},
    trace::trace_context,
};
use crate::domain::Account;

/// An id in the path.
#[derive(Debug)]
pub(super) struct IdPath<I>(pub(super) I);

impl<I: Id> FromRequestParts<Api> for IdPath<I> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let malformed = |detail: &str| Problem::new(Kind::InvalidPath, detail).with("field", "id");
        if !is_percent_encoded(parts.uri.path()) {
            return Err(malformed(
                "a `%` in the path must be followed by two hexadecimal digits",
            ));
        }
        let Path(text) = Path::<String>::from_request_parts(parts, api)
            .await
            .map_err(|_| malformed("the path is not UTF-8 once its `%` are resolved"))?;
        let id = I::from_text(&text).map_err(|error| Problem::field("id", error.to_string()))?;
        Ok(Self(id))
    }
}

/// Whether every `%` is followed by two hexadecimal digits.
fn is_percent_encoded(path: &str) -> bool {
    let mut parts = path.split('%');
    parts.next();
    parts.all(|part| {
        let mut digits = part.bytes().take(2);
        let hex = |digit: Option<u8>| digit.is_some_and(|digit| digit.is_ascii_hexdigit());
        hex(digits.next()) && hex(digits.next())
    })
}

/// The numbers in a query, each given at most once.
#[derive(Debug)]
pub(super) struct Numbers(Vec<(String, u64)>);

impl Numbers {
    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<u64> {
        let mut found = self.0.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, number)| *number)
    }

    /// Refuses parameters that the endpoint does not have: a misspelt one must not go unnoticed.
    pub(super) fn only(self, names: &[&str]) -> Result<Self, Problem> {
        match self
            .0
            .iter()
            .find(|(key, _)| !names.contains(&key.as_str()))
        {
            Some((key, _)) => {
                let detail = format!("there is no query parameter `{key}` here");
                Err(Problem::new(Kind::InvalidQuery, detail).with("field", key.as_str()))
            }
            None => Ok(self),
        }
    }
}

impl FromRequestParts<Api> for Numbers {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, api)
            .await
            .map_err(|_| Problem::new(Kind::InvalidQuery, "the query can't be read"))?;
        let mut numbers: Vec<(String, u64)> = Vec::with_capacity(pairs.len());
        for (key, text) in pairs {
            let wrong = |problem: &str| {
                let detail = format!("query parameter `{key}` {problem}");
                Problem::new(Kind::InvalidQuery, detail).with("field", key.as_str())
            };
            if numbers.iter().any(|(earlier, _)| *earlier == key) {
                return Err(wrong("is given twice"));
            }
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            match text.parse() {
                Ok(number) if digits => numbers.push((key, number)),
                _ => return Err(wrong("must be a whole number")),
            }
        }
        Ok(Self(numbers))
    }
}

/// What a body holds.
pub(super) trait Body: DeserializeOwned {
    /// Whether it may be left out.
    const OPTIONAL: bool = false;
}

/// A command as it comes in: its body, and what its headers ask for.
#[derive(Debug)]
pub(super) struct Post<B> {
    /// The body.
    pub(super) body: B,
    /// `Idempotency-Key`.
    pub(super) once: Option<Once>,
    /// `If-Match`.
    pub(super) if_match: Option<IfMatch>,
    /// `traceparent` and `tracestate`.
    pub(super) trace: Option<TraceContext>,
}

impl<B> Post<B> {
    /// Sets what the headers ask for.
    pub(super) fn apply<'a>(&self, mut command: Execute<'a, Account>) -> Execute<'a, Account> {
        if let Some(once) = &self.once {
            command = command.command_id(once.id).fingerprint(&once.fingerprint);
        }
        if let Some(IfMatch::Version(version)) = self.if_match {
            command = command.expect_version(version);
        }
        match &self.trace {
            Some(trace) => command.trace(trace.clone()),
            None => command,
        }
    }
}

impl<B: Body> FromRequest<Api> for Post<B> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if !B::OPTIONAL || parts.headers.contains_key(header::CONTENT_TYPE) {
            require_json(&parts.headers)?;
        }
        let read = Bytes::from_request(Request::from_parts(parts.clone(), body), api);
        let bytes = match tokio::time::timeout(api.limits.body_within, read).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let detail = format!("a body has at most {} bytes", api.limits.body_bytes);
                return Err(Problem::new(Kind::BodyTooLarge, detail));
            }
            Ok(Err(_)) => return Err(Problem::new(Kind::MalformedJson, "the body ends early")),
            Err(_) => {
                return Err(Problem::new(
                    Kind::RequestTimeout,
                    "the body takes too long",
                ));
            }
        };
        let once = Once::of(&parts.method, &parts.uri, &parts.headers, &bytes)?;
        let if_match = IfMatch::of(&parts.headers)?;
        let body = if B::OPTIONAL && bytes.is_empty() {
            parse(b"{}")?
        } else {
            require_json(&parts.headers)?;
            parse(&bytes)?
        };
        Ok(Self {
            body,
            once,
            if_match,
            trace: trace_context(&parts.headers),
        })
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = "send the body as JSON, with `Content-Type: application/json`";
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
}

fn parse<B: DeserializeOwned>(bytes: &[u8]) -> Result<B, Problem> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    // Serde would take a list of the fields' values as well.
    if first.is_some_and(|first| *first != b'{') {
        let json: Result<IgnoredAny, _> = serde_json::from_slice(bytes);
        json.map_err(|error| json_problem(&error, None))?;
        return Err(Problem::new(
            Kind::InvalidField,
            "the body must be a JSON object",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let body = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        json_problem(
            error.inner(),
            Some(path.as_str()).filter(|path| *path != "."),
        )
    })?;
    deserializer
        .end()
        .map_err(|error| json_problem(&error, None))?;
    Ok(body)
}

fn json_problem(error: &serde_json::Error, field: Option<&str>) -> Problem {
    match (error.is_data(), field) {
        (false, _) => Problem::new(Kind::MalformedJson, error.to_string()),
        (true, Some(field)) => Problem::field(field, format!("`{field}`: {}", said(error))),
        (true, None) => Problem::new(Kind::InvalidField, said(error)),
    }
}

/// The error with its place set apart: `such as EUR at line 1` would read as one sentence.
fn said(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    match text.strip_suffix(&format!(" at line {line} column {column}")) {
        Some(what) => format!("{what} (line {line}, column {column})"),
        None => text,
    }
}

/// A field that must be there.
pub(super) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Problem> {
    value.ok_or_else(|| Problem::field(field, format!("`{field}` is missing")))
}

/// What `If-Match` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// `*`: that the account exists, which every command asks for anyway.
    Exists,
    /// That it is at this version.
    Version(Version),
}

impl IfMatch {
    fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(value) = single_header(headers, "if-match")? else {
            return Ok(None);
        };
        Self::parse(value).map(Some).ok_or_else(|| {
            let detail = "If-Match must be one ETag of an account, such as \"3\", or *";
            Problem::new(Kind::InvalidHeader, detail).with("field", "If-Match")
        })
    }

    fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?.trim();
        if text == "*" {
            return Some(Self::Exists);
        }
        let digits = text.strip_prefix('"')?.strip_suffix('"')?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let version = digits.parse().ok().filter(|_| plain)?;
        Some(Self::Version(Version::new(version)))
    }
}

/// A header that may be given once.
pub(super) fn single_header<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut values = headers.get_all(HeaderName::from_static(name)).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => {
            let detail = format!("the header `{name}` is given twice");
            Err(Problem::new(Kind::InvalidHeader, detail).with("field", name))
        }
        (value, None) => Ok(value),
    }
}
