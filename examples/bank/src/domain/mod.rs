//! What the bank knows and decides: money, accounts, transfers, and the balance of each user.

pub mod account;
pub mod ids;
pub mod money;
pub mod transfer;
pub mod user_balance;

pub use account::{Account, AccountCommand, AccountError, AccountEvent, Status};
pub use ids::{AccountId, Currency, TransferId, UserId};
pub use money::{Amount, Money, MoneyError};
pub use transfer::{Transfer, TransferStatus};
pub use user_balance::UserBalance;
