//! The plain bytes that an encoder of chunks still knows, and the tables of where strings were seen.

use super::super::token::{MAX_MATCH, MIN_MATCH, Token};
use super::CHUNK_SIZE;

/// Bytes that stay known when the history is full, and one more than the distance of a reference may be.
pub(super) const WINDOW_SIZE: usize = 1 << 15;
/// Longest history; then all but the last of it is forgotten.
const MAX_SIZE: usize = 5 * CHUNK_SIZE;

/// Base-2 logarithm of the places of most tables.
pub(super) const TABLE_BITS: u32 = 15;
pub(super) const TABLE_SIZE: usize = 1 << TABLE_BITS;
/// No string begins closer to the end of a chunk, in all levels of klauspost/compress.
pub(super) const MARGIN: usize = 11;

/// The bytes.
#[derive(Default)]
pub(super) struct History {
    bytes: Vec<u8>,
}

impl History {
    /// Appends a chunk; gives the place where it begins, and by how much places have moved before.
    pub(super) fn push(&mut self, chunk: &[u8]) -> (usize, usize) {
        let mut gone = 0;
        if self.bytes.len() + chunk.len() > MAX_SIZE {
            gone = self.bytes.len() - WINDOW_SIZE;
            self.bytes.drain(..gone);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(chunk);
        (start, gone)
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A place as a table has it: so far ahead that an entry of 0 is too far for a reference from any place.
pub(super) fn entry(at: usize) -> u32 {
    u32::try_from(at + WINDOW_SIZE).unwrap_or(0)
}

/// Returns how far an entry is before a place.
pub(super) const fn distance(entry: u32, at: usize) -> usize {
    (at + WINDOW_SIZE).wrapping_sub(entry as usize)
}

/// Moves the entries of a table as places have moved.
pub(super) fn shift(table: &mut [u32], gone: usize) {
    let gone = u32::try_from(gone).unwrap_or(u32::MAX);
    for entry in table {
        *entry = entry.saturating_sub(gone);
    }
}

/// The four bytes at a place.
pub(super) fn four(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The eight bytes at a place.
pub(super) fn eight(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Returns how many bytes are the same at two places, at most `max`; `source` is before `at`.
#[inline]
pub(super) fn common(bytes: &[u8], source: usize, at: usize, max: usize) -> usize {
    let first = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk::<8>);
    // Most strings that are compared differ early.
    if let (Some(left), Some(right)) = (first(source), first(at)) {
        let differing = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
        if differing != 0 || max <= 8 {
            return max.min(differing.trailing_zeros() as usize / 8);
        }
    }
    common_of_long(bytes, source, at, max)
}

/// Does what [`common`] does, word by word.
#[inline(never)]
fn common_of_long(bytes: &[u8], source: usize, at: usize, max: usize) -> usize {
    let right = bytes.get(at..).unwrap_or_default();
    let right = &right[..right.len().min(max)];
    let Some(left) = bytes.get(source..).and_then(|left| left.get(..right.len())) else { return 0 };
    let ((left_words, left_rest), (right_words, right_rest)) =
        (left.as_chunks::<8>(), right.as_chunks::<8>());
    for (index, (left, right)) in left_words.iter().zip(right_words).enumerate() {
        let differing = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
        if differing != 0 {
            return index * 8 + differing.trailing_zeros() as usize / 8;
        }
    }
    let of_rest = left_rest.iter().zip(right_rest).take_while(|(left, right)| left == right).count();
    left_words.len() * 8 + of_rest
}

/// Returns how many bytes in front of a match are the same, too, back to `least`: the match may begin so much earlier.
pub(super) fn common_before(bytes: &[u8], source: usize, at: usize, least: usize) -> usize {
    let before = bytes[..source].iter().rev().zip(bytes[least..at].iter().rev());
    before.take_while(|(left, right)| left == right).count()
}

/// An entry as a place of the history, if it is less than `max` bytes in front of `at`.
pub(super) fn near(entry: u32, at: usize, max: usize) -> Option<usize> {
    let distance = distance(entry, at);
    if distance < max { at.checked_sub(distance) } else { None }
}

/// Hashes the first four bytes of a string.
pub(super) fn hash_four(value: u64) -> usize {
    let [a, b, c, d, ..] = value.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]).wrapping_mul(2_654_435_761) >> (32 - TABLE_BITS)) as usize
}

/// Hashes the first five bytes of a string to so many bits.
pub(super) fn hash_five(value: u64, bits: u32) -> usize {
    usize::try_from((value << 24).wrapping_mul(889_523_592_379) >> (64 - bits)).unwrap_or(0)
}

/// Hashes the first seven bytes of a string.
pub(super) fn hash_seven(value: u64) -> usize {
    ((value << 8).wrapping_mul(58_295_818_150_454_627) >> (64 - TABLE_BITS)) as usize
}

/// A match that was found: where, what it refers to, and the place that would have been looked at next.
pub(super) struct Candidate {
    pub(super) at: usize,
    pub(super) source: usize,
    pub(super) next: usize,
}

/// Appends bytes as literals.
pub(super) fn literals(bytes: &[u8], found: &mut Vec<Token>) {
    found.extend(bytes.iter().map(|byte| Token::literal(*byte)));
}

/// Appends a match of any size as references, none too short.
pub(super) fn references(mut size: usize, distance: usize, found: &mut Vec<Token>) {
    while size > 0 {
        let part = match size {
            ..=MAX_MATCH => size,
            _ if size > MAX_MATCH + MIN_MATCH => MAX_MATCH,
            _ => MAX_MATCH - MIN_MATCH,
        };
        found.push(Token::reference(part, distance));
        size -= part;
    }
}
