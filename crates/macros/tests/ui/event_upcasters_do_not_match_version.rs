use annals_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, category = "account")]
enum AccountEvent {
    #[event(version = 3, upcast(add_currency))]
    Opened,
    #[event(version = 2)]
    Deposited(u32),
    #[event(upcast(add_currency))]
    Withdrawn(u32),
    #[event(version = 0)]
    Closed,
    #[event(version = "2", upcast(add_currency))]
    Locked,
    #[event(version = 2, upcast(|payload| Ok(())))]
    Unlocked,
}

fn main() {}
