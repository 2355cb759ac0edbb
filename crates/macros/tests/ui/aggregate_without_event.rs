use annals_core::{Aggregate, Id};

#[derive(Id, Clone)]
#[id(crate = annals_core)]
struct LampId(String);

enum LampEvent {
    Lit,
}

#[derive(Clone, Default)]
struct Lamp;

impl Aggregate for Lamp {
    type Id = LampId;
    type Command = ();
    type Event = LampEvent;
    type Error = std::fmt::Error;

    fn decide(&self, _: ()) -> Result<Vec<LampEvent>, std::fmt::Error> {
        Ok(vec![LampEvent::Lit])
    }

    fn evolve(&mut self, _: &LampEvent) {}
}

fn main() {}
