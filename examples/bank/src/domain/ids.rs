//! Who owns what, in which currency.

use std::{fmt, str::FromStr};

use annals::{ColumnType, ColumnValue, Id, RowError, Value};
use serde::{Deserialize, Serialize};

/// An account: what stands after the dash in `account-...`.
#[derive(Id, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(String);

/// A user, who owns accounts.
#[derive(Id, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(String);

/// A transfer of money from one account to another.
#[derive(Id, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(String);

/// A currency, by its three-letter ISO 4217 code; `EUR` unless somebody says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// A text that is not the code of a currency.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three capital letters, such as EUR")]
pub struct InvalidCurrency;

impl Currency {
    /// The code.
    pub fn code(&self) -> &str {
        // Only ASCII capitals get in.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Default for Currency {
    fn default() -> Self {
        Self(*b"EUR")
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    fn from_str(code: &str) -> Result<Self, InvalidCurrency> {
        let code: [u8; 3] = code.as_bytes().try_into().map_err(|_| InvalidCurrency)?;
        let capitals = code.iter().all(u8::is_ascii_uppercase);
        capitals.then_some(Self(code)).ok_or(InvalidCurrency)
    }
}

impl TryFrom<String> for Currency {
    type Error = InvalidCurrency;

    fn try_from(code: String) -> Result<Self, InvalidCurrency> {
        code.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl ColumnValue for Currency {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Value {
        Value::Text(self.code().to_owned())
    }

    fn from_value(value: Value) -> Result<Self, RowError> {
        let code = String::from_value(value)?;
        code.parse()
            .map_err(|error: InvalidCurrency| RowError::new(error.to_string()))
    }
}
