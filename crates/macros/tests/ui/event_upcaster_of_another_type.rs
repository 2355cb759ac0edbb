use annals_core::Event;
use serde::{Deserialize, Serialize};

fn add_currency(old: serde_json::Value) -> serde_json::Value {
    old
}

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, category = "account")]
enum AccountEvent {
    #[event(version = 2, upcast(add_currency))]
    Opened,
}

fn main() {}
