//! Compares the members of two zip archives.

use std::collections::HashSet;
use std::io::{self, Read};

use recode::zip::{Member, Method};

/// The part of a member that is the same in two members with the same content.
const fn identity<'z>(member: &Member<'z>) -> (&'z [u8], u32, u64) {
    (member.name, member.crc, member.plain_size)
}

/// Counts the members of `new` that `old` does not have with the same name, size and CRC-32, and those that
/// are gone.
pub(crate) fn changed(old: &[Member<'_>], new: &[Member<'_>]) -> u64 {
    let of_old: HashSet<_> = old.iter().map(identity).collect();
    let of_new: HashSet<_> = new.iter().map(identity).collect();
    let names: HashSet<_> = new.iter().map(|member| member.name).collect();
    let gone = old.iter().filter(|member| !names.contains(member.name)).count();
    (of_new.difference(&of_old).count() + gone) as u64
}

/// Reads the unpacked contents of all members, one after the other.
pub(crate) fn reader<'z>(zip: &'z [u8], members: Vec<Member<'z>>) -> impl Read + 'z {
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
            let encoded = self.zip.get(member.encoded).unwrap_or_default();
            self.member = match member.method {
                Method::Deflated => Box::new(flate2::bufread::DeflateDecoder::new(encoded)),
                // The bytes of others are compared as they are.
                _ => Box::new(encoded),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use recode::Budget;
    use recode::zip::members;

    fn of(zip: &[u8]) -> Vec<Member<'_>> {
        members(zip, &Budget::of_file(zip.len() as u64))
    }

    #[test]
    fn members_are_compared_by_name_size_and_crc() {
        let old = fixtures::zip(&[("a", b"first"), ("b", b"second")], 1);
        let again = fixtures::zip(&[("b", b"second"), ("a", b"first")], 2);
        let other = fixtures::zip(&[("a", b"first"), ("c", b"third")], 1);
        assert_eq!(changed(&of(&old), &of(&again)), 0);
        assert_eq!(changed(&of(&old), &of(&other)), 2, "one is gone, one is new");
        let mut content = Vec::new();
        reader(&old, of(&old)).read_to_end(&mut content).unwrap();
        assert_eq!(content, b"firstsecond");
    }

    #[test]
    fn broken_archives_are_read_as_far_as_they_hold() {
        let zip = fixtures::zip(&[("name", &[7; 1000])], 1);
        assert!(of(b"").is_empty() && of(&zip[..zip.len() - 5]).is_empty());
        for at in 0..zip.len() {
            for byte in [0, 0xff] {
                let mut broken = zip.clone();
                broken[at] = byte;
                let mut content = Vec::new();
                let _ = reader(&broken, of(&broken)).take(10_000).read_to_end(&mut content);
                assert!(content.len() <= 10_000);
            }
        }
    }
}
