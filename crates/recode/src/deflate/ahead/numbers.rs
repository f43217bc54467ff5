//! The numbers of the encoders that run ahead.

use super::libdeflate::TINY;
use super::parts::{PART_SIZE, SMALL_PART_SIZE};

/// Encoders by their numbers in recipes: 16 for each family, and the level; level 10 looks for no references.
pub(super) const GO_1_27: u8 = 16;
pub(super) const GO_1_26: u8 = 32;
/// klauspost/compress 1.15.11 to 1.18.0. From 1.18.1 on, it makes what Go 1.27 makes.
pub(super) const KLAUSPOST_1_17: u8 = 48;
/// klauspost/pgzip, which flushes each MiB, with the versions of klauspost/compress from 1.18.1 on, and before.
pub(super) const PGZIP_1_18: u8 = 64;
pub(super) const PGZIP_1_17: u8 = 80;
/// zlib-ng and zlib-rs.
pub(super) const ZLIB_NG: u8 = 96;
/// klauspost/pgzip with klauspost/compress 1.15.0 to 1.15.10, and with the search of 1.11, also as umoci flushes it; at
/// the default level alone.
pub(super) const PGZIP_1_15: u8 = 112;
pub(super) const PGZIP_1_11: u8 = 128;
pub(super) const UMOCI: u8 = 144;
/// libdeflate, and its versions before 1.19.
pub(super) const LIBDEFLATE: u8 = 160;
pub(super) const LIBDEFLATE_1_18: u8 = 176;
const LIBDEFLATE_1_18_MAX: u8 = LIBDEFLATE_1_18 + 9;
/// igzip. Level 0 is a level of its own, and level 4 is level 3 on processors without AVX-512.
pub(super) const IGZIP: u8 = 192;
/// pigz, at the levels 1 to 3 with several threads.
pub(in super::super) const PIGZ: u8 = 208;
/// klauspost/compress 1.15.12 at the levels 7 to 9, whose search later versions do not have, and klauspost/pgzip
/// with it.
pub(super) const KLAUSPOST_1_15: u8 = 224;
pub(super) const PGZIP_ON_1_15: u8 = 240;
/// The least of the levels that search chains.
const LEAST_OF_CHAINS: u8 = 7;
/// The default level.
const DEFAULT: u8 = 5;
pub(super) const LITERALS: u8 = 10;
const PGZIP_1_17_MAX: u8 = PGZIP_1_17 + 9;

/// Returns the number of an encoder's family, which the numbers of its levels are added to.
pub(super) const fn family(number: u8) -> u8 {
    number / 16 * 16
}

pub(super) const fn level(number: u8) -> u8 {
    number % 16
}

/// Returns the number of the same level in the other versions of klauspost/compress: those before 1.18.1, or
/// from then on; or in those of libdeflate.
pub(in super::super) const fn other_version(number: u8) -> Option<u8> {
    match number {
        GO_1_27..GO_1_26 if number != GO_1_27 + LITERALS => Some(number - GO_1_27 + KLAUSPOST_1_17),
        KLAUSPOST_1_17..PGZIP_1_18 => Some(number - KLAUSPOST_1_17 + GO_1_27),
        PGZIP_1_18..PGZIP_1_17 => Some(number - PGZIP_1_18 + PGZIP_1_17),
        PGZIP_1_17..=PGZIP_1_17_MAX => Some(number - PGZIP_1_17 + PGZIP_1_18),
        LIBDEFLATE..LIBDEFLATE_1_18 => Some(number - LIBDEFLATE + LIBDEFLATE_1_18),
        LIBDEFLATE_1_18..=LIBDEFLATE_1_18_MAX => Some(number - LIBDEFLATE_1_18 + LIBDEFLATE),
        _ => None,
    }
}

/// Returns the numbers of earlier versions of klauspost/compress, of the same level or of those that search as it does:
/// where all take other matches, another level may come nearer.
pub(in super::super) fn earlier_versions(number: u8) -> impl Iterator<Item = u8> {
    const OF_DEFAULT: &[u8] = &[PGZIP_1_15 + DEFAULT, PGZIP_1_11 + DEFAULT];
    const OF_CHAINS: &[u8] = &[KLAUSPOST_1_15 + 9, KLAUSPOST_1_15 + 7, KLAUSPOST_1_15 + 8];
    let numbers = match (family(number), level(number)) {
        (GO_1_27 | KLAUSPOST_1_17, DEFAULT) => OF_DEFAULT,
        (GO_1_27 | KLAUSPOST_1_17, LEAST_OF_CHAINS..LITERALS) => OF_CHAINS,
        _ => &[],
    };
    numbers.iter().copied()
}

/// Returns the numbers of libdeflate before 1.19 for a stream of so few bytes that its later versions choose the shortest
/// match otherwise, so that they do not come near.
pub(in super::super) fn of_tiny(size: usize) -> impl Iterator<Item = u8> {
    (1..=9).filter(move |_| size < TINY).map(|level| LIBDEFLATE_1_18 + level)
}

