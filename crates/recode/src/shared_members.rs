//! The members that two zip archives have in common.

use std::collections::{HashMap, HashSet};

use crate::codec::Container;
use crate::zip::{self, Member, Method};
use crate::{Budget, HEAD_SIZE};

/// The content of a member as the directory tells it: its CRC-32, its size, and the size of its stream.
type Content = (u32, u64, usize);

/// The deflated members that two zip archives have in common, their streams bit for bit the same.
///
/// Two releases of a program share most of the classes in a jar. [`find_unshared`](crate::find_unshared) leaves
/// their streams out, which need not be decoded to be told apart from the others.
#[derive(Debug, Default)]
pub struct SharedMembers(HashSet<Content>);

impl SharedMembers {
    /// Returns the members that both files have; none if one of them is not a zip archive. Reading the
    /// directories is charged to `budget`.
    pub fn of(left: &[u8], right: &[u8], budget: &Budget) -> Self {
        let in_left: HashMap<Content, &[u8]> = streams(left, budget).collect();
        let both = streams(right, budget)
            .filter(|(content, stream)| in_left.get(content).is_some_and(|other| other == stream));
        Self(both.map(|(content, _)| content).collect())
    }

    pub(crate) fn has(&self, member: &Member<'_>) -> bool {
        self.0.contains(&content(member))
    }
}

/// The streams of the deflated members of a zip archive.
fn streams<'z>(file: &'z [u8], budget: &Budget) -> impl Iterator<Item = (Content, &'z [u8])> {
    let is_zip = Container::detect(&file[..file.len().min(HEAD_SIZE)]) == Some(Container::Zip);
    let members = if is_zip { zip::members(file, budget) } else { Vec::new() };
    let deflated = members.into_iter().filter(|member| member.method == Method::Deflated);
    deflated.map(|member| (content(&member), &file[member.encoded]))
}

const fn content(member: &Member<'_>) -> Content {
    (member.crc, member.plain_size, member.encoded.end - member.encoded.start)
}
