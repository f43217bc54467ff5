//! The facts that the old layers tell about the files of the new one.

use std::collections::HashMap;

use delta_format::{SourcePath, escape_path};
use layer::{Entry, EntryKind, MergeOptions, MergedFile, MergedTree, Spool, clean_path};

use crate::Result;
use crate::reasons::{self, SamePath};
use crate::unpacked::{self, Budget};
use crate::{FileCost, OldFile, Reason};

/// Files that cost less are not looked into: it would take longer than it could save.
const MIN_COST: u64 = 64;
/// The bytes of a tar header that hold the modification time (POSIX.1-1988, ustar), from its start.
const MTIME: std::ops::Range<usize> = 136..148;
const HEADER_SIZE: u64 = 512;

/// Files of one kind that were not looked into, since that would have taken too much.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotLookedInto {
    pub(crate) files: u64,
    pub(crate) cost: u64,
}

/// Files whose content is the same as before, and how many of those have another time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mtimes {
    pub(crate) unchanged: u64,
    pub(crate) other: u64,
}

/// The old layers.
#[derive(Debug)]
pub(crate) struct Old<'s> {
    spools: &'s [Spool],
    /// The files on disk if whiteouts are passed over, and if they are applied: a delta does not say for which
    /// it was made.
    trees: [MergedTree; 2],
    /// All regular files that have data, usable or not, by cleaned path: size in bytes.
    files: HashMap<Vec<u8>, u64>,
}

impl<'s> Old<'s> {
    pub(crate) fn new(spools: &'s [Spool]) -> Result<Self> {
        let layers = spools.iter().map(layer::entries).collect::<layer::Result<Vec<_>>>()?;
        let trees = [false, true].map(|apply_whiteouts| {
            MergedTree::merge(&layers, &MergeOptions::default().apply_whiteouts(apply_whiteouts))
        });
        let mut files = HashMap::new();
        for entry in layers.iter().flatten() {
            let is_file = matches!(entry.kind, EntryKind::File | EntryKind::Sparse);
            if let Some(path) = clean_path(&entry.path).filter(|_| is_file && !entry.data.is_empty()) {
                files.insert(path, entry.data.end - entry.data.start);
            }
        }
        Ok(Self { spools, trees, files })
    }

    pub(crate) const fn is_given(&self) -> bool {
        !self.spools.is_empty()
    }

    /// Returns the file at this cleaned path, in whichever way the old layers were extracted.
    fn find(&self, path: &[u8]) -> Option<&MergedFile> {
        self.trees.iter().find_map(|tree| tree.find(path))
    }

    /// Returns the content of the file that a delta names; `None` if there is no such file of at most `max` bytes.
    pub(crate) fn content(&self, source: &SourcePath, max: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.find(source.as_bytes()) else { return Ok(None) };
        if file.data.end - file.data.start > max {
            return Ok(None);
        }
        Ok(Some(self.spools[file.layer].read_range(file.data.clone())?))
    }

    /// Returns the state of the old layers at this cleaned path.
    pub(crate) fn same_path(&self, path: Option<&[u8]>) -> SamePath {
        if !self.is_given() {
            return SamePath::Unknown;
        }
        match path {
            Some(path) if self.find(path).is_some() => SamePath::Usable,
            Some(path) if self.files.contains_key(path) => SamePath::Unusable,
            _ => SamePath::Missing,
        }
    }

    /// The old file of this cleaned path, or else the main source.
    pub(crate) fn counterpart(&self, path: Option<&[u8]>, source: Option<&[u8]>) -> Option<OldFile> {
        [path, source].into_iter().flatten().find_map(|path| {
            let size = self.files.get(path)?;
            Some(OldFile { path: escape_path(path).to_string(), size: *size })
        })
    }

    /// Looks into the compressed files that changed, costliest first, and notes what it finds.
    /// Files that were too large to look into are counted.
    pub(crate) fn look_into(
        &self,
        files: &mut [FileCost],
        entries: &[&Entry],
        new: &Spool,
    ) -> Result<NotLookedInto> {
        let mut skipped = NotLookedInto::default();
        let mut budget = Budget::new();
        for (file, entry) in files.iter_mut().zip(entries) {
            if !file.kind.is_compressed() || !file.reason.is_change() || file.cost.total < MIN_COST {
                continue;
            }
            let Some(old) = self.usable(entry, file) else { continue };
            let old_size = old.data.end - old.data.start;
            if budget.is_spent() || file.size.max(old_size) > unpacked::MAX_FILE_SIZE {
                skipped.files += 1;
                skipped.cost += file.cost.total;
                continue;
            }
            let of_old = self.spools[old.layer].read_range(old.data.clone())?;
            let of_new = new.read_range(entry.data.clone())?;
            file.finding = unpacked::compare(file.kind, &of_old, &of_new, &mut budget);
            if let Some(finding) = file.finding {
                file.reason = reasons::choose_again(file.reason, file.cost.total, finding);
            }
        }
        Ok(skipped)
    }

    /// Counts the files that did not change but for the time in their tar header.
    pub(crate) fn count_other_mtimes(
        &self,
        files: &[FileCost],
        entries: &[&Entry],
        new: &Spool,
    ) -> Result<Mtimes> {
        let mut mtimes = Mtimes::default();
        for (_, entry) in files.iter().zip(entries).filter(|(file, _)| file.reason == Reason::Unchanged) {
            let Some(old) = clean_path(&entry.path).and_then(|path| self.find(&path)) else { continue };
            let header =
                |spool: &Spool, start: u64| spool.read_range(start.saturating_sub(HEADER_SIZE)..start);
            let of_old = header(&self.spools[old.layer], old.data.start)?;
            let of_new = header(new, entry.data.start)?;
            mtimes.unchanged += 1;
            mtimes.other += u64::from(of_old.get(MTIME) != of_new.get(MTIME));
        }
        Ok(mtimes)
    }

    /// The old file to look into beside a new one: that of its path, or else its main source.
    fn usable(&self, entry: &Entry, file: &FileCost) -> Option<&MergedFile> {
        let same = clean_path(&entry.path).and_then(|path| self.find(&path));
        // An escaped path that names a file as it stands names the file it was escaped from, or
        // one that is compared in vain.
        same.or_else(|| self.find(file.made.sources.first()?.path.as_bytes()))
    }
}
