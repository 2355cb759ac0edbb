//! Random choices that can be made again: the seed is printed, and can be given.

use std::hash::{BuildHasher, RandomState};

/// The variable that gives the seed of a run: `ANNALS_SEED=123 cargo test`.
pub const SEED_VARIABLE: &str = "ANNALS_SEED";

/// A number from [`SEED_VARIABLE`], or a fresh one; it is printed, so a failing test shows it.
///
/// # Panics
/// When the variable is set to something that is not a number.
#[must_use]
pub fn printed() -> u64 {
    let number = match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().expect("the seed is a number"),
        Err(_) => RandomState::new().hash_one(0_u8),
    };
    println!("{SEED_VARIABLE}={number}");
    number
}

/// A small source of pseudo-random numbers (SplitMix64) that starts from a printed seed. It is
/// written out, so that a seed makes the same choices after any update of dependencies.
#[derive(Clone, Debug)]
pub struct Seed {
    state: u64,
}

impl Seed {
    /// A seed from the number that [`printed`] gives.
    ///
    /// # Panics
    /// When the variable is set to something that is not a number.
    #[must_use]
    pub fn printed() -> Self {
        Self::new(printed())
    }

    /// A seed with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self { state: number }
    }

    /// One of many seeds that come from one number, each as good as a seed of its own.
    #[must_use]
    pub fn apart(number: u64, which: u64) -> Self {
        let offset = Self::new(number).number();
        let mut seed = Self::new(offset ^ which.wrapping_mul(0xd1b5_4a32_d192_ed03));
        seed.number();
        seed
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; zero when the bound is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % bound).unwrap_or(0)
    }

    /// True in `numerator` of `denominator` cases.
    pub fn chance(&mut self, numerator: usize, denominator: usize) -> bool {
        self.below(denominator) < numerator
    }

    /// Random bytes.
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Bytes for another generator's seed.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.number().to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Seed;

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let choices = |number| {
            let mut seed = Seed::new(number);
            [seed.number(), seed.number(), seed.number()]
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
    }

    #[test]
    fn a_choice_is_below_its_bound() {
        let mut seed = Seed::new(1);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[seed.below(5)] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(seed.below(0), 0);
    }
}
