//! The hash table of the names of dynamic symbols, `.gnu.hash`: it is computed from the symbols of the new file and
//! their names.
//!
//! ```text
//! .gnu.hash   nbuckets first words shift | filter:u64{words} buckets:u32{nbuckets} chains:u32{symbols - first}
//!             header, 16 bytes           | the table
//! .dynsym     symbol*                      24 bytes each, which begin with the offset of the name in .dynstr
//! ```
//!
//! Symbols from number `first` on have a hash, and those of one bucket follow each other. One more symbol moves the
//! numbers in half of the buckets, and sets bits of the filter that nothing else tells. The hash is that of Daniel J.
//! Bernstein, `hash * 33 + byte` from 5381 on, and the layout is that of binutils, which lld and mold share.

use std::ops::Range;

use crate::form::{self, word32};
#[cfg(feature = "writer")]
use crate::normalise::Overlay;
use crate::{Error, Result};

/// Bytes of the header.
const HEADER_SIZE: u32 = 16;
/// Bytes of a symbol.
const SYMBOL_SIZE: usize = 24;
/// Bytes of a word of the filter, and its bits.
const WORD_SIZE: usize = 8;
const WORD_BITS: u32 = 64;
/// Bytes of a bucket and of an entry of a chain.
const ENTRY_SIZE: usize = 4;
/// The hash of a name without bytes, and the factor for each byte.
const SEED: u32 = 5381;
const FACTOR: u32 = 33;
/// The bit of an entry of a chain that is set for the last one of a bucket.
const LAST: u32 = 1;
/// The bytes by which tables of two files have to differ for the new one to be computed: its ranges take about as many.
#[cfg(feature = "writer")]
const MIN_UNLIKE: usize = 24;

/// A hash table in the new file, and what it is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashTable {
    /// The header and the table after it.
    pub section: Range<u32>,
    /// The symbols.
    pub symbols: Range<u32>,
    /// The names.
    pub names: Range<u32>,
}

/// The numbers of the header, as far as they agree with the sizes of the table and of the symbols.
#[derive(Debug, Clone, Copy)]
struct Shape {
    buckets: usize,
    /// The number of the first symbol that has a hash.
    first: usize,
    words: usize,
    shift: u32,
}

impl Shape {
    /// Reads the header of a section; `None` if a table of this shape for so many symbols has another size.
    fn of(section: &[u8], symbols: usize) -> Option<Self> {
        let [buckets, first, words, shift] = [0, 4, 8, 12].map(|offset| word32(section, offset));
        let number = |value: u32| usize::try_from(value).ok();
        let shape = Self { buckets: number(buckets)?, first: number(first)?, words: number(words)?, shift };
        let chains = symbols.checked_sub(shape.first)?;
        let size =
            shape.filter_size()?.checked_add(shape.buckets.checked_add(chains)?.checked_mul(ENTRY_SIZE)?)?;
        let is_of_size = section.len().checked_sub(HEADER_SIZE as usize) == Some(size);
        (is_of_size && shape.buckets > 0).then_some(shape)
    }

    fn filter_size(self) -> Option<usize> {
        self.words.checked_mul(WORD_SIZE)
    }
}

impl HashTable {
    /// The bytes of the table, after the header.
    pub(crate) fn range(&self) -> Range<u64> {
        u64::from(self.section.start) + u64::from(HEADER_SIZE)..self.section.end.into()
    }

    /// The bytes from the first of section, symbols and names to the last.
    pub(crate) fn held(&self) -> Range<u64> {
        let parts = [&self.section, &self.symbols, &self.names];
        let start = parts.iter().map(|part| part.start).min().unwrap_or(0);
        let end = parts.iter().map(|part| part.end).max().unwrap_or(0);
        start.into()..end.into()
    }

    /// Fails if the table has no header, or what it is computed from lies in it.
    pub(crate) fn check(&self) -> Result<()> {
        if self.section.end.checked_sub(self.section.start).is_none_or(|size| size < HEADER_SIZE) {
            return Err(Error::Rule("a hash table has no header"));
        }
        for part in [&self.symbols, &self.names] {
            let is_apart = part.end <= self.section.start || self.section.end <= part.start;
            if part.start > part.end || !is_apart {
                return Err(Error::Rule("a hash table lies among its symbols or names"));
            }
        }
        Ok(())
    }

