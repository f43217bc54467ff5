//! The size and the cost of a delta that is merged of two, beside one that is made of the layers.
//!
//! Of each pair there is a middle version: `middle.tar` beside the layers, or else the new layer in which every second
//! file that changed is still the old one. tar-diff makes the deltas from the old to the middle version, from
//! that to the new one, and from the old to the new one; `tar-diff merge` makes the last of the first two.
//! Both are applied, and the result is compared.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use layer::{BLOCK_SIZE, Digest, EntryKind, Spool, SpoolOptions, entries};
use serde::Serialize;

use crate::launch::Usage;
use crate::table::{aligned, megabytes, multiple};
use crate::{Error, Ours, Pair, Result};

/// The figures of one pair.
#[derive(Debug, Clone, Serialize)]
pub struct MergedPair {
    /// Its name.
    pub name: String,
    /// True if the middle version is one that was released.
    pub is_real: bool,
    /// Bytes of the new layer, uncompressed.
    pub size: u64,
    /// Bytes of the delta from the old to the middle version.
    pub first: u64,
    /// Bytes of the delta from the middle to the new version.
    pub second: u64,
    /// Bytes of the delta from the old to the new version, made of the layers.
    pub direct: u64,
    /// Bytes of the same, merged.
    pub merged: u64,
    /// The cost of the direct delta, verification included.
    pub make: Usage,
    /// The cost of the merged one. Nothing is verified.
    pub merge: Usage,
    /// Bytes of the same, merged with the least effort of the compressor.
    pub merged_fast: u64,
    /// Its cost: that of merging, and hardly any of compression.
    pub merge_fast: Usage,
}

/// Measures one pair. There has to be room for three layers uncompressed, the old one extracted, and four deltas.
///
/// # Errors
/// [`Error::Io`], or [`Error::Yardstick`] if a command fails; a delta that gives another layer is one of these
/// failures.
pub fn measure(ours: &Ours<'_>, pair: &Pair) -> Result<MergedPair> {
    let dir = ours.directory()?;
    let prepared = pair.prepare(dir.path())?;
    let (old, new) = (prepared.old_tar.as_path(), prepared.new_tar.as_path());
    let given = pair.new.with_file_name("middle.tar");
    let is_real = given.is_file();
    let middle = if is_real { given } else { dir.path().join("middle.tar") };
    if !is_real {
        write_middle(old, new, &middle)?;
    }
    let [first, second, direct, merged, merged_fast, out] =
        ["first", "second", "direct", "merged", "merged-fast", "out.tar"].map(|name| dir.path().join(name));
    let once = ours.once();
    once.diff(old, &middle, &first)?;
    once.diff(&middle, new, &second)?;
    let make = ours.diff(old, new, &direct)?;
    let merge_with = |option: &str, value: &str, to: &Path| {
        let [option, value] = [option, value].map(str::as_ref);
        let line = ["merge".as_ref(), "--quiet".as_ref(), option, value];
        let paths = [first.as_os_str(), second.as_os_str(), to.as_os_str()];
        ours.run("tar-diff", &[&line[..], &paths].concat())
    };
    let merge = merge_with("--preset", ours.preset, &merged)?;
    let merge_fast = merge_with("--level", "1", &merged_fast)?;
    let diff_id = prepared.diff_id.to_string();
    once.run(
        "tar-patch",
        &[
            "--quiet".as_ref(),
            "--diff-id".as_ref(),
            diff_id.as_ref(),
            merged.as_ref(),
            old.as_ref(),
            out.as_ref(),
        ],
    )?;
    let size = |path: &Path| fs::metadata(path).map_err(Error::io("read", path)).map(|file| file.len());
    Ok(MergedPair {
        name: pair.name.clone(),
        is_real,
        size: prepared.new_size,
        first: size(&first)?,
        second: size(&second)?,
        direct: size(&direct)?,
        merged: size(&merged)?,
        make,
        merge,
        merged_fast: size(&merged_fast)?,
        merge_fast,
    })
}

