//! Members of zip archives, as their central directory lists them (APPNOTE.TXT 4.3).
//!
//! Just enough to tell what changed between two archives: no zip64, no encryption. Every size and
//! offset is checked; what does not fit gives `None` or an empty member.

use std::collections::HashSet;
use std::io::{self, Read};

/// Size of the end record without its comment, in bytes.
const END_SIZE: usize = 22;
/// Longest comment behind the end record, in bytes.
const MAX_COMMENT_SIZE: usize = 0xffff;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// One member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'z> {
    name: &'z [u8],
    crc: u32,
    size: u32,
    method: u16,
    packed_size: u32,
    /// Offset of its local header.
    offset: u32,
}

impl<'z> Member<'z> {
    /// What is the same in two members with the same content.
    const fn identity(&self) -> (&'z [u8], u32, u32) {
        (self.name, self.crc, self.size)
    }
}

/// The members of an archive, in the order of its directory.
pub(super) fn members(zip: &[u8]) -> Option<Vec<Member<'_>>> {
    let search = zip.len().saturating_sub(END_SIZE + MAX_COMMENT_SIZE);
    let end =
        search + zip[search..].windows(END_SIZE).rposition(|window| window.starts_with(b"PK\x05\x06"))?;
    let count = u16_at(zip, end + 10)?;
    let mut at = usize::try_from(u32_at(zip, end + 16)?).ok()?;
    let mut members = Vec::new();
    for _ in 0..count {
        if zip.get(at..at + 4)? != b"PK\x01\x02" {
            return None;
        }
        let name_size = usize::from(u16_at(zip, at + 28)?);
        members.push(Member {
            name: zip.get(at + 46..at + 46 + name_size)?,
            crc: u32_at(zip, at + 16)?,
            size: u32_at(zip, at + 24)?,
            method: u16_at(zip, at + 10)?,
            packed_size: u32_at(zip, at + 20)?,
            offset: u32_at(zip, at + 42)?,
        });
        at += 46 + name_size + usize::from(u16_at(zip, at + 30)?) + usize::from(u16_at(zip, at + 32)?);
    }
    Some(members)
}

/// How many members of `new` are not in `old` with the same name, size and CRC-32, or are gone.
pub(super) fn changed(old: &[Member<'_>], new: &[Member<'_>]) -> u64 {
    let of_old: HashSet<_> = old.iter().map(Member::identity).collect();
    let of_new: HashSet<_> = new.iter().map(Member::identity).collect();
    let names: HashSet<_> = new.iter().map(|member| member.name).collect();
    let gone = old.iter().filter(|member| !names.contains(member.name)).count();
    (of_new.difference(&of_old).count() + gone) as u64
}

/// The unpacked contents of all members, one after the other.
pub(super) fn reader<'z>(zip: &'z [u8], members: Vec<Member<'z>>) -> impl Read + 'z {
    Contents { zip, members: members.into_iter(), member: Box::new(io::empty()) }
}

struct Contents<'z> {
    zip: &'z [u8],
    members: std::vec::IntoIter<Member<'z>>,
    member: Box<dyn Read + 'z>,
}

impl Read for Contents<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.member.read(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            let Some(member) = self.members.next() else { return Ok(0) };
            let packed = packed(self.zip, &member).unwrap_or_default();
            self.member = match member.method {
                DEFLATED => Box::new(flate2::bufread::DeflateDecoder::new(packed)),
                // Others stay as they are: packed bytes are compared with packed bytes.
                _ => Box::new(packed),
            };
        }
    }
}

fn packed<'z>(zip: &'z [u8], member: &Member<'_>) -> Option<&'z [u8]> {
    let at = usize::try_from(member.offset).ok()?;
    let header = 30 + usize::from(u16_at(zip, at + 26)?) + usize::from(u16_at(zip, at + 28)?);
    let size = if member.method == STORED { member.size } else { member.packed_size };
    zip.get(at + header..)?.get(..usize::try_from(size).ok()?)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// An archive of members with these names and contents, all with this time.
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "members of a test are small")]
pub(super) fn archive(members: &[(&str, &[u8])], time: u16) -> Vec<u8> {
    use std::io::Write;
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        let packed = encoder.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut fields = Vec::new();
        for field in [20, 0, DEFLATED, time, 0x5a21] {
            fields.extend(field.to_le_bytes());
        }
        for field in [crc.sum(), packed.len() as u32, content.len() as u32] {
            fields.extend(field.to_le_bytes());
        }
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0; 2]);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend((zip.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        zip.extend(b"PK\x03\x04");
        zip.extend(&fields);
        zip.extend(name.as_bytes());
        zip.extend(&packed);
    }
    let (count, start) = ((members.len() as u16).to_le_bytes(), zip.len() as u32);
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend(count);
    zip.extend(count);
    zip.extend((directory.len() as u32).to_le_bytes());
    zip.extend(start.to_le_bytes());
    zip.extend([0; 2]);
    zip
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_compared_by_name_size_and_crc() {
        let old = archive(&[("a", b"first"), ("b", b"second")], 1);
        let again = archive(&[("b", b"second"), ("a", b"first")], 2);
        let other = archive(&[("a", b"first"), ("c", b"third")], 1);
        let of = |zip| members(zip).unwrap();
        assert_eq!(changed(&of(&old), &of(&again)), 0);
        assert_eq!(changed(&of(&old), &of(&other)), 2, "one is gone, one is new");
        let mut content = Vec::new();
        reader(&old, of(&old)).read_to_end(&mut content).unwrap();
        assert_eq!(content, b"firstsecond");
    }

    #[test]
    fn broken_archives_are_no_archives() {
        let zip = archive(&[("name", &[7; 1000])], 1);
        assert!(members(b"").is_none() && members(&zip[..zip.len() - 5]).is_none());
        for at in 0..zip.len() {
            for byte in [0, 0xff] {
                let mut broken = zip.clone();
                broken[at] = byte;
                if let Some(members) = members(&broken) {
                    let mut content = Vec::new();
                    let _ = reader(&broken, members).take(10_000).read_to_end(&mut content);
                }
            }
        }
    }
}
