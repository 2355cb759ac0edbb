//! Money in whole minor units (cents), with checked arithmetic.

use std::fmt;

use annals::{ColumnType, ColumnValue, RowError, Value};
use serde::{Deserialize, Serialize};

/// The largest amount of one transaction, in minor units.
pub const MAX_AMOUNT: i64 = 1_000_000_000_000_000;

/// A balance in minor units.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Money(i64);

/// What one transaction moves: 1 to 10^15 minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Amount(i64);

/// Money that can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// An amount outside its limits.
    #[error("an amount is from 1 to {MAX_AMOUNT} minor units, not {0}")]
    AmountOutOfRange(i64),
    /// A balance beyond what can be counted.
    #[error("the balance would exceed what the bank can count")]
    Overflow,
}

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// In minor units.
    pub const fn minor_units(self) -> i64 {
        self.0
    }

    /// The sum.
    ///
    /// # Errors
    /// When it exceeds what can be counted.
    pub fn plus(self, amount: Amount) -> Result<Self, MoneyError> {
        self.0
            .checked_add(amount.0)
            .map(Self)
            .ok_or(MoneyError::Overflow)
    }

    /// The difference.
    ///
    /// # Errors
    /// When it exceeds what can be counted.
    pub fn minus(self, amount: Amount) -> Result<Self, MoneyError> {
        self.0
            .checked_sub(amount.0)
            .map(Self)
            .ok_or(MoneyError::Overflow)
    }
}

impl Amount {
    /// Checks an amount.
    ///
    /// # Errors
    /// When it is not from 1 to 10^15.
    pub fn new(minor_units: i64) -> Result<Self, MoneyError> {
        match minor_units {
            1..=MAX_AMOUNT => Ok(Self(minor_units)),
            _ => Err(MoneyError::AmountOutOfRange(minor_units)),
        }
    }

    /// In minor units.
    pub const fn minor_units(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Amount {
    type Error = MoneyError;

    fn try_from(minor_units: i64) -> Result<Self, MoneyError> {
        Self::new(minor_units)
    }
}

impl From<Amount> for i64 {
    fn from(amount: Amount) -> Self {
        amount.0
    }
}

impl From<Amount> for Money {
    fn from(amount: Amount) -> Self {
        Self(amount.0)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ColumnValue for Money {
    const TYPE: ColumnType = <i64 as ColumnValue>::TYPE;

    fn to_value(&self) -> Value {
        self.0.to_value()
    }

    fn from_value(value: Value) -> Result<Self, RowError> {
        i64::from_value(value).map(Self)
    }
}