/// Returns the number of klauspost/pgzip with the encoder of a number, if its parts have so many bytes.
pub(in super::super) const fn of_parts(number: u8, size: usize) -> Option<u8> {
    match (size, family(number)) {
        (PART_SIZE, PGZIP_1_15 | PGZIP_1_11) => Some(number),
        (SMALL_PART_SIZE, PGZIP_1_11) => Some(UMOCI + DEFAULT),
        (PART_SIZE, _) => of_pgzip(number),
        _ => None,
    }
}

/// Returns the number of klauspost/pgzip with the encoder of a number.
const fn of_pgzip(number: u8) -> Option<u8> {
    match number {
        GO_1_27..GO_1_26 if number != GO_1_27 + LITERALS => Some(number - GO_1_27 + PGZIP_1_18),
        KLAUSPOST_1_17..PGZIP_1_18 => Some(number - KLAUSPOST_1_17 + PGZIP_1_17),
        KLAUSPOST_1_15..PGZIP_ON_1_15 => Some(number - KLAUSPOST_1_15 + PGZIP_ON_1_15),
        _ => None,
    }
}

/// Tells whether a number is that of an encoder that runs ahead.
pub(in super::super) fn is_known(number: u8) -> bool {
    let level = level(number);
    match family(number) {
        KLAUSPOST_1_17..=PGZIP_1_17 => (1..LITERALS).contains(&level),
        PGZIP_1_15..=UMOCI => level == DEFAULT,
        LIBDEFLATE..=LIBDEFLATE_1_18 | PIGZ => (1..=9).contains(&level),
        IGZIP => level <= 4,
        KLAUSPOST_1_15..=PGZIP_ON_1_15 => (LEAST_OF_CHAINS..=9).contains(&level),
        _ => NUMBERS.contains(&number),
    }
}

/// Tokens of the blocks of those encoders that fill them with so many.
pub(in super::super) const BLOCK_SIZES: [usize; 3] = [(1 << 14) - 1, 1 << 14, 1 << 15];

/// Returns how many tokens the encoder of a number fills blocks with, if it does that.
pub(in super::super) const fn block_size(number: u8) -> Option<usize> {
    let [of_zlib, of_go_1_26, of_klauspost] = BLOCK_SIZES;
    match (family(number), level(number)) {
        (GO_1_26, 2..LITERALS) => Some(of_go_1_26),
        (
            GO_1_27 | KLAUSPOST_1_17..=PGZIP_1_17 | KLAUSPOST_1_15..=PGZIP_ON_1_15,
            LEAST_OF_CHAINS..LITERALS,
        ) => Some(of_klauspost),
        (ZLIB_NG, 2..) | (PIGZ, _) => Some(of_zlib),
        _ => None,
    }
}

/// Tells whether blocks of the encoder of a number may go on with what would fill the next one.
pub(in super::super) const fn goes_on(number: u8) -> bool {
    let [.., of_klauspost] = BLOCK_SIZES;
    matches!(block_size(number), Some(size) if size == of_klauspost)
}

/// Most plain bytes of a block of libdeflate (`SOFT_MAX_BLOCK_LENGTH` and `MIN_BLOCK_LENGTH` together).
const MAX_LIBDEFLATE_BLOCK: usize = 305_000;

/// Returns the most plain bytes of a first block for which an encoder is tried early; `None` if that is any block. The
/// encoders of libdeflate and igzip take long to look at: the one has many plain bytes ahead, the other large tables.
pub(in super::super) const fn most_of_block(number: u8) -> Option<usize> {
    match family(number) {
        LIBDEFLATE | LIBDEFLATE_1_18 => Some(MAX_LIBDEFLATE_BLOCK),
        IGZIP => Some(0),
        _ => None,
    }
}

/// The numbers of encoders that run ahead, the likely first, but for those of other versions and of pgzip.
pub(in super::super) const NUMBERS: [u8; 43] = [
    GO_1_27 + 6,
    GO_1_26 + 6,
    GO_1_26 + 1,
    GO_1_27 + 1,
    GO_1_26 + 9,
    GO_1_27 + 9,
    GO_1_27 + 5,
    GO_1_27 + 7,
    GO_1_27 + 8,
    GO_1_26 + 5,
    GO_1_26 + 4,
    GO_1_26 + 7,
    GO_1_26 + 8,
    GO_1_26 + 3,
    GO_1_26 + 2,
    GO_1_27 + 3,
    GO_1_27 + 4,
    GO_1_27 + 2,
    ZLIB_NG + 6,
    ZLIB_NG + 1,
    ZLIB_NG + 2,
    ZLIB_NG + 3,
    ZLIB_NG + 4,
    ZLIB_NG + 5,
    ZLIB_NG + 7,
    ZLIB_NG + 8,
    ZLIB_NG + 9,
    LIBDEFLATE + 6,
    LIBDEFLATE + 1,
    LIBDEFLATE + 9,
    LIBDEFLATE + 8,
    LIBDEFLATE + 7,
    LIBDEFLATE + 5,
    LIBDEFLATE + 4,
    LIBDEFLATE + 3,
    LIBDEFLATE + 2,
    IGZIP + 2,
    IGZIP + 3,
    IGZIP + 4,
    IGZIP + 1,
    IGZIP,
    GO_1_27 + LITERALS,
    GO_1_26 + LITERALS,
];
