use annals_core::{Event, Projection, ProjectionError, ReadModel, Recorded};
use serde::{Deserialize, Serialize};

#[derive(ReadModel)]
#[read_model(crate = annals_core)]
struct WithoutKey {
    owner: String,
    balance: i64,
}

#[derive(ReadModel)]
#[read_model(crate = annals_core)]
struct OptionalKey {
    #[key]
    owner: Option<String>,
    #[key = "second"]
    account: String,
}

type Maybe = Option<String>;

#[derive(ReadModel)]
#[read_model(crate = annals_core)]
struct AliasedKey {
    #[key]
    owner: Maybe,
}

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, category = "account")]
enum AccountEvent {
    Opened { owner: String },
}

// What needs a read model is no error of its own.
impl Projection for WithoutKey {
    type Event = AccountEvent;

    fn keys(event: &Recorded<AccountEvent>) -> impl IntoIterator<Item = String> {
        let AccountEvent::Opened { owner } = &event.event;
        [owner.clone()]
    }

    fn fold(
        _: &String,
        row: Option<Self>,
        _: &Recorded<AccountEvent>,
    ) -> Result<Option<Self>, ProjectionError> {
        Ok(row)
    }
}

fn main() {}
