//! What stands beside every event: who, why, and in which trace.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::id::{CausationId, CorrelationId};

/// What is known about an event besides the event itself.
///
/// The command engine fills it in; an application adds the actor and its own entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Joins everything that one request from outside brought about.
    pub correlation_id: CorrelationId,
    /// The command or event that directly caused this one.
    pub causation_id: CausationId,
    /// On whose behalf, in the application's own terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The distributed trace it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// Whatever else the application wants to keep.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
}

impl Metadata {
    /// Metadata that says only what caused the event.
    #[must_use]
    pub fn caused_by(causation_id: CausationId, correlation_id: CorrelationId) -> Self {
        Self {
            correlation_id,
            causation_id,
            actor: None,
            trace: None,
            extra: BTreeMap::new(),
        }
    }
}

impl Metadata {
    /// How many bytes of text the application has put in.
    pub(crate) fn free_bytes(&self) -> usize {
        let actor = self.actor.as_ref().map_or(0, String::len);
        let trace = self.trace.as_ref().map_or(0, |trace| {
            trace.traceparent.len() + trace.tracestate.as_ref().map_or(0, String::len)
        });
        let extra = self
            .extra
            .iter()
            .map(|(key, value)| key.len() + value.len());
        actor + trace + extra.sum::<usize>()
    }
}

/// The part of metadata that a store keeps as one JSON text: all but the two ids.
#[derive(Default, Serialize, Deserialize)]
struct FreeForm<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<Cow<'a, TraceContext>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extra: Option<Cow<'a, BTreeMap<String, String>>>,
}

impl Metadata {
    /// All but the two ids as a JSON text, for stores; none when there is nothing to keep.
    ///
    /// # Errors
    /// Never in practice: texts always serialise.
    pub fn free_form(&self) -> Result<Option<String>, serde_json::Error> {
        if self.actor.is_none() && self.trace.is_none() && self.extra.is_empty() {
            return Ok(None);
        }
        let kept = FreeForm {
            actor: self.actor.as_deref().map(Cow::Borrowed),
            trace: self.trace.as_ref().map(Cow::Borrowed),
            extra: (!self.extra.is_empty()).then_some(Cow::Borrowed(&self.extra)),
        };
        serde_json::to_string(&kept).map(Some)
    }

    /// Metadata from its ids and what [`free_form`](Self::free_form) gave.
    ///
    /// # Errors
    /// When the text is no such JSON.
    pub fn with_free_form(
        correlation_id: CorrelationId,
        causation_id: CausationId,
        text: Option<&str>,
    ) -> Result<Self, serde_json::Error> {
        let kept: FreeForm<'_> = match text {
            Some(text) => serde_json::from_str(text)?,
            None => FreeForm::default(),
        };
        Ok(Self {
            correlation_id,
            causation_id,
            actor: kept.actor.map(Cow::into_owned),
            trace: kept.trace.map(Cow::into_owned),
            extra: kept.extra.map(Cow::into_owned).unwrap_or_default(),
        })
    }
}

/// A W3C trace context, as its two HTTP headers (<https://www.w3.org/TR/trace-context/>).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The `traceparent` header.
    pub traceparent: String,
    /// The `tracestate` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
}
