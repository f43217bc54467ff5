//! Looks into compressed files: what changed once the compression is undone.

use std::io::{self, Read};

use layer::Compression;

use crate::members;
use crate::{ContentKind, Finding};

/// Most bytes of one file, packed or unpacked.
pub(crate) const MAX_FILE_SIZE: u64 = 64 << 20;
/// Most bytes of all files together that are unpacked, of both sides.
const MAX_TOTAL_SIZE: u64 = 1 << 30;
/// Level of the frames that stand for a delta of the unpacked files: fast, and nearly as small.
const LEVEL: i32 = 6;

/// The bytes that may still be unpacked.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
}

impl Budget {
    pub(crate) const fn new() -> Self {
        Self { left: MAX_TOTAL_SIZE }
    }

    pub(crate) const fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Reads what a decoder gives, if that is not too much.
    fn read(&mut self, decoder: impl Read) -> Option<Vec<u8>> {
        let max = self.left.min(MAX_FILE_SIZE);
        let mut bytes = Vec::new();
        let read = decoder.take(max).read_to_end(&mut bytes);
        self.left -= bytes.len() as u64;
        (read.is_ok() && (bytes.len() as u64) < max).then_some(bytes)
    }
}

/// Compares two compressed files of one kind. `None` if they cannot be unpacked within the bounds.
pub(crate) fn compare(kind: ContentKind, old: &[u8], new: &[u8], budget: &mut Budget) -> Option<Finding> {
    let (old_content, new_content, members) = match kind {
        ContentKind::Zip => {
            let directory = |zip| recode::zip::members(zip, &recode::Budget::of_file(MAX_FILE_SIZE));
            let (old_zip, new_zip) = (directory(old), directory(new));
            if old_zip.is_empty() || new_zip.is_empty() {
                return None;
            }
            let changed = members::changed(&old_zip, &new_zip);
            if changed == 0 {
                return Some(Finding::SameMembers { members: new_zip.len() as u64 });
            }
            let counts = Some((changed, new_zip.len() as u64));
            (budget.read(members::reader(old, old_zip))?, budget.read(members::reader(new, new_zip))?, counts)
        }
        _ => (unpack(old, budget)?, unpack(new, budget)?, None),
    };
    if members.is_none() && old_content == new_content {
        return Some(Finding::SameContent { header_only: is_gzip_header_change(old, new) });
    }
    let estimate = delta_format::zstd_dict_frame(&old_content, &new_content, LEVEL).ok()?.len() as u64;
    Some(Finding::Unpacked { size: new_content.len() as u64, estimate, members })
}

fn unpack(packed: &[u8], budget: &mut Budget) -> Option<Vec<u8>> {
    let compression = Compression::detect(packed.get(..Compression::MAGIC_SIZE)?);
    if compression == Compression::None {
        return None;
    }
    budget.read(compression.decoder(io::BufReader::new(packed)).ok()?)
}

/// True if two gzip files differ in their headers only: time, system or name (RFC 1952, 2.3).
fn is_gzip_header_change(old: &[u8], new: &[u8]) -> bool {
    match (recode::gzip_header_size(old), recode::gzip_header_size(new)) {
        (Some(of_old), Some(of_new)) => old[of_old..] == new[of_new..],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8], level: u32, mtime: u32, name: &str) -> Vec<u8> {
        let builder = flate2::GzBuilder::new().mtime(mtime).filename(name);
        let mut encoder = builder.write(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_files_are_compared_by_what_they_hold() {
        let text = fixtures::contents::text(&mut fixtures::Rng::new(1), 50_000);
        let mut changed = text.clone();
        changed.splice(100..101, *b"a small change");
        let old = gzip(&text, 9, 1, "a");
        let compare = |new: &[u8]| compare(ContentKind::Gzip, &old, new, &mut Budget::new());
        assert_eq!(compare(&gzip(&text, 9, 2, "bc")), Some(Finding::SameContent { header_only: true }));
        assert_eq!(compare(&gzip(&text, 1, 1, "a")), Some(Finding::SameContent { header_only: false }));
        let Some(Finding::Unpacked { size, estimate, members: None }) = compare(&gzip(&changed, 9, 1, "a"))
        else {
            panic!("the contents differ");
        };
        assert_eq!(size, changed.len() as u64);
        assert!(estimate < 200, "{estimate}");
        assert_eq!(compare(&old[..300]), None, "cut off");
        assert_eq!(compare(&text), None, "no gzip");
    }

    #[test]
    fn bombs_are_not_unpacked() {
        let bomb = gzip(&vec![0; (64 << 20) + 1], 9, 0, "a");
        let mut budget = Budget::new();
        assert_eq!(compare(ContentKind::Gzip, &bomb, &bomb, &mut budget), None);
        assert_eq!(budget.left, MAX_TOTAL_SIZE - MAX_FILE_SIZE);
        budget.left = 10;
        let small = gzip(b"more than ten bytes", 9, 0, "a");
        assert_eq!(compare(ContentKind::Gzip, &small, &small, &mut budget), None);
        assert!(budget.is_spent());
    }
}
