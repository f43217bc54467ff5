//! A field and the address that is written in it.

use crate::branch::Set;
use crate::bundle::Bundle;
use crate::kind::Kind;
use crate::space::Space;

/// A field of the old file that holds an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    /// The position of its first byte.
    pub(crate) position: u32,
    /// The place that it means.
    pub(crate) target: u32,
    pub(crate) form: Form,
}

/// A [`Kind`] with its parameters, in 32 bits.
///
/// ```text
/// bits 0-3 kind, 4 wide, 5 of a table, 6 of a sorted column, 7 the start of code, 8-15 scale, constant or index,
/// 16-31 base or bundle
/// InTable: bits 0-3 kind, 5 of a table, 6-31 start of the table in units of 4 bytes
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form(u32);

const KIND: u32 = 15;
const WIDE: u32 = 1 << 4;
const OF_TABLE: u32 = 1 << 5;
const COLUMN: u32 = 1 << 6;
const START: u32 = 1 << 7;

impl Form {
    const fn of(kind: Kind) -> Self {
        Self(kind as u32)
    }

    /// Relative to the address of the field and `constant`.
    pub(crate) const fn relative(constant: u8) -> Self {
        Self(Kind::Relative as u32 | (constant as u32) << 8)
    }

    /// The start of the code that a record of `.eh_frame` describes, relative to the address of the field. The number
    /// of bytes of the code follows the field.
    pub(crate) const fn start_of_code() -> Self {
        Self(Kind::Relative as u32 | OF_TABLE | START)
    }

    pub(crate) const fn absolute(is_wide: bool) -> Self {
        Self(Kind::Absolute as u32 | OF_TABLE | if is_wide { WIDE } else { 0 })
    }

    pub(crate) const fn based(base: u16, scale: u8, is_wide: bool) -> Self {
        let wide = if is_wide { WIDE } else { 0 };
        Self(Kind::Based as u32 | OF_TABLE | wide | (scale as u32) << 8 | (base as u32) << 16)
    }

    /// `start` is a multiple of 4 below 2^28.
    pub(crate) const fn in_table(start: u32) -> Self {
        Self(Kind::InTable as u32 | OF_TABLE | (start / 4) << 6)
    }

    pub(crate) const fn back() -> Self {
        Self(Kind::Back as u32 | OF_TABLE)
    }

    pub(crate) const fn branch(set: Set) -> Self {
        Self(Kind::Branch as u32 | (set as u32) << 8)
    }

    /// The distance from an instruction that lies `distance` bytes after the field.
    pub(crate) const fn pooled(distance: i16) -> Self {
        Self(Kind::Pooled as u32 | OF_TABLE | (distance.cast_unsigned() as u32) << 16)
    }

    /// The distance from the field in 31 bits.
    pub(crate) const fn short() -> Self {
        Self(Kind::Short as u32 | OF_TABLE)
    }

    /// The instruction set of a branch.
    pub(crate) const fn set(self) -> Set {
        Set::of(self.scale())
    }

    pub(crate) const fn page() -> Self {
        Self::of(Kind::Page)
    }

    pub(crate) const fn low() -> Self {
        Self::of(Kind::Low)
    }

    const fn of_bundle(kind: Kind, bundle: u16, index: u8) -> Self {
        Self(kind as u32 | OF_TABLE | (index as u32) << 8 | (bundle as u32) << 16)
    }

    pub(crate) const fn key(bundle: u16) -> Self {
        Self::of_bundle(Kind::Key, bundle, 0)
    }

    pub(crate) const fn string(bundle: u16) -> Self {
        Self::of_bundle(Kind::String, bundle, 0)
    }

    pub(crate) const fn resource(bundle: u16) -> Self {
        Self::of_bundle(Kind::Resource, bundle, 0)
    }

    pub(crate) const fn index(bundle: u16, index: u8) -> Self {
        Self::of_bundle(Kind::Index, bundle, index)
    }

    /// Returns the number of the bundle that the field is in, if it is in one.
    pub(crate) const fn bundle(self) -> Option<usize> {
        match self.kind() {
            Kind::Key | Kind::String | Kind::Resource | Kind::Index => Some(self.base() as usize),
            _ => None,
        }
    }

