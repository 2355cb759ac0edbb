use annals_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, category = "account")]
struct Opened {
    owner: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, category = "account")]
enum Closed<T> {
    With(T),
}

fn main() {}
