//! What must always hold of the bank, for `bank store verify`.

mod balances;
mod money;
mod transfers;

use annals::cli::LogCheck;

pub use balances::UserBalancesAreFolded;
pub use money::MoneyIsConserved;

/// All of the bank's checks.
pub fn all() -> Vec<Box<dyn LogCheck>> {
    vec![
        Box::new(MoneyIsConserved::default()),
        Box::new(UserBalancesAreFolded::default()),
    ]
}
