//! The members of a zip archive, as its central directory lists them (APPNOTE.TXT 4.3).
//!
//! ```text
//! [local header][data]  [local header][data]  ...  [directory: an entry for each member]  [end record]
//! ```
//!
//! The end record says where the directory lies, an entry of the directory where the local header of its
//! member lies. All of them may lie: each size and offset is checked against the file.

use std::ops::Range;

use crate::Budget;

/// Size of the end record without its comment, in bytes.
const END_SIZE: usize = 22;
/// Longest comment that can follow the end record, in bytes.
const MAX_COMMENT_SIZE: usize = 0xffff;
/// Size of the zip64 locator, which lies before the end record, in bytes.
const LOCATOR_SIZE: usize = 20;
/// Units of work that an entry of the directory costs.
const ENTRY_WORK: u64 = 64;

/// The compression of a member (APPNOTE.TXT 4.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// It is stored as it is.
    Stored,
    /// It is a deflate stream.
    Deflated,
    /// It is compressed in a way that this crate does not know, or encrypted.
    Other,
}

/// A member of a zip archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member<'z> {
    /// Its path, as its bytes are.
    pub name: &'z [u8],
    /// The CRC-32 of its content, as the directory says.
    pub crc: u32,
    /// The size of its content in bytes, as the directory says.
    pub plain_size: u64,
    /// The compression of the stream.
    pub method: Method,
    /// The range of its data in the file, compressed as it is, in bytes.
    pub encoded: Range<usize>,
}

/// Returns the members of a zip archive in the order of its directory.
///
/// Members whose data does not lie in the file are left out; without a directory there are none. Each
/// entry is charged to `budget`, and what it does not cover is not read.
pub fn members<'z>(zip: &'z [u8], budget: &Budget) -> Vec<Member<'z>> {
    let mut members = Vec::new();
    if !budget.charge(zip.len().min(END_SIZE + MAX_COMMENT_SIZE) as u64) {
        return members;
    }
    if let Some((mut at, count)) = directory(zip) {
        for _ in 0..count {
            let Some((member, size)) = entry(zip, at).filter(|_| budget.charge(ENTRY_WORK)) else { break };
            members.extend(member);
            at += size;
        }
    }
    members
}

/// Returns the offset of the directory and the number of its entries.
fn directory(zip: &[u8]) -> Option<(usize, u64)> {
    let search = zip.len().saturating_sub(END_SIZE + MAX_COMMENT_SIZE);
    let end =
        search + zip[search..].windows(END_SIZE).rposition(|window| window.starts_with(b"PK\x05\x06"))?;
    let mut count = u64::from(u16_at(zip, end + 10)?);
    let size = u64::from(u32_at(zip, end + 12)?);
    let mut start = u64::from(u32_at(zip, end + 16)?);
    let is_wide = count == 0xffff || size == 0xffff_ffff || start == 0xffff_ffff;
    let locator = end.checked_sub(LOCATOR_SIZE).filter(|at| zip[*at..].starts_with(b"PK\x06\x07"));
    if let (true, Some(locator)) = (is_wide, locator) {
        let record = usize::try_from(u64_at(zip, locator + 8)?).ok()?;
        if !zip.get(record..)?.starts_with(b"PK\x06\x06") {
            return None;
        }
        count = u64_at(zip, record.checked_add(32)?)?;
        start = u64_at(zip, record.checked_add(48)?)?;
    }
    Some((usize::try_from(start).ok()?, count))
}

/// The member of the directory's entry at an offset, if its data lies in the file, and the size of the entry.
fn entry(zip: &[u8], at: usize) -> Option<(Option<Member<'_>>, usize)> {
    const HEADER_SIZE: usize = 46;
    let entry = zip.get(at..)?;
    if !entry.starts_with(b"PK\x01\x02") {
        return None;
    }
    let name_size = usize::from(u16_at(entry, 28)?);
    let extra_size = usize::from(u16_at(entry, 30)?);
    let size = HEADER_SIZE + name_size + extra_size + usize::from(u16_at(entry, 32)?);
    let name = entry.get(HEADER_SIZE..HEADER_SIZE + name_size)?;
    let extra = entry.get(HEADER_SIZE + name_size..HEADER_SIZE + name_size + extra_size)?;
    Some((member(zip, entry, name, extra), size))
}

fn member<'z>(zip: &[u8], entry: &[u8], name: &'z [u8], extra: &[u8]) -> Option<Member<'z>> {
    const LOCAL_HEADER_SIZE: usize = 30;
    let is_encrypted = u16_at(entry, 8)? & 1 != 0;
    let method = match u16_at(entry, 10)? {
        0 if !is_encrypted => Method::Stored,
        8 if !is_encrypted => Method::Deflated,
        _ => Method::Other,
    };
    let mut fields =
        [u64::from(u32_at(entry, 24)?), u64::from(u32_at(entry, 20)?), u64::from(u32_at(entry, 42)?)];
    widen(&mut fields, extra);
    let [plain_size, encoded_size, offset] = fields;
    let local = usize::try_from(offset).ok()?;
    let header = zip.get(local..)?;
    if !header.starts_with(b"PK\x03\x04") {
        return None;
    }
    let names = usize::from(u16_at(header, 26)?) + usize::from(u16_at(header, 28)?);
    let start = local + LOCAL_HEADER_SIZE + names;
    let end = start.checked_add(usize::try_from(encoded_size).ok()?)?;
    let crc = u32_at(entry, 16)?;
    (end <= zip.len()).then_some(Member { name, crc, plain_size, method, encoded: start..end })
}

/// Takes those fields that do not fit 32 bits from the zip64 field, in its order (APPNOTE 4.5.3).
fn widen(fields: &mut [u64; 3], mut extra: &[u8]) {
    while let (Some(id), Some(size)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some(data) = extra.get(4..4 + usize::from(size)) else { return };
        if id == 1 {
            let mut at = 0;
            for field in fields.iter_mut().filter(|field| **field == 0xffff_ffff) {
                let Some(wide) = u64_at(data, at) else { return };
                *field = wide;
                at += 8;
            }
            return;
        }
        extra = &extra[4 + usize::from(size)..];
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}
