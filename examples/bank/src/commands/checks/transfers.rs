//! What has become of every transfer.

use std::collections::{BTreeMap, HashMap};

use annals::StreamName;

use crate::domain::{AccountEvent, AccountId, Amount, Currency, TransferId};

/// How far every transfer of the log has come, which is the memory that checking takes.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    stages: HashMap<TransferId, Stage>,
    /// What is in flight, in whatever currency.
    sum: i128,
}

/// How far a transfer has come.
#[derive(Debug)]
enum Stage {
    /// The money has left, and has not arrived.
    InFlight(Sent),
    /// It arrived.
    Received,
    /// It came back.
    Returned,
}

/// A transfer as it was sent.
#[derive(Debug)]
struct Sent {
    from: StreamName,
    to: AccountId,
    amount: Amount,
    currency: Currency,
}

/// What is in flight in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InFlight {
    pub(super) transfers: u64,
    pub(super) sum: i128,
}

impl Transfers {
    /// What is in flight, in whatever currency.
    pub(super) fn sum(&self) -> i128 {
        self.sum
    }

    /// What is in flight, by currency.
    pub(super) fn in_flight(&self) -> BTreeMap<Currency, InFlight> {
        let mut flights = BTreeMap::<_, InFlight>::new();
        for stage in self.stages.values() {
            if let Stage::InFlight(sent) = stage {
                let flight = flights.entry(sent.currency).or_default();
                flight.transfers += 1;
                flight.sum += i128::from(sent.amount.minor_units());
            }
        }
        flights
    }

    /// Takes in what happened to an account, or says what is wrong with it.
    pub(super) fn check(
        &mut self,
        stream: &StreamName,
        currency: Currency,
        event: &AccountEvent,
    ) -> Result<(), String> {
        match event {
            AccountEvent::TransferSent {
                transfer,
                to,
                amount,
                ..
            } => {
                let sent = Sent {
                    from: stream.clone(),
                    to: to.clone(),
                    amount: *amount,
                    currency,
                };
                self.send(transfer, sent)
            }
            AccountEvent::TransferReceived {
                transfer, amount, ..
            } => {
                let money = (*amount, currency);
                self.end(transfer, Stage::Received, stream, money)
            }
            AccountEvent::TransferReturned {
                transfer, amount, ..
            } => {
                let money = (*amount, currency);
                self.end(transfer, Stage::Returned, stream, money)
            }
            _ => Ok(()),
        }
    }

    fn send(&mut self, transfer: &TransferId, sent: Sent) -> Result<(), String> {
        if self.stages.contains_key(transfer) {
            return Err(format!("transfer `{transfer}` is sent a second time"));
        }
        if sent.from.id() == sent.to.as_ref() {
            return Err(format!("transfer `{transfer}` is sent to where it is from"));
        }
        self.sum += i128::from(sent.amount.minor_units());
        self.stages.insert(transfer.clone(), Stage::InFlight(sent));
        Ok(())
    }

    /// Ends a transfer at an account, with so much of a currency.
    fn end(
        &mut self,
        transfer: &TransferId,
        end: Stage,
        stream: &StreamName,
        (amount, currency): (Amount, Currency),
    ) -> Result<(), String> {
        let (is, word) = (
            format!("transfer `{transfer}` is {}", end.word()),
            stream.id(),
        );
        let sent = match self.stages.get(transfer) {
            Some(Stage::InFlight(sent)) => sent,
            Some(ended) => return Err(format!("{is}, but was {} before", ended.word())),
            None => return Err(format!("{is}, but was never sent")),
        };
        let (account, by) = (word, sent.from.id());
        match end {
            Stage::Returned if account != by => {
                return Err(format!("{is} to `{account}`, but was sent by `{by}`"));
            }
            Stage::Received if account != sent.to.as_ref() => {
                let to = &sent.to;
                return Err(format!("{is} by `{account}`, but was sent to `{to}`"));
            }
            _ => {}
        }
        if (sent.amount, sent.currency) != (amount, currency) {
            let (had, of) = (sent.amount, sent.currency);
            return Err(format!(
                "{is} with {amount} {currency}, but was sent with {had} {of}"
            ));
        }
        self.sum -= i128::from(amount.minor_units());
        self.stages.insert(transfer.clone(), end);
        Ok(())
    }
}

impl Stage {
    fn word(&self) -> &'static str {
        match self {
            Self::InFlight(_) => "sent",
            Self::Received => "received",
            Self::Returned => "returned",
        }
    }
}
