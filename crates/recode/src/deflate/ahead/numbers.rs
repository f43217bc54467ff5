//! The numbers of the encoders that run ahead.

/// Encoders by their numbers in recipes: 16 for each family, and the level; level 10 looks for no references.
pub(super) const GO_1_27: u8 = 16;
pub(super) const GO_1_26: u8 = 32;
/// klauspost/compress 1.15.11 to 1.18.0. From 1.18.1 on, it makes what Go 1.27 makes.
pub(super) const EARLIER: u8 = 48;
/// klauspost/pgzip, which flushes each MiB, with the versions of klauspost/compress from 1.18.1 on, and before.
pub(super) const PGZIP: u8 = 64;
pub(super) const PGZIP_EARLIER: u8 = 80;
pub(super) const LITERALS: u8 = 10;
const PGZIP_EARLIER_MAX: u8 = PGZIP_EARLIER + 9;

/// Returns the number of the same level in the other versions of klauspost/compress: those before 1.18.1, or
/// from then on.
pub(in super::super) const fn other_version(number: u8) -> Option<u8> {
    match number {
        GO_1_27..GO_1_26 if number != GO_1_27 + LITERALS => Some(number - GO_1_27 + EARLIER),
        EARLIER..PGZIP => Some(number - EARLIER + GO_1_27),
        PGZIP..PGZIP_EARLIER => Some(number - PGZIP + PGZIP_EARLIER),
        PGZIP_EARLIER..=PGZIP_EARLIER_MAX => Some(number - PGZIP_EARLIER + PGZIP),
        _ => None,
    }
}

/// Returns the number of klauspost/pgzip with the encoder of a number.
pub(in super::super) const fn of_pgzip(number: u8) -> Option<u8> {
    match number {
        GO_1_27..GO_1_26 if number != GO_1_27 + LITERALS => Some(number - GO_1_27 + PGZIP),
        EARLIER..PGZIP => Some(number - EARLIER + PGZIP_EARLIER),
        _ => None,
    }
}

/// Tells whether a number is that of an encoder that runs ahead.
pub(in super::super) fn is_known(number: u8) -> bool {
    matches!(number / 16 * 16, EARLIER..=PGZIP_EARLIER if (1..LITERALS).contains(&(number % 16)))
        || NUMBERS.contains(&number)
}

/// The numbers of encoders that run ahead, the likely first, but for those of earlier versions and of pgzip.
pub(in super::super) const NUMBERS: [u8; 20] = [
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
    GO_1_27 + LITERALS,
    GO_1_26 + LITERALS,
];
