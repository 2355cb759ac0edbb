//! `/users`: what a user has, from the read model.

use annals::Position;
use axum::{Json, extract::State};
use serde::Serialize;

use super::{
    Api,
    extract::{IdPath, Numbers},
    problem::{Kind, Problem},
};
use crate::domain::{Money, UserBalance, UserId};

#[derive(Debug, Serialize)]
pub(super) struct BalanceView {
    owner: UserId,
    balance: Money,
    accounts: i64,
    position: Position,
}

/// `GET /users/{owner}/balance`
pub(super) async fn balance(
    State(api): State<Api>,
    IdPath(owner): IdPath<UserId>,
    query: Numbers,
) -> Result<Json<BalanceView>, Problem> {
    if let Some(position) = query.only(&["at_least"])?.get("at_least") {
        let within = api.limits.caught_up_within;
        api.app
            .caught_up_within::<UserBalance>(Position::new(position), within)
            .await?;
    }
    let Some(row) = api.app.row::<UserBalance>(&owner).await? else {
        return Err(Problem::new(
            Kind::UserNotFound,
            "nobody of this name has an account",
        ));
    };
    Ok(Json(BalanceView {
        owner: row.owner,
        balance: row.balance,
        accounts: row.accounts,
        position: row.position,
    }))
}