    /// Computes the table. `bytes` are those of the file from `start` on. There are none if the header has numbers
    /// that do not agree with the sizes.
    pub(crate) fn compute(&self, bytes: &[u8], start: u64) -> Vec<u8> {
        let [section, symbols, names] =
            [&self.section, &self.symbols, &self.names].map(|range| part(bytes, start, range));
        let Some(shape) = Shape::of(section, symbols.len() / SYMBOL_SIZE) else { return Vec::new() };
        let hashes = hashes(symbols, names, shape.first);
        let mut table = vec![0; section.len() - HEADER_SIZE as usize];
        let (filter, entries) = table.split_at_mut(shape.words * WORD_SIZE);
        let (buckets, chains) = entries.split_at_mut(shape.buckets * ENTRY_SIZE);
        let mut after = None;
        // From the last to the first, so that a bucket keeps the first of its symbols.
        for (index, hash) in hashes.iter().enumerate().rev() {
            if shape.words > 0 {
                let word = (hash / WORD_BITS) as usize % shape.words;
                let word = &mut filter[word * WORD_SIZE..][..WORD_SIZE];
                let second = hash.checked_shr(shape.shift).unwrap_or(0);
                for bit in [hash % WORD_BITS, second % WORD_BITS] {
                    word[(bit / u8::BITS) as usize] |= 1 << (bit % u8::BITS);
                }
            }
            let bucket = *hash as usize % shape.buckets;
            put(buckets, bucket, u32::try_from(shape.first + index).unwrap_or(u32::MAX));
            put(chains, index, hash & !LAST | u32::from(after != Some(bucket)));
            after = Some(bucket);
        }
        table
    }

    /// Returns true if the table of a file and one of another differ by more bytes than it takes to say where they lie.
    #[cfg(feature = "writer")]
    pub(crate) fn differs(&self, file: &[u8], other: &Self, other_file: &[u8]) -> bool {
        let (own, other) = (part(file, 0, &self.section), part(other_file, 0, &other.section));
        let unlike = own.iter().zip(other).filter(|(own, other)| own != other).count();
        unlike + own.len().abs_diff(other.len()) > MIN_UNLIKE
    }

    /// The number of each bucket in a file, as it lies there, with the place of the symbol.
    #[cfg(feature = "writer")]
    pub(crate) fn firsts(&self, file: &[u8]) -> Vec<Overlay> {
        let (section, symbols) = (part(file, 0, &self.section), part(file, 0, &self.symbols));
        let Some(shape) = Shape::of(section, symbols.len() / SYMBOL_SIZE) else { return Vec::new() };
        let at = HEADER_SIZE as usize + shape.words * WORD_SIZE;
        let first = |bucket: usize| {
            let offset = at + bucket * ENTRY_SIZE;
            let number = word32(section, offset);
            let place =
                number.checked_mul(u32::try_from(SYMBOL_SIZE).ok()?)?.checked_add(self.symbols.start)?;
            let position = self.section.start.checked_add(u32::try_from(offset).ok()?)?;
            (number > 0).then_some(Overlay { position, width: ENTRY_SIZE, place })
        };
        (0..shape.buckets).filter_map(first).collect()
    }
}

/// Puts a number into a list of entries.
fn put(entries: &mut [u8], index: usize, number: u32) {
    entries[index * ENTRY_SIZE..][..ENTRY_SIZE].copy_from_slice(&number.to_le_bytes());
}

/// The bytes of a range of a file, of which `bytes` are those from `start` on.
fn part<'b>(bytes: &'b [u8], start: u64, range: &Range<u32>) -> &'b [u8] {
    let index = |position: u32| u64::from(position).checked_sub(start).map_or(usize::MAX, form::index);
    bytes.get(index(range.start)..index(range.end)).unwrap_or_default()
}

/// The hashes of the names of the symbols from number `first` on. A name goes up to a zero, or the end of all names;
/// one that starts after that has no bytes.
///
/// Names may share their ends, and those of a hostile file lie in each other by the thousand. So the hashes of all
/// ends of a name are computed in one pass from its last byte to its first: a byte more in front of a name adds
/// itself, times the factor for all bytes that follow.
fn hashes(symbols: &[u8], names: &[u8], first: usize) -> Vec<u32> {
    let symbols = symbols.chunks_exact(SYMBOL_SIZE).skip(first);
    let mut order: Vec<(u32, u32)> =
        symbols.zip(0..).map(|(symbol, index)| (word32(symbol, 0), index)).collect();
    order.sort_unstable_by(|left, right| right.cmp(left));
    let mut hashes = vec![SEED; order.len()];
    let (mut power, mut sum) = (1u32, 0u32);
    let mut end = names.len();
    for (name, index) in order {
        let name = name as usize;
        let Some(bytes) = names.get(name..end) else {
            // It starts after the end of all.
            continue;
        };
        for byte in bytes.iter().rev() {
            if *byte == 0 {
                (power, sum) = (1, 0);
            } else {
                sum = sum.wrapping_add(u32::from(*byte).wrapping_mul(power));
                power = power.wrapping_mul(FACTOR);
            }
        }
        end = name;
        hashes[index as usize] = SEED.wrapping_mul(power).wrapping_add(sum);
    }
    hashes
}
