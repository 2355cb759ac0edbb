//! A seeded generator (`SplitMix64`), written out so that a seed printed today
//! still names the same crash image after any dependency update.

#[derive(Debug)]
pub(crate) struct Prng(u64);

impl Prng {
    /// A generator of its own for every `stream` of a seed: a single crash
    /// image can be rebuilt without replaying the draws of those before it.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mixer = Self(seed);
        let offset = mixer.next();
        let mut generator = Self(offset ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03));
        generator.next();
        generator
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`. The bias of the remainder is irrelevant for the
    /// small bounds used here.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let remainder = self.next() % (bound as u64);
        usize::try_from(remainder).expect("a remainder is smaller than its usize divisor")
    }

    /// True in `numerator` of `denominator` cases.
    pub(crate) fn chance(&mut self, numerator: usize, denominator: usize) -> bool {
        self.below(denominator) < numerator
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
