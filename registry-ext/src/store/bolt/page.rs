//! The pages of a bbolt file: pure functions on their bytes.
//!
//! Numbers are in the byte order of the machine that writes the file, and a store is read on that machine.

use std::hash::Hasher as _;

use fnv::FnvHasher;

/// Page flag: elements are keys and pages.
pub(super) const BRANCH: u16 = 0x01;
/// Page flag: elements are keys and values.
pub(super) const LEAF: u16 = 0x02;
/// Size of an element in bytes, in a branch and in a leaf.
const ELEMENT_SIZE: usize = 16;

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Returns the number at an offset.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The start of a page.
#[derive(Debug)]
pub(super) struct Header {
    /// The number of the page.
    pub(super) id: u64,
    /// Its kind.
    pub(super) flags: u16,
    /// The number of its elements.
    count: u16,
    /// The number of pages after it that belong to it.
    pub(super) overflow: u32,
}

impl Header {
    /// Its size in bytes.
    pub(super) const SIZE: usize = 16;

    pub(super) fn parse(page: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(page, 0)?,
            flags: u16_at(page, 8)?,
            count: u16_at(page, 10)?,
            overflow: u32_at(page, 12)?,
        })
    }
}

/// A meta page: the state of the file after a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    /// The size of a page in bytes.
    pub(super) page_size: u64,
    /// The page of the root bucket.
    pub(super) root: u64,
    /// The number of the transaction.
    pub(super) transaction: u64,
    checksum: u64,
}

impl Meta {
    /// The end of the fields in the page, in bytes.
    pub(super) const END: usize = Header::SIZE + 64;
    const MAGIC: u32 = 0xed0c_daed;
    const VERSION: u32 = 2;
    /// The checksum is of the fields before it.
    const CHECKSUM: usize = 56;

    /// Reads a meta page: `None` if it is none, or torn.
    pub(super) fn parse(page: &[u8]) -> Option<Self> {
        let fields = page.get(Header::SIZE..)?;
        let meta = Self {
            page_size: u32_at(fields, 8)?.into(),
            root: u64_at(fields, 16)?,
            transaction: u64_at(fields, 48)?,
            checksum: u64_at(fields, Self::CHECKSUM)?,
        };
        let mut hasher = FnvHasher::default();
        hasher.write(&fields[..Self::CHECKSUM]);
        let is_meta = u32_at(fields, 0)? == Self::MAGIC && u32_at(fields, 4)? == Self::VERSION;
        (is_meta && meta.page_size.is_power_of_two() && meta.checksum == hasher.finish()).then_some(meta)
    }
}

/// An element of a branch.
#[derive(Debug)]
pub(super) struct BranchElement<'p> {
    /// The first key below `page`.
    pub(super) key: &'p [u8],
    /// The page with it.
    pub(super) page: u64,
}

/// An element of a leaf.
#[derive(Debug)]
pub(super) struct LeafElement<'p> {
    /// The kind of its value.
    pub(super) flags: u32,
    /// Its key.
    pub(super) key: &'p [u8],
    /// Its value.
    pub(super) value: &'p [u8],
}

/// The elements of a page, each with the bytes from its start to the end of the page.
fn elements(page: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let count = usize::from(Header::parse(page)?.count);
    let all = page.get(Header::SIZE..)?;
    (count * ELEMENT_SIZE <= all.len()).then(|| (0..count).map(|index| &all[index * ELEMENT_SIZE..]))
}

/// `size` bytes at an offset that counts from the start of an element.
fn slice(element: &[u8], position: u32, size: u32) -> Option<&[u8]> {
    element.get(usize::try_from(position).ok()?..)?.get(..usize::try_from(size).ok()?)
}

/// Returns the elements of a branch: `None` if one is not within the page.
pub(super) fn branch_elements(page: &[u8]) -> Option<Vec<BranchElement<'_>>> {
    let read = |element| {
        let key = slice(element, u32_at(element, 0)?, u32_at(element, 4)?)?;
        Some(BranchElement { key, page: u64_at(element, 8)? })
    };
    elements(page)?.map(read).collect()
}

/// Returns the elements of a leaf: `None` if one is not within the page.
pub(super) fn leaf_elements(page: &[u8]) -> Option<Vec<LeafElement<'_>>> {
    let read = |element| {
        let position = u32_at(element, 4)?;
        let (key_size, value_size) = (u32_at(element, 8)?, u32_at(element, 12)?);
        let key = slice(element, position, key_size)?;
        let value = slice(element, position.checked_add(key_size)?, value_size)?;
        Some(LeafElement { flags: u32_at(element, 0)?, key, value })
    };
    elements(page)?.map(read).collect()
}
