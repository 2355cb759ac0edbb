//! Events that a projection does not know.

use annals_core::{Position, Projection, ProjectionError, ReadModel, Recorded, UnknownEvents};
use annals_runtime::CaughtUpError;

use crate::bank::{self, AccountEvent, Balance};

#[derive(ReadModel, Clone, Debug, PartialEq)]
#[read_model(crate = annals_core)]
struct Total {
    #[key]
    id: i64,
    events: i64,
}

impl Projection for Total {
    type Event = AccountEvent;
    const UNKNOWN: UnknownEvents = UnknownEvents::Ignore;

    fn keys(_: &Recorded<AccountEvent>) -> impl IntoIterator<Item = i64> {
        [1, 1] // twice the same: the event still counts once
    }

    fn fold(
        id: &i64,
        row: Option<Self>,
        _: &Recorded<AccountEvent>,
    ) -> Result<Option<Self>, ProjectionError> {
        let events = row.map_or(0, |row| row.events) + 1;
        Ok(Some(Self { id: *id, events }))
    }
}

#[tokio::test]
async fn an_unknown_event_stops_a_projection() {
    let store = bank::store();
    let app = bank::start::<Balance>(&store).await;
    let position = bank::append_unknown(&store, "alice").await;
    match app.caught_up::<Balance>(position).await.unwrap_err() {
        CaughtUpError::Failed { failure, .. } => {
            assert_eq!(failure.position, position);
            assert_eq!(failure.event_type, "account.renamed");
            assert_eq!(failure.stream, "account-alice");
        }
        other => panic!("{other}"),
    }
    let record = bank::record::<Balance>(&store).await;
    assert_eq!(record.checkpoint.position, Position::START);
}

#[tokio::test]
async fn an_unknown_event_is_passed_over_where_the_projection_says_so() {
    let store = bank::store();
    let app = bank::start::<Total>(&store).await;
    bank::append_unknown(&store, "alice").await;
    let position = bank::deposit(&store, "alice", 5).await;
    app.caught_up::<Total>(position).await.unwrap();
    let row = app.row::<Total>(&1).await.unwrap();
    assert_eq!(row, Some(Total { id: 1, events: 1 }));
}
