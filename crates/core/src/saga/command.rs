//! A command as it is kept until it is carried out.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    aggregate::Aggregate,
    event::Event,
    id::{Id, check_id},
};

use super::process::ReactError;

/// A command with its receiver, as it stands in a saga's stream until it is carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SagaCommand {
    /// The aggregate: the category of its streams.
    pub aggregate: String,
    /// Which one.
    pub id: String,
    /// The command, as serde writes it.
    pub body: Value,
}

impl SagaCommand {
    /// The command for one aggregate instance.
    ///
    /// # Errors
    /// When the id's text breaks the rules of ids, or the command does not serialise to JSON.
    pub fn to<A>(id: &A::Id, command: &A::Command) -> Result<Self, ReactError>
    where
        A: Aggregate,
        A::Command: Serialize,
    {
        let id = id.to_text().into_owned();
        check_id(&id)?;
        let body = serde_json::to_value(command).map_err(|error| {
            let aggregate = A::Event::CATEGORY;
            ReactError::new(format!(
                "a command for `{aggregate}` does not serialise to JSON: {error}"
            ))
        })?;
        Ok(Self {
            aggregate: A::Event::CATEGORY.to_owned(),
            id,
            body,
        })
    }

    /// The receiver's stream, for people: `account-7f3a`.
    #[must_use]
    pub fn receiver(&self) -> String {
        format!("{}-{}", self.aggregate, self.id)
    }
}