    /// Returns which index of a bundle the field is, if it is one.
    pub(crate) const fn bundle_index(self) -> Option<u8> {
        if matches!(self.kind(), Kind::Index) { Some(self.scale()) } else { None }
    }

    /// Returns true if the target may lie in the function that the field is in.
    pub(crate) const fn is_near(self) -> bool {
        matches!(self.kind(), Kind::Relative | Kind::Branch) && !self.is_of_table()
    }

    /// Returns true for a branch that depends on a condition. `old` is what the field holds in the old file.
    #[expect(clippy::cast_possible_truncation, reason = "a branch has 4 bytes")]
    pub(crate) const fn is_conditional(self, old: u64) -> bool {
        matches!(self.kind(), Kind::Branch) && self.set().is_conditional(old as u32)
    }

    /// The same, in a table.
    pub(crate) const fn of_table(self) -> Self {
        Self(self.0 | OF_TABLE)
    }

    /// The same, in a column that is sorted.
    #[must_use]
    pub(crate) const fn column_if(self, is_column: bool) -> Self {
        if is_column { Self(self.0 | COLUMN) } else { self }
    }

    pub(crate) const fn kind(self) -> Kind {
        Kind::ALL[(self.0 & KIND) as usize]
    }

    pub(crate) const fn width(self) -> usize {
        match self.kind() {
            Kind::Key | Kind::String => 2,
            Kind::InTable => 4,
            _ if self.0 & WIDE != 0 => 8,
            _ => 4,
        }
    }

    pub(crate) const fn is_of_table(self) -> bool {
        self.0 & OF_TABLE != 0
    }

    /// The bits of its value.
    pub(crate) const fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.width())
    }

    pub(crate) const fn is_column(self) -> bool {
        !matches!(self.kind(), Kind::InTable) && self.0 & COLUMN != 0
    }

    pub(crate) const fn is_start_of_code(self) -> bool {
        matches!(self.kind(), Kind::Relative) && self.0 & START != 0
    }

    const fn scale(self) -> u8 {
        self.0.to_le_bytes()[1]
    }

    const fn base(self) -> u16 {
        let [_, _, low, high] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    const fn table(self) -> u32 {
        self.0 >> 6 << 2
    }

    /// A number that the predictions of this form and context share.
    pub(crate) const fn context(self, byte: u8) -> usize {
        (self.0 & KIND) as usize * 256 + byte as usize
    }
}

/// The bit of a [`Kind::Short`] that is none of its distance.
const HIGHEST: u64 = 1 << 31;

/// Numbers of [`Form::context`].
pub(crate) const CONTEXTS: usize = Kind::COUNT * 256;

/// One side of a field: the file that it is in, and where in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'s> {
    pub(crate) space: Space<'s>,
    pub(crate) bases: &'s [u64],
    /// The position of the field in this file.
    pub(crate) position: u32,
    /// Its position in this file less its position in the old file, modulo 2^32.
    pub(crate) moved: u32,
    /// The bundle that it is in.
    pub(crate) bundle: &'s Bundle,
}

