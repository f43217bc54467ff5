//! The entries that GNU tar (1.34) and Go's archive/tar read differently. Both were run on each case that is
//! told apart here.

use crate::ahead::{Ahead, Global, size_for_gnu};
use crate::entry::{Dispute, EntryKind};
use crate::header::{Dialect, HeaderBlock, SIZE};
use crate::pax::PaxHeader;

/// An entry as Go reads it.
pub(crate) struct Reading<'r> {
    pub(crate) header: &'r HeaderBlock,
    pub(crate) path: &'r [u8],
    pub(crate) kind: &'r EntryKind,
    pub(crate) size: u64,
}

impl Reading<'_> {
    /// Finds what GNU tar reads otherwise.
    pub(crate) fn dispute(&self, for_gnu: &Ahead, global: &Global) -> Option<Dispute> {
        let Self { header, path, kind, .. } = self;
        let path_for_gnu = for_gnu.path_for_gnu(header, global);
        if self.has_disputed_extent(for_gnu, &path_for_gnu, global) {
            return Some(Dispute::Everything);
        }
        let is_same = match kind {
            EntryKind::Nothing => return None,
            _ if *path != &*path_for_gnu => false,
            EntryKind::HardLink(link) => **link == *for_gnu.link_for_gnu(header, global),
            // GNU tar passes over an entry without a size.
            _ if header.number_for_gnu(SIZE).is_none() => false,
            EntryKind::Symlink(link) => **link == *for_gnu.link_for_gnu(header, global),
            // GNU tar makes files of unknown types, directories of type `D`; Go leaves that to its caller.
            EntryKind::Other => matches!(header.type_flag(), b'3' | b'4' | b'6'),
            _ => true,
        };
        // Go's callers clean such a path, GNU tar skips the entry.
        let climbs = path.split(|&byte| byte == b'/').any(|component| component == b"..");
        match (is_same, climbs) {
            (true, false) => None,
            (true, true) => Some(Dispute::Names(without_climbing(path).into())),
            (false, false) => Some(Dispute::Names(path_for_gnu)),
            // There are three names.
            (false, true) => Some(Dispute::Everything),
        }
    }

    /// Returns whether GNU tar finds the next header elsewhere, or skips this one, or whether one of them
    /// finds a link or a special file where the other finds a file.
    fn has_disputed_extent(&self, for_gnu: &Ahead, path_for_gnu: &[u8], global: &Global) -> bool {
        let Self { header, kind, size, .. } = self;
        if !header.has_right_checksum_for_gnu() {
            return true;
        }
        // GNU tar takes a file for sparse by fewer records than Go, and also what is no file.
        let is_sparse_for_gnu = global.is_about_sparse_files || !is_only_a_name(&for_gnu.pax);
        if **kind != EntryKind::Sparse && is_sparse_for_gnu {
            return true;
        }
        let size_for_gnu = match header.type_flag() {
            b'S' if header.dialect() != Dialect::Gnu => return true,
            b'1'..=b'6' => return false,
            // It is a directory, and has no data.
            0 | b'0' | b'7' if path_for_gnu.ends_with(b"/") => Some(0),
            // An extended header has a size of its own.
            b'X' => header.number_for_gnu(SIZE),
            _ => {
                let record = size_for_gnu(&for_gnu.pax).or(global.size);
                record.or_else(|| header.number_for_gnu(SIZE))
            }
        };
        size_for_gnu != Some(*size)
    }
}

/// Returns whether the records of sparse files are but a name.
fn is_only_a_name(pax: &PaxHeader) -> bool {
    let mut keys = pax.records().map(|(key, _)| key).filter(|key| key.starts_with(b"GNU.sparse."));
    keys.all(|key| key == b"GNU.sparse.name")
}

/// The path with each `..` taken together with what it leaves.
fn without_climbing(path: &[u8]) -> Vec<u8> {
    let mut clean: Vec<&[u8]> = Vec::new();
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(clean.pop()),
            name => clean.push(name),
        }
    }
    clean.join(&b'/')
}
