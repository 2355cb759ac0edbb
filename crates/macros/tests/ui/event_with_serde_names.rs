use annals_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[event(crate = annals_core, category = "account")]
enum AccountEvent {
    #[serde(rename = "opened")]
    Opened,
    #[serde(alias = "shut")]
    Closed,
    #[serde(skip)]
    Locked,
}

fn main() {}
