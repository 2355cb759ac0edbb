//! A line as a command.

use std::{
    fmt,
    io::BufRead,
    path::{Path, PathBuf},
};

use annals::CommandId;
use chrono::DateTime;

use super::{
    chain::Chain,
    fields::{Field, split},
    lines::{LineError, Lines},
};
use crate::{
    commands::error::BankError,
    domain::{AccountCommand, AccountId, Amount, Currency, UserId},
    opening::owner_tag,
};

const HEADER: [&str; 6] = ["time", "type", "account", "owner", "counterparty", "amount"];

/// A row to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) command_id: CommandId,
    pub(super) booked_at: String,
    pub(super) account: AccountId,
    pub(super) order: Order,
}

/// What a row asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// A command to the account.
    Account(AccountCommand),
    /// Money from the account to another.
    Transfer { to: AccountId, amount: Amount },
}

/// A place in a file, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    file: PathBuf,
    line: u64,
    column: usize,
    what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            what,
        } = self;
        write!(f, "{}:{line}:{column}: {what}", file.display())
    }
}

/// What is wrong with a line, and where in it.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    column: usize,
    what: String,
}

/// Reads the rows of a file.
#[derive(Debug)]
pub(super) struct Rows<R> {
    path: PathBuf,
    lines: Lines<R>,
    chain: Chain,
    count: u64,
    file_bytes: u64,
}

impl<R: BufRead> Rows<R> {
    /// Begins to read a file of so many bytes: checks its header.
    pub(super) fn new(path: &Path, reader: R, file_bytes: u64) -> Result<Self, BankError> {
        let mut lines = Lines::new(reader);
        let header = match lines.next() {
            Ok(line) => check_header(line.unwrap_or_default()).map_err(LineError::from),
            Err(error) => Err(error),
        };
        let rows = Self {
            path: path.to_owned(),
            lines,
            chain: Chain::new(),
            count: 0,
            file_bytes,
        };
        match header {
            Ok(()) => Ok(rows),
            Err(error) => Err(rows.error(error)),
        }
    }

    /// How many rows were read.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The last line that was read.
    pub(super) fn line(&self) -> u64 {
        self.lines.number()
    }

    /// About how many rows the file has, going by those read so far.
    pub(super) fn estimate(&self) -> u64 {
        let estimate = u128::from(self.count) * u128::from(self.file_bytes)
            / u128::from(self.lines.bytes().max(1));
        u64::try_from(estimate).unwrap_or(u64::MAX).max(self.count)
    }

    /// The next row, or `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Row>, BankError> {
        match self.parse() {
            Ok(row) => {
                self.count += u64::from(row.is_some());
                Ok(row)
            }
            Err(error) => Err(self.error(error)),
        }
    }

    fn parse(&mut self) -> Result<Option<Row>, LineError> {
        loop {
            let Some(line) = self.lines.next()? else {
                return Ok(None);
            };
            if line.is_empty() {
                continue;
            }
            let fields = split(line).map_err(|bad| Wrong::at(bad.column, bad.what))?;
            let (booked_at, account, order) = parse(&fields)?;
            let command_id = self.chain.next(&fields);
            return Ok(Some(Row {
                command_id,
                booked_at,
                account,
                order,
                line: self.lines.number(),
            }));
        }
    }

    fn error(&self, error: LineError) -> BankError {
        match error {
            LineError::Io(source) => BankError::Read {
                path: self.path.clone(),
                source,
            },
            LineError::Malformed { column, what } => BankError::Malformed(Malformed {
                file: self.path.clone(),
                line: self.lines.number(),
                column,
                what,
            }),
        }
    }
}

impl From<Wrong> for LineError {
    fn from(Wrong { column, what }: Wrong) -> Self {
        Self::Malformed { column, what }
    }
}

impl Wrong {
    fn at(column: usize, what: impl Into<String>) -> Self {
        Self {
            column,
            what: what.into(),
        }
    }

    fn field(field: &Field<'_>, name: &str, problem: impl fmt::Display) -> Self {
        Self::at(field.column, format!("`{name}` {problem}"))
    }
}

fn check_header(line: &str) -> Result<(), Wrong> {
    let fields = split(line).map_err(|bad| Wrong::at(bad.column, bad.what))?;
    let wrong = fields
        .iter()
        .enumerate()
        .find(|(index, field)| HEADER.get(*index) != Some(&&*field.text));
    let column = match wrong {
        Some((_, field)) => field.column,
        None if fields.len() == HEADER.len() => return Ok(()),
        None => line.chars().count() + 1,
    };
    Err(Wrong::at(
        column,
        format!("the header should be `{}`", HEADER.join(",")),
    ))
}

