use annals_core::Event;
use serde::Serialize;

#[derive(Event)]
#[event(crate = annals_core, category = "account")]
enum AccountEvent {
    Opened,
}

#[derive(Event, Serialize)]
#[event(crate = annals_core, category = "transfer")]
enum TransferEvent {
    Requested,
}

fn main() {}
