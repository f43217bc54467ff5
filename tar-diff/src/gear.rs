//! A rolling hash: the places where it takes certain values depend on content alone, so equal
//! content is cut and sampled alike wherever it lies.
//!
//! "Gear" of Xia et al., "Ddelta" (2014): one shift and one addition a byte.

/// A value for each byte, random and fixed.
const TABLE: [u64; 256] = table();

/// splitmix64 (Steele, Lea, Flood 2014) from seed 0.
const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state = 0u64;
    let mut index = 0;
    while index < table.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        table[index] = mix(state);
        index += 1;
    }
    table
}

/// Spreads the entropy of a value over all its bits.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The hash of the last `64 / SHIFT` bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gear<const SHIFT: u32>(u64);

impl<const SHIFT: u32> Gear<SHIFT> {
    /// Takes in one more byte and gives the hash. Its high bits depend on all bytes of the window.
    pub(crate) fn roll(&mut self, byte: u8) -> u64 {
        self.0 = (self.0 << SHIFT).wrapping_add(TABLE[byte as usize]);
        self.0
    }
}