fn parse(fields: &[Field<'_>]) -> Result<(String, AccountId, Order), Wrong> {
    let [time, kind, account, owner, counterparty, amount] = fields else {
        let (column, found) = match fields.get(HEADER.len()) {
            Some(extra) => (extra.column, fields.len()),
            None => (fields.last().map_or(1, |last| last.column), fields.len()),
        };
        let what = format!("the row has {found} columns instead of {}", HEADER.len());
        return Err(Wrong::at(column, what));
    };
    if DateTime::parse_from_rfc3339(&time.text).is_err() {
        let problem = "must be an RFC 3339 time, such as 2026-03-01T09:30:00Z";
        return Err(Wrong::field(time, "time", problem));
    }
    let parsed_account = parse_account(account, "account")?;
    let order = match &*kind.text {
        "open" => {
            empty([(counterparty, "counterparty"), (amount, "amount")])?;
            let owner = parse_owner(owner)?;
            let currency = Currency::default();
            Order::Account(AccountCommand::Open { owner, currency })
        }
        "deposit" => {
            empty([(owner, "owner"), (counterparty, "counterparty")])?;
            let amount = parse_amount(amount)?;
            Order::Account(AccountCommand::Deposit { amount })
        }
        "withdraw" => {
            empty([(owner, "owner"), (counterparty, "counterparty")])?;
            let amount = parse_amount(amount)?;
            Order::Account(AccountCommand::Withdraw { amount })
        }
        "close" => {
            empty([
                (owner, "owner"),
                (counterparty, "counterparty"),
                (amount, "amount"),
            ])?;
            Order::Account(AccountCommand::Close)
        }
        "transfer" => {
            empty([(owner, "owner")])?;
            let to = parse_account(counterparty, "counterparty")?;
            let amount = parse_amount(amount)?;
            Order::Transfer { to, amount }
        }
        _ => {
            let problem = "must be open, deposit, withdraw, transfer or close";
            return Err(Wrong::field(kind, "type", problem));
        }
    };
    Ok((time.text.clone().into_owned(), parsed_account, order))
}

fn empty<const N: usize>(unused: [(&Field<'_>, &str); N]) -> Result<(), Wrong> {
    match unused.iter().find(|(field, _)| !field.text.is_empty()) {
        Some((field, name)) => Err(Wrong::field(
            field,
            name,
            "must be empty in a row of this type",
        )),
        None => Ok(()),
    }
}

fn parse_account(account: &Field<'_>, name: &str) -> Result<AccountId, Wrong> {
    let parsed = account.text.parse();
    parsed.map_err(|error| Wrong::field(account, name, problem_of_id(&account.text, &error)))
}

fn parse_owner(owner: &Field<'_>) -> Result<UserId, Wrong> {
    let wrong = |problem: String| Wrong::field(owner, "owner", problem);
    let parsed = owner.text.parse();
    let parsed = parsed.map_err(|error| wrong(problem_of_id(&owner.text, &error)))?;
    match owner_tag(&parsed) {
        Ok(_) => Ok(parsed),
        Err(error) => Err(wrong(error.problem().to_owned())),
    }
}

fn problem_of_id(text: &str, error: &annals::InvalidId) -> String {
    match error {
        _ if text.is_empty() => "is missing".to_owned(),
        annals::InvalidId::Name(name) => name.problem().to_owned(),
        other => other.to_string(),
    }
}

fn parse_amount(amount: &Field<'_>) -> Result<Amount, Wrong> {
    let wrong = |problem: String| Wrong::field(amount, "amount", problem);
    let minor_units: i64 = match amount.text.parse() {
        Ok(minor_units) => minor_units,
        Err(_) if amount.text.is_empty() => return Err(wrong("is missing".to_owned())),
        Err(_) => {
            let problem = "must be a whole number of minor units, such as 1250 for 12.50";
            return Err(wrong(problem.to_owned()));
        }
    };
    Amount::new(minor_units).map_err(|error| wrong(format!("is out of range: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "2026-03-01T09:30:00Z";

    fn rows(lines: &[&str]) -> Result<Vec<Row>, String> {
        let file = format!("{}\n{}\n", HEADER.join(","), lines.join("\n"));
        let path = Path::new("bank.csv");
        let mut rows = Rows::new(path, file.as_bytes(), 0).map_err(|error| error.to_string())?;
        let mut read = Vec::new();
        while let Some(row) = rows.next().map_err(|error| error.to_string())? {
            read.push(row);
        }
        Ok(read)
    }

    #[test]
    fn every_type_of_row_becomes_its_command() {
        let file = [
            format!("{T},open,a,alice,,"),
            format!("{T},deposit,a,,,1000000000000000"),
            format!("{T},withdraw,a,,,1"),
            String::new(),
            format!("{T},transfer,a,,b,5"),
            format!("{T},close,a,,,"),
        ];
        let rows = rows(&file.each_ref().map(String::as_str)).unwrap();
        let orders: Vec<_> = rows.iter().map(|row| row.order.clone()).collect();
        let amount = |minor_units| Amount::new(minor_units).unwrap();
        assert_eq!(
            orders,
            [
                Order::Account(AccountCommand::Open {
                    owner: "alice".parse().unwrap(),
                    currency: Currency::default()
                }),
                Order::Account(AccountCommand::Deposit {
                    amount: amount(1_000_000_000_000_000)
                }),
                Order::Account(AccountCommand::Withdraw { amount: amount(1) }),
                Order::Transfer {
                    to: "b".parse().unwrap(),
                    amount: amount(5),
                },
                Order::Account(AccountCommand::Close),
            ]
        );
        assert_eq!(rows[3].line, 6);
        assert_eq!(rows[0].booked_at, T);
    }

    #[test]
    fn what_is_wrong_is_found_with_line_and_column() {
        for (row, column, what) in [
            ("yesterday,close,a,,,", 1, "`time` must be"),
            ("2026-03-01T09:30:00Z,steal,a,,,", 22, "`type` must be"),
            ("2026-03-01T09:30:00Z,close,,,,", 28, "`account` is missing"),
            ("2026-03-01T09:30:00Z,open,a,,,", 29, "`owner` is missing"),
            (
                "2026-03-01T09:30:00Z,transfer,a,,,5",
                34,
                "`counterparty` is missing",
            ),
            (
                "2026-03-01T09:30:00Z,deposit,a,,,",
                34,
                "`amount` is missing",
            ),
            (
                "2026-03-01T09:30:00Z,deposit,a,,,1.5",
                34,
                "`amount` must be a whole number",
            ),
            (
                "2026-03-01T09:30:00Z,deposit,a,,,0",
                34,
                "`amount` is out of range",
            ),
            (
                "2026-03-01T09:30:00Z,deposit,a,,,-5",
                34,
                "`amount` is out of range",
            ),
            (
                "2026-03-01T09:30:00Z,deposit,a,,,1000000000000001",
                34,
                "`amount` is out of range",
            ),
            (
                "2026-03-01T09:30:00Z,deposit,a,,,99999999999999999999",
                34,
                "`amount` must be",
            ),
            (
                "2026-03-01T09:30:00Z,deposit,a,bob,,5",
                32,
                "`owner` must be empty",
            ),
            (
                "2026-03-01T09:30:00Z,close,a,,",
                31,
                "the row has 5 columns",
            ),
            (
                "2026-03-01T09:30:00Z,close,a,,,,",
                33,
                "the row has 7 columns",
            ),
            (
                "2026-03-01T09:30:00Z,close,\"a,,,",
                28,
                "this quote is never closed",
            ),
            (
                "2026-03-01T09:30:00Z,close,a\u{7},,,",
                28,
                "`account` has a control character",
            ),
        ] {
            let good = format!("{T},open,a,alice,,");
            let error = rows(&[&good, row]).unwrap_err();
            let expected = format!("failed to import bank.csv:3:{column}: {what}");
            assert!(error.starts_with(&expected), "{row}\n{error}\n{expected}");
        }
    }

    #[test]
    fn another_header_is_refused() {
        for (header, column) in [
            ("", 1),
            ("time,type,account,owner,amount,counterparty", 25),
            ("time,type,account,owner,counterparty", 37),
            ("time,type,account,owner,counterparty,amount,note", 45),
        ] {
            let error = Rows::new(Path::new("f.csv"), header.as_bytes(), 0).unwrap_err();
            let expected = format!("failed to import f.csv:1:{column}: the header should be");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn an_owner_whose_tag_would_be_too_long_is_refused() {
        let row = |bytes| format!("{T},open,a,{},,", "x".repeat(bytes));
        assert_eq!(rows(&[&row(249)]).unwrap().len(), 1);
        let error = rows(&[&row(250)]).unwrap_err();
        let expected = "failed to import bank.csv:2:29: `owner` has ";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn an_account_of_300_bytes_is_refused() {
        let row = format!("{T},close,{},,,", "x".repeat(300));
        let error = rows(&[&row]).unwrap_err();
        assert!(
            error.ends_with("`account` has 300 bytes; 255 are allowed"),
            "{error}"
        );
    }
}
