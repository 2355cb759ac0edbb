use annals_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core)]
enum AccountEvent {
    Opened,
}

fn main() {}
