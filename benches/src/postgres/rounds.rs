//! What the rounds of a contestant gave.

use std::time::Duration;

use crate::{
    Outcome,
    measure::{median, per_second, quantile},
    report::Contestant,
};

/// Rates and latencies, round by round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds {
    pub(crate) rates: Vec<f64>,
    pub(crate) p50: Vec<f64>,
    pub(crate) p99: Vec<f64>,
}

impl Rounds {
    /// A round in which so many things were done with these latencies, in milliseconds.
    pub(crate) fn add(&mut self, count: u64, elapsed: Duration, latencies: &[f64]) {
        self.rates.push(per_second(count, elapsed));
        self.p50.push(quantile(latencies, 0.5));
        self.p99.push(quantile(latencies, 0.99));
    }

    /// A round in which every latency is one thing done.
    pub(crate) fn add_each(&mut self, elapsed: Duration, latencies: &[f64]) -> Outcome<()> {
        self.add(u64::try_from(latencies.len())?, elapsed, latencies);
        Ok(())
    }

    pub(crate) fn contestant(&self, name: impl Into<String>) -> Contestant {
        let [p50, p99] = [&self.p50, &self.p99].map(|all| median(all));
        let notes = format!("p50 {p50:.1} ms, p99 {p99:.1} ms");
        Contestant::new(name, self.rates.clone(), notes)
    }
}

/// Numbers that look random.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}
