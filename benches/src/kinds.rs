//! The bytes of a delta by the kind of the file that they make: the result of [`explain()`], in the few
//! kinds that a chart can show.

use std::fs;
use std::path::Path;

use explain::{ContentKind, FileCost, explain};
use layer::{Spool, SpoolOptions};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The kind of file that a byte of the new tar, or of the delta, belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Programs and libraries.
    Elf,
    /// gzip files.
    Gzip,
    /// xz files.
    Xz,
    /// zip files: jars, wheels.
    Zip,
    /// Text of any sort, scripts among it.
    Text,
    /// Other files.
    Other,
    /// Tar headers and padding.
    Headers,
    /// The bytes of the ops beside their bytes (codes, sizes, paths), and the frame around all.
    Ops,
}

impl Kind {
    /// All kinds, in the order in which they are shown.
    pub const ALL: [Self; 8] =
        [Self::Elf, Self::Gzip, Self::Xz, Self::Zip, Self::Text, Self::Other, Self::Headers, Self::Ops];

    /// Its name in the results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Elf => "ELF",
            Self::Gzip => "gz",
            Self::Xz => "xz",
            Self::Zip => "zip, jar",
            Self::Text => "text, JS",
            Self::Other => "other files",
            Self::Headers => "tar headers",
            Self::Ops => "ops",
        }
    }

    const fn of(kind: ContentKind) -> Self {
        match kind {
            ContentKind::Elf => Self::Elf,
            ContentKind::Gzip => Self::Gzip,
            ContentKind::Xz => Self::Xz,
            ContentKind::Zip => Self::Zip,
            ContentKind::Text => Self::Text,
            ContentKind::Headers => Self::Headers,
            _ => Self::Other,
        }
    }
}

/// The part of a delta that one kind of file takes. Sizes are in bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KindShare {
    /// The kind.
    pub kind: Kind,
    /// Its bytes in the new tar.
    pub new_size: u64,
    /// Of those, what is copied from old files.
    pub copied: u64,
    /// Bytes that are made of old bytes and differences, and headers of earlier ones and differences.
    pub added: u64,
    /// Of those, the bytes that differ.
    pub changed: u64,
    /// Bytes that the delta carries.
    pub literal: u64,
    /// Its bytes of the delta.
    pub delta_size: u64,
}

/// Returns the share of each kind that has any, of the delta at `delta` that makes the tar at `new`. The shares add
/// up to the delta. Of files that the delta sees through, what they hold is counted as copied, added and literal.
///
/// # Errors
/// [`Error::Explain`], [`Error::Layer`] or [`Error::Io`].
pub fn shares(delta: &Path, new: &Path) -> Result<Vec<KindShare>> {
    let bytes = fs::read(delta).map_err(Error::io("read", delta))?;
    let new = Spool::open(new, &SpoolOptions::default())?;
    let explanation = explain(bytes.as_slice(), &new, &[])?;
    let none =
        |kind| KindShare { kind, new_size: 0, copied: 0, added: 0, changed: 0, literal: 0, delta_size: 0 };
    let mut shares = Kind::ALL.map(none);
    shares[Kind::Ops as usize].delta_size = explanation.frame_size;
    for file in explanation.files.iter().chain([&explanation.headers]) {
        shares[Kind::of(file.kind) as usize].count(file);
        shares[Kind::Ops as usize].delta_size += file.cost.ops;
    }
    Ok(shares.into_iter().filter(|share| share.new_size + share.delta_size > 0).collect())
}

impl KindShare {
    fn count(&mut self, file: &FileCost) {
        self.new_size += file.size;
        self.copied += file.made.copied;
        self.added += file.made.added + file.made.framed + file.made.listed;
        self.changed += file.made.changed;
        self.literal += file.made.data;
        self.delta_size += file.cost.total - file.cost.ops;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_somebodys() {
        let dir = tempfile::tempdir().unwrap();
        let corpus = fixtures::Corpus { files: 60, mean_size: 4096, ..Default::default() };
        let (old, new) = corpus.pair();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let (old, new) = (write("old", &old), write("new", &new));
        let open = |path: &Path| Spool::open(path, &SpoolOptions::default()).unwrap();
        for method in [tar_diff::Method::Bsdiff, tar_diff::Method::Zstd] {
            let options = tar_diff::DiffOptions::default().method(method);
            let (delta, _) =
                tar_diff::diff(&[open(&old)], &open(&new), &options, Vec::new(), &|_| ()).unwrap();
            let shares = shares(&write("delta", &delta), &new).unwrap();
            let sum = |of: fn(&KindShare) -> u64| shares.iter().map(of).sum::<u64>();
            assert_eq!(sum(|share| share.new_size), fs::metadata(&new).unwrap().len(), "{shares:?}");
            assert_eq!(sum(|share| share.delta_size), delta.len() as u64, "{shares:?}");
            for share in &shares {
                assert_eq!(share.new_size, share.copied + share.added + share.literal, "{share:?}");
            }
            assert!(shares.iter().any(|share| share.kind == Kind::Text && share.delta_size > 0));
        }
    }

    #[test]
    fn a_compressed_file_that_a_delta_sees_through_has_the_share_of_what_it_holds() {
        use std::io::Write;

        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let layer = |line: &str| {
            let text = fixtures::contents::text(&mut fixtures::Rng::new(3), 100_000);
            let mut file = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            file.write_all(line.as_bytes()).unwrap();
            file.write_all(&text).unwrap();
            let mut layer = fixtures::LayerBuilder::new();
            layer.file("changelog.gz", file.finish().unwrap());
            layer.finish(fixtures::Ending::Normal)
        };
        let (old, new) = (write("old", &layer("one\n")), write("new", &layer("two lines\n")));
        let open = |path: &Path| Spool::open(path, &SpoolOptions::default()).unwrap();
        let options = tar_diff::DiffOptions::default().sees_through(true);
        let (delta, _) = tar_diff::diff(&[open(&old)], &open(&new), &options, Vec::new(), &|_| ()).unwrap();
        assert!(delta.starts_with(b"tardf3"));
        let shares = shares(&write("delta", &delta), &new).unwrap();
        assert_eq!(shares.iter().map(|share| share.delta_size).sum::<u64>(), delta.len() as u64);
        let compressed = shares.iter().find(|share| share.kind == Kind::Gzip).unwrap();
        assert!(compressed.added + compressed.copied >= 100_000 && compressed.literal < 100);
    }
}
