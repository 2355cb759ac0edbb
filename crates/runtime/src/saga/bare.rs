//! A saga of any kind, as far as the engine knows it without the kind's own code.

use annals_core::{
    DecodeError, EventSchema, EventSet, Recorded,
    saga::{Actions, Correlation, Input, ProcessManager, ReactError},
};
use serde_json::Value;

/// Stands for a kind of saga whose code is not asked, as for sagas that it can't replay any more.
///
/// What is outstanding, scheduled and decided is known all the same. What comes in is recorded, for
/// a release that can read the saga: this one never decides anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Bare;

impl ProcessManager for Bare {
    const NAME: &'static str = "bare";
    type Id = String;
    type Start = Value;
    type Event = AnyEvent;
    type SendsTo = ();

    fn correlate(_: &Recorded<AnyEvent>) -> Correlation<String> {
        Correlation::None
    }

    fn evolve(&mut self, _: &Input<'_, Value, AnyEvent>) {}

    fn react(&self, _: &Input<'_, Value, AnyEvent>, _: &mut Actions) -> Result<(), ReactError> {
        Err(ReactError::new("the release that ran it can't replay it"))
    }
}

/// An event of whatever type.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnyEvent;

impl EventSet for AnyEvent {
    fn schemas() -> Vec<&'static EventSchema> {
        Vec::new()
    }

    fn categories() -> Vec<&'static str> {
        Vec::new()
    }

    fn decode(_: &str, _: u32, _: &[u8]) -> Result<Option<Self>, DecodeError> {
        Ok(Some(Self))
    }
}
