//! A binary range coder with adaptive models, as in LZMA, with finer probabilities: most of what it
//! codes here comes as expected, and ought to cost nothing.
//!
//! Martin, G. N. N.: Range encoding, 1979. The carry is handled as in Pavlov's LZMA.

/// The likelihood that the next bit of its kind is 0: two averages, of which one learns fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model {
    fast: u16,
    slow: u16,
    seen: u8,
}

const FAST_RATE: u8 = 4;
const SLOW_RATE: u8 = 7;
/// Below this the range has too few bits for a probability.
const TOP: u32 = 1 << 24;

impl Model {
    pub(crate) const NEW: Self = Self { fast: 1 << 15, slow: 1 << 15, seen: 0 };

    /// Of 2^16.
    fn zero(self) -> u32 {
        (u32::from(self.fast) + u32::from(self.slow)) / 2
    }

    fn learn(&mut self, bit: bool) {
        // The first bits count for much: recipes are short.
        let rate = self.seen + 1;
        let (fast, slow) = (rate.min(FAST_RATE), rate.min(SLOW_RATE));
        if bit {
            self.fast -= self.fast >> fast;
            self.slow -= self.slow >> slow;
        } else {
            self.fast += (u16::MAX - self.fast) >> fast;
            self.slow += (u16::MAX - self.slow) >> slow;
        }
        self.seen = rate.min(SLOW_RATE);
    }
}

/// Codes bits in one direction. Both directions run the same code: an encoder is given each bit and
/// returns it, a decoder returns the bit that was given.
pub(crate) trait Coder {
    fn bit(&mut self, model: &mut Model, bit: bool) -> bool;

    /// Tells whether the bits come from a recipe, and the values that are passed mean nothing.
    fn is_decoder(&self) -> bool;

    /// Bits that are as often 0 as 1, the highest first.
    fn raw(&mut self, value: u32, count: u32) -> u32 {
        let mut result = 0;
        for index in (0..count).rev() {
            let mut model = Model::NEW;
            let bit = self.bit(&mut model, value >> index & 1 == 1);
            result = result << 1 | u32::from(bit);
        }
        result
    }

    /// A number under 2^`bits` with a model for each of its prefixes: 2^`bits` models.
    fn tree(&mut self, models: &mut [Model], value: u32, bits: u32) -> u32 {
        let mut node = 1;
        for index in (0..bits).rev() {
            let bit = self.bit(&mut models[node as usize], value >> index & 1 == 1);
            node = node << 1 | u32::from(bit);
        }
        node - (1 << bits)
    }

    /// A number under 2^24: how many bits it has in a tree of 32 models, then the bits.
    fn number(&mut self, models: &mut [Model], value: u32) -> u32 {
        let size = self.tree(models, 32 - value.leading_zeros(), 5).min(24);
        match size {
            0 => 0,
            _ => 1 << (size - 1) | self.raw(value & ((1 << (size - 1)) - 1), size - 1),
        }
    }
}

/// Writes bits.
pub(crate) struct Encoder {
    low: u64,
    range: u32,
    cache: u8,
    /// Bytes that wait for a carry: the cache, and so many of 0xff less one behind it.
    waiting: u64,
    bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) const fn new() -> Self {
        Self { low: 0, range: u32::MAX, cache: 0, waiting: 1, bytes: Vec::new() }
    }

    /// Bytes so far.
    pub(crate) const fn size(&self) -> usize {
        self.bytes.len()
    }

    fn shift(&mut self) {
        if self.low < 0xff00_0000 || self.low > 0xffff_ffff {
            let carry = u8::from(self.low > 0xffff_ffff);
            self.bytes.push(self.cache.wrapping_add(carry));
            let waiting = usize::try_from(self.waiting - 1).unwrap_or(0);
            self.bytes.resize(self.bytes.len() + waiting, carry.wrapping_sub(1));
            self.waiting = 0;
            self.cache = self.low.to_le_bytes()[3];
        }
        self.waiting += 1;
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift();
        }
        // A decoder reads zeros behind the end.
        while self.bytes.last() == Some(&0) {
            self.bytes.pop();
        }
        self.bytes
    }
}

impl Coder for Encoder {
    fn bit(&mut self, model: &mut Model, bit: bool) -> bool {
        let bound = (self.range >> 16) * model.zero();
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
        } else {
            self.range = bound;
        }
        model.learn(bit);
        while self.range < TOP {
            self.range <<= 8;
            self.shift();
        }
        bit
    }

    fn is_decoder(&self) -> bool {
        false
    }
}

/// Reads bits.
pub(crate) struct Decoder<'b> {
    code: u32,
    range: u32,
    bytes: std::slice::Iter<'b, u8>,
}

impl<'b> Decoder<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        let mut decoder = Self { code: 0, range: u32::MAX, bytes: bytes.iter() };
        for _ in 0..5 {
            decoder.shift();
        }
        decoder
    }

    fn shift(&mut self) {
        self.code = self.code << 8 | u32::from(self.bytes.next().copied().unwrap_or(0));
    }
}

impl Coder for Decoder<'_> {
    fn bit(&mut self, model: &mut Model, _: bool) -> bool {
        let bound = (self.range >> 16) * model.zero();
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        model.learn(bit);
        while self.range < TOP {
            self.range <<= 8;
            self.shift();
        }
        bit
    }

    fn is_decoder(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    fn walk(coder: &mut impl Coder, values: &[(u32, u32)]) -> Vec<u32> {
        let (mut tree, mut number) = (vec![Model::NEW; 256], vec![Model::NEW; 32]);
        let mut code = |(value, kind): &(u32, u32)| match kind {
            0 => coder.raw(value & 0xff, 8),
            1 => coder.tree(&mut tree, value & 0xff, 8),
            _ => coder.number(&mut number, value & 0x00ff_ffff),
        };
        values.iter().map(&mut code).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(256) })]

        #[test]
        fn what_is_coded_is_decoded(values in prop::collection::vec((any::<u32>(), 0..3_u32), 0..500)) {
            let mut encoder = Encoder::new();
            let given = walk(&mut encoder, &values);
            let bytes = encoder.finish();
            prop_assert_eq!(walk(&mut Decoder::new(&bytes), &values), given);
        }
    }

    #[test]
    fn what_is_expected_costs_little() {
        let mut encoder = Encoder::new();
        let mut model = Model::NEW;
        for _ in 0..1 << 20 {
            encoder.bit(&mut model, false);
        }
        assert!(encoder.finish().len() < 300);
    }
}
