use annals_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, category = "account")]
enum AccountEvent {
    PaidIn(u32),
    #[event(name = "account.paid_in")]
    Deposited(u32),
    #[event(formerly = "account.closed")]
    Locked,
    Closed,
    #[event(name = "")]
    Unnamed,
}

fn main() {}
