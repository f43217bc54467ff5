//! The end of a block, by how the tokens that were chosen last differ from those before, and the shortest match of it.

/// Kinds of literals, by two of their bits at the top and the one at the bottom, and of matches: short and long.
const LITERALS: usize = 8;
const KINDS: usize = LITERALS + 2;
/// A match of so many bytes is long.
const LONG: usize = 9;
/// Tokens of a group that is compared with those before.
const GROUP_SIZE: u32 = 512;
/// Plain bytes and tokens up to which a block ends less readily.
const SHORT_SIZE: usize = 10_000;
const SHORT_COUNT: u32 = 8192;
/// Plain bytes over which the shortest match is chosen, and those for which it is not.
const START_SIZE: usize = 4096;
pub(in super::super) const TINY: usize = 512;

/// The numbers of tokens of each kind.
#[derive(Debug, Default)]
pub(super) struct Split {
    before: [u32; KINDS],
    /// Those that were chosen since a group was compared last.
    last: [u32; KINDS],
    count_before: u32,
    count_last: u32,
}

impl Split {
    #[inline]
    pub(super) fn literal(&mut self, byte: u8) {
        self.last[usize::from(byte >> 5 & 6 | byte & 1)] += 1;
        self.count_last += 1;
    }

    #[inline]
    pub(super) fn reference(&mut self, size: usize) {
        self.last[LITERALS + usize::from(size >= LONG)] += 1;
        self.count_last += 1;
    }

    /// Compares a group, if there are enough tokens; tells whether the block of `size` plain bytes ends here.
    pub(super) fn ends(&mut self, size: usize) -> bool {
        if self.count_last < GROUP_SIZE {
            return false;
        }
        if self.count_before > 0 && self.differs(size) {
            return true;
        }
        for (before, last) in self.before.iter_mut().zip(&mut self.last) {
            *before += std::mem::take(last);
        }
        self.count_before += std::mem::take(&mut self.count_last);
        false
    }

    /// Tells whether the shares of the kinds differ by more than a part of all, less the larger the block is.
    fn differs(&self, size: usize) -> bool {
        let difference: u32 = self
            .before
            .iter()
            .zip(&self.last)
            .map(|(before, last)| {
                before.wrapping_mul(self.count_last).abs_diff(last.wrapping_mul(self.count_before))
            })
            .fold(0, u32::wrapping_add);
        let mut least = (self.count_last.wrapping_mul(200) / 512).wrapping_mul(self.count_before);
        let count = self.count_before + self.count_last;
        if size < SHORT_SIZE && count < SHORT_COUNT {
            let more = u64::from(least) * u64::from(SHORT_COUNT - count) / u64::from(SHORT_COUNT);
            least = least.wrapping_add(u32::try_from(more).unwrap_or(0));
        }
        let of_size = u32::try_from(size / 4096).unwrap_or(u32::MAX).wrapping_mul(self.count_before);
        difference.wrapping_add(of_size) >= least
    }
}

/// Returns the size of the shortest match in a block of so many different literals: the fewer, the less a literal
/// takes.
pub(super) fn min_size_of(literals: usize, depth: usize) -> usize {
    let size = match literals {
        ..6 => 9,
        6..8 => 8,
        8..10 => 7,
        10..16 => 6,
        16..45 => 5,
        45..80 => 4,
        _ => return 3,
    };
    // A short search finds no long matches.
    let max = match depth {
        ..5 => 4,
        5..10 => 5,
        10..16 => 7,
        _ => size,
    };
    size.min(max)
}

/// Returns the size of the shortest match of a block that may have these bytes, by the first of them.
pub(super) fn min_size(bytes: &[u8], depth: usize, is_earlier: bool) -> usize {
    if bytes.len() < TINY && !is_earlier {
        return 3;
    }
    let mut is_used = [false; 256];
    for byte in &bytes[..bytes.len().min(START_SIZE)] {
        is_used[usize::from(*byte)] = true;
    }
    min_size_of(is_used.iter().filter(|is_used| **is_used).count(), depth)
}
