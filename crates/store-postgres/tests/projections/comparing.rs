//! What a rebuild of a projection written in SQL finds when it compares the tables.

use annals_core::{ProjectionError, Recorded};
use annals_postgres::{SqlProjection, sql_projection};
use annals_testing::conformance::database::{AccountEvent, deposited};
use sqlx::PgConnection;

use crate::schema::Bank;

/// A list of movements without a key, whose columns sort by different rules.
struct Journal;

impl SqlProjection for Journal {
    type Event = AccountEvent;
    const NAME: &'static str = "journal";
    const TABLES: &'static [&'static str] = &["journal"];
    const SCHEMA: &'static str = "
        CREATE TABLE journal (owner text COLLATE \"C\", amount text COLLATE \"POSIX\")";

    async fn apply(
        event: &Recorded<AccountEvent>,
        db: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        if let AccountEvent::Deposited { owner, amount } = &event.event {
            sqlx::query("INSERT INTO journal VALUES ($1, $2)")
                .bind(owner)
                .bind(amount.to_string())
                .execute(db)
                .await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn columns_of_several_collations_are_compared() {
    let bank = Bank::open().await;
    let alice = deposited("alice", 5);
    bank.append("account-1", &[alice.clone(), alice, deposited("bob", 1)])
        .await;
    let factory = sql_projection::<Journal>();
    bank.live(&factory).await.run(&bank, 3).await.unwrap();
    bank.execute("INSERT INTO journal VALUES ('alice', '5')")
        .await;
    let mut rebuild = bank.rebuild(&factory).await;
    rebuild.run(&bank, 3).await.unwrap();
    let swapped = rebuild.swap(&factory, Some(5)).await.unwrap();
    let found = swapped.differences.unwrap();
    assert_eq!(found.count, 1);
    assert_eq!(found.samples[0].key, "owner='alice', amount='5'");
}
