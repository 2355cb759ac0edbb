use annals_core::{Event, EventSet};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, category = "account")]
enum AccountEvent {
    Opened,
}

#[derive(EventSet)]
#[event_set(crate = annals_core)]
struct Both(AccountEvent);

#[derive(EventSet)]
#[event_set(crate = annals_core, category = "bank")]
enum BankEvent {
    Account(AccountEvent),
    Again(AccountEvent),
    Closed,
    Moved { from: AccountEvent },
}

fn main() {}
