//! Tables of read models among those of the application, and the people who use them.

use annals_core::{
    Checkpoint, ColumnType, ProjectionState, StoreErrorKind, TableSpec, Target, Value,
};

use super::{
    BALANCES, Bank, Database,
    balances::{BALANCE, OWNER, spec},
};
use crate::conformance::{sample::now, table::*};

const WITH_NOTE: TableSpec = TableSpec {
    name: "balances",
    columns: &[OWNER, nullable("note", ColumnType::Blob), BALANCE],
};

pub async fn a_table_of_the_application_is_left_alone<D: Database>(bank: Bank<D>) {
    bank.execute("CREATE TABLE Balances (mine bigint)").await;
    let refused = bank.store.register(&spec(BALANCES), now()).await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Invalid);
    assert_eq!(bank.store.projection("balances").await.unwrap(), None);
    let still = bank.query("SELECT '' || mine FROM Balances").await;
    assert_eq!(still, [""; 0]);
}

pub async fn a_table_that_somebody_dropped_is_filled_from_the_beginning<D: Database>(
    bank: Bank<D>,
) {
    bank.fill_balances().await;
    bank.execute("DROP TABLE balances").await;
    let record = bank.store.register(&spec(BALANCES), now()).await.unwrap();
    assert_eq!(record.checkpoint, Checkpoint::default());
    assert_eq!(record.state, ProjectionState::Running);
    assert_eq!(bank.balances().await, [""; 0]);
}

pub async fn prepared_statements_of_other_connections_survive_a_swap<D: Database>(bank: Bank<D>) {
    bank.fill_balances().await;
    let mut reader = bank.database.connect().await;
    let statement = "SELECT '' || balance FROM balances WHERE owner = 'alice'";
    assert_eq!(D::query(&mut reader, statement).await, ["5"]);
    let row = vec![text("alice"), Value::Blob(vec![1]), Value::Integer(7)];
    let rebuild = bank.rebuild_balances(WITH_NOTE, vec![row]).await;
    bank.swap_balances(WITH_NOTE, &rebuild).await.unwrap();
    assert_eq!(D::query(&mut reader, statement).await, ["7"]);
}

pub async fn a_rebuild_brings_a_table_of_other_columns<D: Database>(bank: Bank<D>) {
    bank.fill_balances().await;
    let outdated = bank.store.register(&spec(WITH_NOTE), now()).await.unwrap();
    assert_eq!(outdated.state, ProjectionState::Outdated);
    let row = vec![text("alice"), Value::Null, Value::Null];
    let rebuild = bank.rebuild_balances(WITH_NOTE, vec![row.clone()]).await;
    let swapped = bank.swap_balances(WITH_NOTE, &rebuild).await.unwrap();
    assert_eq!(swapped.differences, None, "there is nothing to compare");
    let found = all_rows(&*bank.store, &WITH_NOTE, Target::Live).await;
    assert_eq!(found, [row]);
    let record = bank.store.register(&spec(WITH_NOTE), now()).await.unwrap();
    assert_eq!(record.state, ProjectionState::Running);
}

pub async fn an_index_that_does_not_fit_the_new_columns_stops_the_swap<D: Database>(bank: Bank<D>) {
    const WITHOUT_BALANCE: TableSpec = TableSpec {
        name: "balances",
        columns: &[OWNER],
    };
    bank.fill_balances().await;
    bank.execute("CREATE INDEX rich ON balances (balance)")
        .await;
    let row = vec![text("alice")];
    let rebuild = bank.rebuild_balances(WITHOUT_BALANCE, vec![row]).await;
    let refused = bank.swap_balances(WITHOUT_BALANCE, &rebuild).await;
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("rich"), "{error}");
    assert_eq!(bank.balances().await, ["alice|5"]);
}
