use annals_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(crate = "annals_core", category = "account")]
enum PathInQuotes {
    Opened,
}

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, category = account)]
enum CategoryWithoutQuotes {
    Opened,
}

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, name = "account")]
enum NameOnEnum {
    Opened,
}

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, category = "account")]
enum AccountEvent {
    #[event(category = "account")]
    Opened,
    #[event(tag = "owner")]
    Renamed { owner: String },
    #[event(nam = "account.shut")]
    Closed,
    #[event(name)]
    Locked,
    #[event(name = "account.a", name = "account.b")]
    Unlocked,
}

fn main() {}
