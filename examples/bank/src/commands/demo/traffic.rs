//! The demo's deposits, withdrawals and transfers: the same ones for the same seed.

use annals::{App, cli::Meter};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::accounts::{Accounts, FIRST_DEPOSIT, IN_FLIGHT};
use crate::{
    commands::error::BankError,
    domain::{Account, AccountCommand, AccountId, Amount},
};

/// How often the meter moves.
const SHOWN_EVERY: u64 = 100;

/// Makes deposits and withdrawals at random accounts, many at a time.
pub(super) async fn run(
    app: &App,
    accounts: &Accounts,
    traffic: &mut Traffic,
    transactions: u64,
) -> Result<(), BankError> {
    let mut meter = Meter::new("making transactions", "commands");
    let commands = (0..transactions).map(|_| {
        let (number, command) = traffic.next();
        execute(app.clone(), accounts.id(number), command)
    });
    let mut done = 0;
    let mut executing = stream::iter(commands).buffer_unordered(IN_FLIGHT);
    while let Some(()) = executing.try_next().await? {
        done += 1;
        if done % SHOWN_EVERY == 0 {
            meter.at(done, transactions);
        }
    }
    Ok(())
}

/// Executes a command in a task of its own, so that all of the machine's processors take part.
async fn execute(
    app: App,
    id: Result<AccountId, BankError>,
    command: Result<AccountCommand, BankError>,
) -> Result<(), BankError> {
    let (id, command) = (id?, command?);
    let executing = tokio::spawn(async move { app.execute::<Account>(&id, command).await });
    match executing.await {
        Ok(executed) => Ok(executed.map(drop)?),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Movements that the bank accepts in whatever order they arrive, so that the
/// balances at the end depend on the seed alone.
pub(super) struct Traffic {
    random: SplitMix64,
    /// What can still be withdrawn from each account, counting none of the later deposits.
    left: Vec<i64>,
}

impl Traffic {
    pub(super) fn new(accounts: u64, seed: u64) -> Self {
        let accounts = usize::try_from(accounts).unwrap_or(0);
        Self {
            random: SplitMix64(seed),
            left: vec![FIRST_DEPOSIT; accounts],
        }
    }

    fn next(&mut self) -> (u64, Result<AccountCommand, BankError>) {
        let accounts = u64::try_from(self.left.len()).unwrap_or(1).max(1);
        let number = self.random.below(accounts);
        let withdraw = self.random.below(5) < 2;
        let index = usize::try_from(number).unwrap_or(0);
        let most = self.left.get(index).map_or(0, |left| left / 50).min(50_000);
        if !withdraw || most == 0 {
            let amount = self.random.amount(50_000);
            return (
                number,
                amount.map(|amount| AccountCommand::Deposit { amount }),
            );
        }
        let amount = self.random.amount(most);
        if let (Some(left), Ok(amount)) = (self.left.get_mut(index), &amount) {
            *left -= amount.minor_units();
        }
        (
            number,
            amount.map(|amount| AccountCommand::Withdraw { amount }),
        )
    }
}

impl Traffic {
    /// A transfer between two accounts, of no more than the one can spare; to an account that does
    /// not exist when there is but one.
    pub(super) fn transfer(&mut self) -> Result<(u64, u64, Amount), BankError> {
        let accounts = u64::try_from(self.left.len()).unwrap_or(1).max(1);
        let from = self.random.below(accounts);
        let to = match self.random.below(accounts) {
            to if to == from => (to + 1) % accounts.max(2),
            to => to,
        };
        let left = usize::try_from(from)
            .ok()
            .and_then(|from| self.left.get_mut(from));
        let most = left
            .as_deref()
            .map_or(1, |left| (left / 50).clamp(1, 20_000));
        let amount = self.random.amount(most)?;
        if let Some(left) = left {
            *left -= amount.minor_units();
        }
        Ok((from, to, amount))
    }
}

/// Random enough for a story, and the same on every machine (Steele, Lea and Flood, 2014).
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn amount(&mut self, most: i64) -> Result<Amount, BankError> {
        let below = self.below(most.unsigned_abs());
        Ok(Amount::new(1 + i64::try_from(below).unwrap_or(0))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn withdrawals_never_exceed_the_first_deposit() {
        let mut traffic = Traffic::new(3, 7);
        let mut withdrawn = [0; 3];
        for _ in 0..100_000 {
            if let (number, Ok(AccountCommand::Withdraw { amount })) = traffic.next() {
                withdrawn[usize::try_from(number).unwrap()] += amount.minor_units();
            }
        }
        assert!(
            withdrawn
                .iter()
                .all(|sum| (1..=FIRST_DEPOSIT).contains(sum)),
            "{withdrawn:?}"
        );
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let story = |seed| {
            let mut traffic = Traffic::new(10, seed);
            (0..100)
                .map(|_| format!("{:?}", traffic.next()))
                .collect::<Vec<_>>()
        };
        assert_eq!(story(1), story(1));
        assert_ne!(story(1), story(2));
    }
}
