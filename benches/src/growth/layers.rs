//! Writes layer pairs of any size: entry by entry, never whole in memory, the same bytes in every run.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use fixtures::{Ending, LayerBuilder, Rng, contents, mutate};
use layer::{DiffId, DigestWriter};

use crate::{Error, Result};

/// One of both layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

/// The kind of content of a layer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    /// So many small files. In the new layer one in 20 is edited, one in 100 is at another path, and one
    /// in 100 is another file altogether.
    Files(u64),
    /// One file of so many bytes. In the new layer something is inserted near its start, so that
    /// everything after it has moved, and one MiB in 50 is edited.
    OneFile(u64),
}

/// Bytes of the small files, from and to.
const FILE_SIZES: (usize, usize) = (60, 1500);
/// Files in one directory.
const FILES_PER_DIR: u64 = 500;
/// Bytes of the large file that are made at once.
const PIECE_SIZE: usize = 1 << 20;
/// Bytes that are inserted into the large file.
const INSERTED_SIZE: usize = 1000;
/// Distinguishes what is new from all that is old.
const NEW_SEED: u64 = 1 << 60;

/// A layer that was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) diff_id: DiffId,
    pub(super) size: u64,
}

/// Writes one side of a pair to `path`.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn write(path: &Path, content: Content, side: Side) -> Result<Written> {
    let file = File::create(path).map_err(Error::io("create", path))?;
    let mut out = DigestWriter::new(BufWriter::new(file));
    let written = match content {
        Content::Files(count) => (0..count).try_for_each(|index| small_file(&mut out, index, side)),
        Content::OneFile(size) => large_file(&mut out, size, side),
    };
    written
        .and_then(|()| out.write_all(&LayerBuilder::new().finish(Ending::TwoZeroBlocks)))
        .and_then(|()| out.flush())
        .map_err(Error::io("write", path))?;
    let (_, digest, size) = out.finish();
    Ok(Written { diff_id: DiffId(digest), size })
}

fn small_file(out: &mut impl Write, index: u64, side: Side) -> io::Result<()> {
    let is_new = |every: u64, at: u64| side == Side::New && index % every == at;
    let seed = if is_new(100, 33) { NEW_SEED + index } else { index };
    let mut rng = Rng::new(seed);
    let size = rng.between(FILE_SIZES.0, FILE_SIZES.1);
    let name = rng.next_u64() >> 48;
    let mut bytes = contents::text(&mut rng, size);
    if is_new(20, 7) {
        mutate::scatter(&mut bytes, &mut rng, 1, 12);
    }
    let top = if is_new(100, 66) { "opt" } else { "srv" };
    let path = format!("{top}/{:05}/{name:04x}-{seed}.txt", index / FILES_PER_DIR);
    out.write_all(&LayerBuilder::new().file(path, bytes).finish(Ending::NoZeroBlocks))
}

fn large_file(out: &mut impl Write, size: u64, side: Side) -> io::Result<()> {
    let inserted = if side == Side::New { Rng::new(NEW_SEED).bytes(INSERTED_SIZE) } else { Vec::new() };
    let all = size + inserted.len() as u64;
    // The size as a record: one over 8 GiB fits no other field that every reader knows.
    let mut header = LayerBuilder::new();
    header.pax_record("size", all.to_string()).file("var/lib/data", "");
    out.write_all(&header.finish(Ending::NoZeroBlocks))?;
    let mut left = size;
    for index in 0.. {
        if index == 1 || left == 0 && index == 0 {
            out.write_all(&inserted)?;
        }
        let Some(bytes) = piece(index, left, side) else { break };
        out.write_all(&bytes)?;
        left -= bytes.len() as u64;
    }
    let padding = usize::try_from(all.next_multiple_of(512) - all).unwrap_or(0);
    out.write_all(&[0; 512][..padding])
}

/// A piece of the large file, half of it text and half of it noise, or `None` after its end.
fn piece(index: u64, left: u64, side: Side) -> Option<Vec<u8>> {
    let size = usize::try_from(left).map_or(PIECE_SIZE, |left| left.min(PIECE_SIZE));
    let mut rng = Rng::new(index);
    let mut bytes = contents::text(&mut rng, size / 2);
    bytes.extend(rng.bytes(size - bytes.len()));
    if side == Side::New && index % 50 == 7 {
        mutate::scatter(&mut bytes, &mut rng, 50, 20);
    }
    (size > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use layer::{EntryKind, Spool, SpoolOptions};

    use super::*;

    fn entries(content: Content, side: Side) -> (Written, Vec<(String, u64)>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layer.tar");
        let written = write(&path, content, side).unwrap();
        let spool = Spool::open(&path, &SpoolOptions::default()).unwrap();
        assert_eq!((spool.size(), spool.diff_id().unwrap()), (written.size, written.diff_id));
        let entries = layer::entries(&spool).unwrap();
        assert!(entries.iter().all(|entry| entry.kind == EntryKind::File));
        let named = entries.iter().map(|entry| {
            (String::from_utf8_lossy(&entry.path).into_owned(), entry.data.end - entry.data.start)
        });
        (written, named.collect())
    }

    #[test]
    fn small_files_change_as_they_should() {
        let (_, old) = entries(Content::Files(1000), Side::Old);
        let (_, new) = entries(Content::Files(1000), Side::New);
        assert_eq!((old.len(), new.len()), (1000, 1000));
        // 10 moved and 10 replaced.
        assert_eq!(new.iter().filter(|entry| !old.contains(entry)).count(), 20);
        assert!(new.iter().filter(|(path, _)| path.starts_with("opt/")).count() == 10);
    }

    #[test]
    fn a_large_file_has_its_size() {
        for size in [0, 1, 512, 3 * PIECE_SIZE as u64 + 77] {
            let (old, of_old) = entries(Content::OneFile(size), Side::Old);
            let (new, of_new) = entries(Content::OneFile(size), Side::New);
            assert_eq!(of_old[0].1, size);
            assert_eq!(of_new[0].1, size + INSERTED_SIZE as u64);
            assert!(old.size < new.size + 1024 && old.diff_id != new.diff_id);
        }
    }
}
