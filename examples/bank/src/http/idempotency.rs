//! `Idempotency-Key`: the same request again is answered as the first time, and changes nothing.

use annals::{CommandId, Id};
use axum::http::{HeaderMap, Method, Uri};
use uuid::Uuid;

use super::{
    extract::single_header,
    problem::{Kind, Problem},
};

/// The longest key.
const MAX_KEY_BYTES: usize = 255;
/// All keys are of one scope, so that a key used at one path is known at every other, too.
const SCOPE: &str = "bank http";

/// The command that an idempotency key stands for.
#[derive(Clone, Debug)]
pub(super) struct Once {
    /// The command id.
    pub(super) id: CommandId,
    /// The request that the key belongs to: method, path and body.
    pub(super) fingerprint: Vec<u8>,
}

impl Once {
    /// Reads the header, if there is one.
    pub(super) fn of(
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Option<Self>, Problem> {
        let Some(key) = single_header(headers, "idempotency-key")? else {
            return Ok(None);
        };
        let visible = key.as_bytes().iter().all(u8::is_ascii_graphic);
        let Ok(key) = key.to_str() else {
            return Err(invalid());
        };
        if !visible || !(1..=MAX_KEY_BYTES).contains(&key.len()) {
            return Err(invalid());
        }
        let mut fingerprint = format!("{method} {}\n", uri.path()).into_bytes();
        fingerprint.extend_from_slice(body);
        Ok(Some(Self {
            id: CommandId::from_key(SCOPE, key),
            fingerprint,
        }))
    }

    /// The id of something new that the client leaves to the server. It comes from the key, so
    /// that the same request again meets the same thing.
    fn id_of_new(&self, what: &str) -> Uuid {
        Uuid::new_v5(&self.id.uuid(), what.as_bytes())
    }
}

/// The id of something new, such as an `account`, from the client or made up.
pub(super) fn new_id<I: Id>(
    given: Option<I>,
    what: &str,
    once: Option<&Once>,
) -> Result<I, Problem> {
    let made_up = || once.map_or_else(Uuid::new_v4, |once| once.id_of_new(what));
    match given {
        Some(id) => Ok(id),
        None => I::from_text(&made_up().to_string()).map_err(|error| Problem::internal(&error)),
    }
}

fn invalid() -> Problem {
    let detail = format!("Idempotency-Key must be 1 to {MAX_KEY_BYTES} visible ASCII characters");
    Problem::new(Kind::InvalidHeader, detail).with("field", "Idempotency-Key")
}
