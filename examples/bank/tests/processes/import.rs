//! A file to import, and what it brings about.

use annals_testing::seed::Seed;

use crate::{bank::Bank, log::Booking, traffic};

const OWN_ACCOUNTS: usize = 5;
const ROWS: usize = 400;

/// A file to import.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) path: String,
    pub(crate) rows: usize,
    /// What its rows bring about; the others are rejected.
    pub(crate) bookings: Vec<Booking>,
    pub(crate) is_done: bool,
}

impl Import {
    /// Rows over accounts of its own, and deposits to those that the clients use.
    pub(crate) fn write(bank: &Bank, number: usize, seed: &mut Seed) -> Self {
        let mut import = Self {
            path: String::new(),
            rows: 0,
            bookings: Vec::new(),
            is_done: false,
        };
        let mut csv = "time,type,account,owner,counterparty,amount\n".to_owned();
        for own in 0..OWN_ACCOUNTS {
            let user = traffic::owner(seed.below(traffic::USERS));
            import.open(&mut csv, &format!("import-{number}-{own}"), &user);
        }
        for _ in 0..ROWS {
            let own = format!("import-{number}-{}", seed.below(OWN_ACCOUNTS));
            // Few different rows, so that equal ones are common.
            let amount = 1 + i64::try_from(seed.below(3)).unwrap();
            match seed.below(10) {
                // More than the account will ever hold.
                0 => import.row(&mut csv, "withdraw", &own, 1_000_000_000_000_000),
                1 => {
                    let shared = seed.below(traffic::ACCOUNTS);
                    let account = format!("{}-{shared}", traffic::FOUNDER);
                    import.deposit(&mut csv, &account, &traffic::owner(shared), amount);
                }
                _ => {
                    let owner = import.owner(&own);
                    import.deposit(&mut csv, &own, &owner, amount);
                }
            }
        }
        import.path = bank.write(&format!("import-{number}.csv"), &csv);
        import
    }

    fn open(&mut self, csv: &mut String, account: &str, owner: &str) {
        csv.push_str(&format!("2026-03-01T09:00:00Z,open,{account},{owner},,\n"));
        self.rows += 1;
        self.booked("opened", account, owner, 0);
    }

    fn deposit(&mut self, csv: &mut String, account: &str, owner: &str, amount: i64) {
        self.row(csv, "deposit", account, amount);
        self.booked("deposited", account, owner, amount);
    }

    fn row(&mut self, csv: &mut String, kind: &str, account: &str, amount: i64) {
        csv.push_str(&format!(
            "2026-03-01T09:00:00Z,{kind},{account},,,{amount}\n"
        ));
        self.rows += 1;
    }

    fn booked(&mut self, what: &str, account: &str, owner: &str, amount: i64) {
        self.bookings.push(Booking {
            account: account.to_owned(),
            what: what.to_owned(),
            owner: owner.to_owned(),
            amount,
        });
    }

    fn owner(&self, account: &str) -> String {
        let mut bookings = self.bookings.iter();
        bookings
            .find(|booking| booking.account == account)
            .unwrap()
            .owner
            .clone()
    }
}