/// Writes a version between two layers: the new one, in which every second file that changed, by the digests of their
/// paths, is the old one.
fn write_middle(old: &Path, new: &Path, middle: &Path) -> Result<()> {
    let open = |path: &Path| Spool::open(path, &SpoolOptions::default());
    let (old, new) = (open(old)?, open(new)?);
    let file = File::create(middle).map_err(Error::io("create", middle))?;
    let mut output = BufWriter::new(file);
    let before: HashMap<_, _> = parts(&old)?.into_iter().map(|part| (part.path, part.range)).collect();
    let mut copy = |from: &Spool, range: Range<u64>| -> Result<()> {
        let bytes = from.read_range(range)?;
        output.write_all(&bytes).map_err(Error::io("write", middle))
    };
    let mut end = 0;
    for Part { path, range } in parts(&new)? {
        end = range.end;
        match before.get(&path) {
            Some(old_range) if !path.is_empty() && Digest::of(&path).as_bytes()[0].is_multiple_of(2) => {
                copy(&old, old_range.clone())?;
            }
            _ => copy(&new, range)?,
        }
    }
    copy(&new, end..new.size())?;
    output.flush().map_err(Error::io("write", middle))
}

/// An entry of a tar.
struct Part {
    /// Its path, if it is a regular file; none otherwise.
    path: Box<[u8]>,
    /// Its bytes, headers included.
    range: Range<u64>,
}

/// Returns the entries of a tar, which follow each other without a gap.
fn parts(tar: &Spool) -> Result<Vec<Part>> {
    let mut start = 0;
    let part = |entry: layer::Entry| {
        let end = entry.data.end.next_multiple_of(BLOCK_SIZE).max(start);
        let range = start..end;
        start = end;
        Part { path: if entry.kind == EntryKind::File { entry.path } else { Box::default() }, range }
    };
    Ok(entries(tar)?.into_iter().map(part).collect())
}

/// The pairs as aligned columns that are Markdown as well.
pub fn table(pairs: &[MergedPair]) -> String {
    let head = [
        "pair",
        "middle",
        "layer MB",
        "v1-v2 MB",
        "v2-v3 MB",
        "v1-v3 MB",
        "merged MB",
        "of v1-v3",
        "of both",
        "made in CPU s",
        "merged in CPU s",
        "faster",
        "at level 1, of v1-v3",
        "faster",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for pair in pairs {
        rows.push(vec![
            pair.name.clone(),
            if pair.is_real { "released" } else { "derived" }.to_owned(),
            megabytes(pair.size),
            megabytes(pair.first),
            megabytes(pair.second),
            megabytes(pair.direct),
            megabytes(pair.merged),
            multiple(pair.merged as f64 / pair.direct as f64),
            multiple(pair.merged as f64 / (pair.first + pair.second) as f64),
            format!("{:.2}", pair.make.cpu),
            format!("{:.2}", pair.merge.cpu),
            multiple(pair.make.cpu / pair.merge.cpu),
            multiple(pair.merged_fast as f64 / pair.direct as f64),
            multiple(pair.make.cpu / pair.merge_fast.cpu),
        ]);
    }
    aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_version_has_files_of_both() {
        let dir = tempfile::tempdir().unwrap();
        let [old, new, middle] = ["old", "new", "middle"].map(|name| dir.path().join(name));
        let (first, second) = fixtures::Corpus { files: 40, mean_size: 2 << 10, ..Default::default() }.pair();
        fs::write(&old, &first).unwrap();
        fs::write(&new, &second).unwrap();
        write_middle(&old, &new, &middle).unwrap();
        let files = |path: &Path| -> HashMap<Box<[u8]>, Vec<u8>> {
            let tar = Spool::open(path, &SpoolOptions::default()).unwrap();
            let parts = parts(&tar).unwrap().into_iter().filter(|part| !part.path.is_empty());
            parts.map(|part| (part.path, tar.read_range(part.range).unwrap())).collect()
        };
        let (old, new, middle) = (files(&old), files(&new), files(&middle));
        assert_eq!(middle.len(), new.len());
        let is = |of: &HashMap<Box<[u8]>, Vec<u8>>| {
            middle.iter().filter(|(path, bytes)| of.get(*path) == Some(*bytes)).count()
        };
        assert!(is(&old) < middle.len() && is(&new) < middle.len());
        assert!(middle.iter().all(|(path, bytes)| [&old, &new].iter().any(|of| of.get(path) == Some(bytes))));
    }
}
