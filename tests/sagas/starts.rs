//! The same request for a saga, again and again and from several nodes.

use std::sync::Arc;

use annals::{
    Annals, App, CommandId, StartSagaError, StartedSaga, Store, StreamRead, Version,
    saga::SagaStatus,
};
use tokio::{sync::Barrier, task::JoinSet};

use crate::accounts::{AccountCommand, Transfer, cents, ended, tell, transfer};

on_every_store! {
    the_same_request_ten_times_at_once_is_one_transfer
    the_same_command_id_ten_times_at_once_is_one_transfer
    a_transfer_that_began_without_a_command_id_is_not_begun_again_under_one
}

async fn node(store: &Arc<dyn Store>) -> App {
    let builder = Annals::on(Arc::clone(store)).saga::<Transfer>();
    builder.start().await.unwrap()
}

/// Two nodes that get the same request five times each, all at once.
async fn ten_at_once(store: Arc<dyn Store>, command_id: Option<CommandId>) {
    let nodes = [node(&store).await, node(&store).await];
    let [app, _] = &nodes;
    tell(app, "a", AccountCommand::Change(100)).await;
    let together = Arc::new(Barrier::new(10));
    let mut starts = JoinSet::new();
    for app in nodes.iter().flat_map(|node| vec![node.clone(); 5]) {
        let together = Arc::clone(&together);
        starts.spawn(async move {
            together.wait().await;
            start(&app, command_id).await.unwrap()
        });
    }
    let starts = starts.join_all().await;
    let first: Vec<_> = starts.iter().filter(|start| !start.repeated).collect();
    assert_eq!(first.len(), 1, "{starts:?}");
    for other in &starts {
        let is = (&other.stream, other.position);
        assert_eq!(is, (&first[0].stream, first[0].position));
    }
    assert_eq!(ended(app, "rent").await.status(), SagaStatus::Completed);
    assert!(start(app, command_id).await.unwrap().repeated);
    assert_eq!((cents(app, "a").await, cents(app, "b").await), (0, 100));
    for node in nodes {
        node.shutdown().await;
    }
}

async fn start(app: &App, command_id: Option<CommandId>) -> Result<StartedSaga, StartSagaError> {
    let id = "rent".to_owned();
    let starting = app.start_saga(&id, transfer("a", "b", 100));
    match command_id {
        Some(id) => starting.command_id(id).fingerprint("the rent").await,
        None => starting.await,
    }
}

async fn the_same_request_ten_times_at_once_is_one_transfer(store: Arc<dyn Store>) {
    ten_at_once(store, None).await;
}

async fn the_same_command_id_ten_times_at_once_is_one_transfer(store: Arc<dyn Store>) {
    ten_at_once(store, Some(CommandId::from_key("test", "rent"))).await;
}

async fn a_transfer_that_began_without_a_command_id_is_not_begun_again_under_one(
    store: Arc<dyn Store>,
) {
    let app = node(&store).await;
    tell(&app, "a", AccountCommand::Change(100)).await;
    let first = start(&app, None).await.unwrap();
    assert_eq!(ended(&app, "rent").await.status(), SagaStatus::Completed);
    let read = || StreamRead::after(first.stream.clone(), Version::NONE, 100);
    let before = store.read_stream(read()).await.unwrap();
    for _ in 0..2 {
        let command_id = CommandId::from_key("test", "rent");
        let again = start(&app, Some(command_id)).await.unwrap();
        assert!(again.repeated);
        assert_eq!(
            (&again.stream, again.position),
            (&first.stream, first.position)
        );
    }
    assert_eq!(store.read_stream(read()).await.unwrap(), before);
    assert_eq!((cents(&app, "a").await, cents(&app, "b").await), (0, 100));
    app.shutdown().await;
}
