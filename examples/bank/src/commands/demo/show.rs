//! What the demo shows of what it has done.

use annals::{
    App, ExecuteError,
    cli::{Align, Output, Table, count},
};

use super::accounts::Accounts;
use crate::{
    commands::error::BankError,
    domain::{Account, AccountCommand, Amount, Money, UserBalance},
};

const TOP: usize = 5;
const PAGE: usize = 1_000;

/// Withdraws more than there is, to show that the bank says no.
pub(super) async fn overdraft(
    app: &App,
    accounts: &Accounts,
    output: Output,
) -> Result<(), BankError> {
    let id = accounts.id(0)?;
    let balance = app.load::<Account>(&id).await?.state.balance;
    let amount = Amount::new(balance.minor_units() + 1)?;
    match app
        .execute::<Account>(&id, AccountCommand::Withdraw { amount })
        .await
    {
        Err(ExecuteError::Rejected(no)) => {
            Ok(output.line(&format!("   An overdraft is rejected: {no}"))?)
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(output.line("   An overdraft went through, which should not be")?),
    }
}

/// The users with the highest balances, from the read model.
pub(super) async fn top_balances(app: &App, output: Output) -> Result<(), BankError> {
    let mut top: Vec<UserBalance> = Vec::new();
    let mut after = None;
    loop {
        let rows = app.rows::<UserBalance>(after.as_ref(), PAGE).await?;
        let is_last_page = rows.len() < PAGE;
        after = rows.last().map(|row| row.owner.clone());
        top.extend(rows);
        top.sort_by(|a, b| b.balance.cmp(&a.balance).then(a.owner.cmp(&b.owner)));
        top.truncate(TOP);
        if is_last_page {
            break;
        }
    }
    let mut table = Table::new([
        ("   owner", Align::Left),
        ("accounts", Align::Right),
        ("balance", Align::Right),
        ("position", Align::Right),
    ]);
    for row in top {
        table.row([
            format!("   {}", row.owner),
            row.accounts.to_string(),
            format!("{} {}", in_major_units(row.balance), row.currency),
            count(row.position.get()),
        ]);
    }
    Ok(output.line(&table.to_string())?)
}

/// `1,234.50` of 123450 minor units.
fn in_major_units(money: Money) -> String {
    let minor_units = money.minor_units();
    let sign = if minor_units < 0 { "-" } else { "" };
    let absolute = minor_units.unsigned_abs();
    format!("{sign}{}.{:02}", count(absolute / 100), absolute % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_in_major_units() {
        let money = |minor_units| Amount::new(minor_units).map(Money::from).unwrap();
        assert_eq!(in_major_units(money(5)), "0.05");
        assert_eq!(in_major_units(money(123_456_789)), "1,234,567.89");
    }
}
