//! Copies of both files in which what moved looks the same, so that better blocks are found in them.

use std::ops::Range;

use crate::bundle::OFFSET;
use crate::form::{Field, low_scale, word32};
use crate::kind::Kind;
use crate::space::Space;

/// A pointer that the loader puts into a file, which is no field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overlay {
    /// The position that it will have.
    pub(crate) position: u32,
    /// Its bytes, 4 or 8.
    pub(crate) width: usize,
    /// The place that it will mean.
    pub(crate) place: u32,
}

/// The bits that are changed in the bytes of names that are loaded. A program that is not stripped has most of them
/// once more, for debuggers; names of one table that are made of those of the other would move away from the symbols
/// that have them.
const LOADED_NAME: u8 = 0x80;

/// Added to an address, so that the mark of zero is not zero.
const MARK_OF_ZERO: u64 = 0x0123_4567;

/// Returns a copy in which each field holds a mark of the address that it means in the new file, and a sorted column
/// nothing. The places are those of the new file.
pub(crate) fn normalise(
    bytes: &[u8],
    fields: impl Iterator<Item = Field>,
    overlays: impl Iterator<Item = Overlay>,
    loaded_names: &[Range<u32>],
    space: Space<'_>,
) -> Vec<u8> {
    let mut normal = bytes.to_vec();
    for names in loaded_names {
        let names = normal.get_mut(names.start as usize..names.end as usize);
        names.into_iter().flatten().for_each(|byte| *byte ^= LOADED_NAME);
    }
    for Overlay { position, width, place } in overlays {
        put(&mut normal, position as usize, width, mark(space.address(place)));
    }
    for field in fields {
        let position = field.position as usize;
        let address = space.address(field.target);
        #[expect(clippy::cast_possible_truncation, reason = "immediates are the low bits")]
        let low = address as u32;
        let word = word32(bytes, position);
        let value = match field.form.kind() {
            _ if field.form.is_column() => 0,
            // It leads to a place in the same function, so that it is the same wherever that went.
            Kind::Branch if field.form.is_conditional(word.into()) => continue,
            Kind::Branch => field.form.set().put(word, 0, address).unwrap_or(word).into(),
            Kind::Short => u64::from(word) & 1 << 31 | mark(address) & 0x7fff_ffff,
            Kind::Page => {
                let pages = low >> 12;
                u64::from(word & 0x9f00_001f | (pages & 3) << 29 | (pages >> 2) << 5)
            }
            Kind::Low => u64::from(word & !(0xfff << 10) | (low & 0xfff) >> low_scale(word) << 10),
            #[expect(clippy::cast_possible_truncation, reason = "a mark of 28 bits is enough")]
            Kind::Resource => u64::from(word & !OFFSET | mark(address) as u32 & OFFSET),
            // It tells nothing about which bundles are alike.
            Kind::Index => 0,
            _ => mark(address),
        };
        put(&mut normal, position, field.form.width(), value);
    }
    normal
}

/// Returns a number that stands for an address. Addresses of one program have most bytes alike, those of
/// eight bytes five and more, so that a table would seem to agree with itself wherever it is laid. Of two
/// marks hardly a byte is the same.
const fn mark(address: u64) -> u64 {
    // Two rounds of multiplying and folding, with odd constants of high entropy (SplitMix64).
    let mixed = address.wrapping_add(MARK_OF_ZERO).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 32
}

fn put(bytes: &mut [u8], position: usize, width: usize, value: u64) {
    if let Some(place) = position.checked_add(width).and_then(|end| bytes.get_mut(position..end)) {
        place.copy_from_slice(&value.to_le_bytes()[..width]);
    }
}
