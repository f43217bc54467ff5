//! The settings that a parser depends on.

/// The effort with which the parser looks for references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effort {
    /// A reference this long makes the lazy search short.
    pub(super) good: u16,
    /// No lazy search behind a reference this long; for a greedy parser: none longer is entered
    /// into the chains.
    pub(super) lazy: u16,
    /// A reference this long ends the search.
    pub(super) nice: u16,
    /// Most strings that are looked at.
    pub(super) chain: u16,
    pub(super) is_lazy: bool,
    /// Chains are of strings of 4 bytes and not of 3, as many encoders but zlib have them.
    pub(super) is_wide: bool,
}

impl Effort {
    /// That of a level 1 to 9 (`configuration_table` in deflate.c).
    pub(super) const fn of_level(level: u8) -> Self {
        let (good, lazy, nice, chain) = match level {
            0 | 1 => (4, 4, 8, 4),
            2 => (4, 5, 16, 8),
            3 => (4, 6, 32, 32),
            4 => (4, 4, 16, 16),
            5 => (8, 16, 32, 32),
            6 => (8, 16, 128, 128),
            7 => (8, 32, 128, 256),
            8 => (32, 128, 258, 1024),
            _ => (32, 258, 258, 4096),
        };
        Self { good, lazy, nice, chain, is_lazy: level > 3, is_wide: false }
    }

    /// Settings that come near to encoders other than zlib: the last place of each hash only, greedy or
    /// lazy, and chains as libdeflate searches them.
    pub(super) const fn of_others(number: u8) -> Self {
        let (is_lazy, nice, chain) = match number {
            0 => (false, 258, 1),
            1 => (true, 258, 1),
            2 => (true, 258, 2),
            3 => (true, 65, 35),
            _ => (true, 258, 200),
        };
        Self { good: 258, lazy: 258, nice, chain, is_lazy, is_wide: true }
    }
}

/// The choices that the parser has (`deflateInit2` in zlib.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    Default,
    /// No short references.
    Filtered,
    /// No references.
    Huffman,
    /// References to the last byte only.
    Rle,
    /// As the default; blocks have static codes.
    Fixed,
}

/// All that the parser depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) effort: Effort,
    pub(super) strategy: Strategy,
    /// Base-2 logarithm of the window in bytes, 9 to 15.
    pub(super) window_bits: u32,
    /// Base-2 logarithm of the number of chains, 8 to 16.
    pub(super) hash_bits: u32,
    /// GNU gzip's ways at the end of the input, instead of zlib's.
    pub(super) is_gnu: bool,
    /// pgzip is asked first; the effort is for where it says nothing.
    pub(super) is_pgzip: bool,
}

/// The level of corrections that stands for the parser of klauspost/pgzip, which runs ahead.
pub(super) const EFFORT_OF_PGZIP: u8 = 15;

/// Returns the settings of the parser that predicts, by the level in the corrections.
pub(super) const fn of_corrections(level: u8) -> Settings {
    Settings {
        effort: match level {
            ..10 => Effort::of_level(level),
            10..EFFORT_OF_PGZIP => Effort::of_others(level - 10),
            _ => Effort::of_others(2),
        },
        is_pgzip: level == EFFORT_OF_PGZIP,
        strategy: Strategy::Default,
        window_bits: 15,
        hash_bits: 15,
        is_gnu: false,
    }
}
