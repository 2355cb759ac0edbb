use annals_core::{Event, Projection, ProjectionError, Recorded};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize)]
#[event(crate = annals_core, category = "account")]
enum AccountEvent {
    Opened { owner: String },
}

struct UserBalance {
    owner: String,
}

impl Projection for UserBalance {
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
