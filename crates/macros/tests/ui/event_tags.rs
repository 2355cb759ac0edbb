use annals_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Owner {
    name: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, category = "account")]
enum AccountEvent {
    Opened {
        #[event(tag)]
        owner: Owner,
    },
}

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, category = "user")]
enum UserEvent {
    Joined(#[event(tag)] String),
    Left {
        #[event(tag = "user:name")]
        user: String,
        #[event(name = "why")]
        reason: String,
    },
}

fn main() {}