impl At<'_> {
    pub(crate) fn own_address(&self) -> u64 {
        self.space.address(self.position)
    }

    fn base(&self, form: Form) -> u64 {
        match form.kind() {
            Kind::Relative => self.own_address().wrapping_add(form.scale().into()),
            Kind::Pooled => {
                self.own_address().wrapping_add(i64::from(form.base().cast_signed()).cast_unsigned())
            }
            Kind::Based => self.bases.get(usize::from(form.base())).copied().unwrap_or(0),
            Kind::InTable => self.space.address(form.table().wrapping_add(self.moved)),
            _ => 0,
        }
    }

    /// The bytes of a field that means `place`, least significant first. `old` is what the field holds in the old file.
    pub(crate) fn value(&self, form: Form, place: u32, old: u64) -> u64 {
        self.written(form, self.space.address(place), old)
    }

    /// The same of a field that means an address.
    #[expect(clippy::cast_possible_truncation, reason = "immediates are the low bits")]
    pub(crate) fn written(&self, form: Form, address: u64, old: u64) -> u64 {
        let word = old as u32;
        match form.kind() {
            Kind::Absolute => address,
            Kind::Relative | Kind::InTable | Kind::Pooled => address.wrapping_sub(self.base(form)),
            Kind::Based => {
                let distance = address.wrapping_sub(self.base(form));
                match form.scale() {
                    0 | 1 => distance,
                    scale => (distance.cast_signed() / i64::from(scale)).cast_unsigned(),
                }
            }
            Kind::Back => self.own_address().wrapping_sub(address),
            Kind::Branch => form.set().put(word, self.own_address(), address).map_or(old, u64::from),
            Kind::Short => old & HIGHEST | address.wrapping_sub(self.own_address()) & (HIGHEST - 1),
            Kind::Page => {
                let pages = (address >> 12).wrapping_sub(self.own_address() >> 12) as u32;
                u64::from(word & 0x9f00_001f | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5)
            }
            Kind::Low => {
                let low = (address & 0xfff) as u32 >> low_scale(word);
                u64::from(word & !(0xfff << 10) | low << 10)
            }
            Kind::Key => self.bundle.key_offset(address),
            Kind::String => self.bundle.string_offset_16(address),
            Kind::Resource => self.bundle.resource_of(address, word).into(),
            Kind::Index => old,
        }
    }

    /// The place that the bytes of a field mean, if they tell it.
    pub(crate) fn place(&self, form: Form, value: u64) -> Option<u32> {
        self.space.place(self.address(form, value)?)
    }

    /// The address that the bytes of a field mean, if they tell it.
    #[expect(clippy::cast_possible_truncation, reason = "the field has 32 bits")]
    pub(crate) fn address(&self, form: Form, value: u64) -> Option<u64> {
        let signed = if form.width() == 8 { value } else { sign_extend(value as u32) };
        Some(match form.kind() {
            Kind::Absolute => value,
            Kind::Relative | Kind::InTable | Kind::Pooled => self.base(form).wrapping_add(signed),
            Kind::Based => self.base(form).wrapping_add(signed.wrapping_mul(form.scale().max(1).into())),
            Kind::Back => self.own_address().wrapping_sub(signed),
            Kind::Branch => form.set().target(value as u32, self.own_address())?,
            Kind::Short => {
                let distance = (value as u32).wrapping_shl(1).cast_signed() >> 1;
                self.own_address().wrapping_add(sign_extend(distance.cast_unsigned()))
            }
            Kind::Key => self.bundle.key(value),
            Kind::String => self.bundle.string_16(value),
            Kind::Resource => return self.bundle.resource(value as u32),
            Kind::Page | Kind::Low | Kind::Index => return None,
        })
    }
}

/// The low bits of an address that an instruction does not hold, as it counts in larger units.
pub(crate) const fn low_scale(word: u32) -> u32 {
    if word & 0x7fc0_0000 == 0x1100_0000 {
        0
    } else if word & 0x0480_0000 == 0x0480_0000 && word >> 30 == 0 {
        4
    } else {
        word >> 30
    }
}

pub(crate) const fn sign_extend(word: u32) -> u64 {
    (word.cast_signed() as i64).cast_unsigned()
}

/// The `width` bytes from `position` on, least significant first; zero where the file ends before.
pub(crate) fn word(bytes: &[u8], position: usize, width: usize) -> u64 {
    let mut word = [0; 8];
    match position.checked_add(width).and_then(|end| bytes.get(position..end)) {
        Some(found) if width <= 8 => word[..width].copy_from_slice(found),
        _ => return 0,
    }
    u64::from_le_bytes(word)
}

/// Returns a position as an index; one that no file has if it is too large for one.
pub(crate) fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// The 32 bits at `position`.
pub(crate) fn word32(bytes: &[u8], position: usize) -> u32 {
    position
        .checked_add(4)
        .and_then(|end| bytes.get(position..end)?.first_chunk().copied())
        .map_or(0, u32::from_le_bytes)
}

/// The 64 bits at `position`.
pub(crate) fn word64(bytes: &[u8], position: usize) -> u64 {
    position
        .checked_add(8)
        .and_then(|end| bytes.get(position..end)?.first_chunk().copied())
        .map_or(0, u64::from_le_bytes)
}
