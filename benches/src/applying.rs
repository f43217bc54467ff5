//! The CPU and memory that applying deltas takes, beside the parts that no applier can leave out.
//!
//! Of each pair tar-diff makes a delta, and tar-patch applies it to the extracted old layer with the digest
//! checked. Beside it stands what three programs take that do one part each, with the same libraries: one
//! decompresses the delta, one hashes the new layer, and one copies it from a file to another. CPU is
//! given in multiples of that of `sha256sum` of the new layer, in the same run.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use cli::Output;
use layer::DigestWriter;
use serde::Serialize;

use crate::launch::Step;
use crate::table::{aligned, megabytes, multiple};
use crate::{Error, Ours, Pair, Result};

/// Bytes that the parts read and write at once, as tar-patch does.
const CHUNK_SIZE: usize = 256 << 10;

/// The figures of one pair.
#[derive(Debug, Clone, Serialize)]
pub struct AppliedPair {
    /// Its name.
    pub name: String,
    /// Bytes of the new layer, uncompressed.
    pub size: u64,
    /// Ops of the delta.
    pub ops: u64,
    /// CPU of `sha256sum` of the new layer, in seconds: the unit of the others.
    pub sha256_cpu: f64,
    /// CPU of tar-patch, in units of `sha256_cpu`.
    pub apply: f64,
    /// CPU of decompressing the delta, in units of `sha256_cpu`.
    pub decompress: f64,
    /// CPU of hashing the new layer, in units of `sha256_cpu`.
    pub hash: f64,
    /// CPU of copying the new layer, in units of `sha256_cpu`.
    pub copy: f64,
    /// Most memory of tar-patch, in bytes.
    pub peak: u64,
}

/// A part of applying, for a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Decompresses a delta.
    Decompress,
    /// Hashes a file.
    Hash,
    /// Copies a file to stdout.
    Copy,
}

impl Part {
    /// The name of the part on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decompress => "decompress",
            Self::Hash => "hash",
            Self::Copy => "copy",
        }
    }

    /// The part of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Decompress, Self::Hash, Self::Copy].into_iter().find(|part| part.name() == name)
    }

    /// Does the part with the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn run(self, path: &Path) -> Result<()> {
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        let done = match self {
            Self::Decompress => decompress(file),
            Self::Hash => pump(&mut file, &mut DigestWriter::new(io::sink())),
            Self::Copy => Output::stdout().and_then(|mut output| pump(&mut file, &mut output)),
        };
        done.map_err(Error::io(self.name(), path))
    }
}

fn decompress(mut delta: File) -> io::Result<()> {
    delta.seek(SeekFrom::Start(delta_format::wire::MAGIC_SIZE as u64))?;
    let mut delta = BufReader::with_capacity(CHUNK_SIZE, delta);
    let start = delta.fill_buf()?;
    let compression = layer::Compression::detect(&start[..start.len().min(layer::Compression::MAGIC_SIZE)]);
    let mut decoder = compression.decoder(delta)?;
    pump(&mut decoder, &mut io::sink())
}

fn pump(input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_SIZE];
    loop {
        match input.read(&mut chunk)? {
            0 => return Ok(()),
            read => output.write_all(&chunk[..read])?,
        }
    }
}

/// Measures one pair. There has to be room for both layers uncompressed, the old one extracted, a delta and a result.
///
/// # Errors
/// [`Error::Io`], or [`Error::Yardstick`] if a command fails; a result that is another layer is one of
/// these failures.
pub fn measure(ours: &Ours<'_>, pair: &Pair) -> Result<AppliedPair> {
    let dir = ours.directory()?;
    let prepared = pair.prepare(dir.path())?;
    let (delta, out) = (dir.path().join("delta"), dir.path().join("out.tar"));
    ours.once().diff(&prepared.old_tar, &prepared.new_tar, &delta)?;
    let file = File::open(&delta).map_err(Error::io("open", &delta))?;
    let summary = explain::Summary::read(file)?;
    let words = |words: &[&OsStr]| words.iter().map(OsString::from).collect();
    let command = words(&["sha256sum".as_ref(), prepared.new_tar.as_ref()]);
    let sha256 = ours.step("sha256sum", &Step { command, ..Step::default() })?;
    let diff_id = prepared.diff_id.to_string();
    let apply = ours.run(
        "tar-patch",
        &[
            "--quiet".as_ref(),
            "--force".as_ref(),
            "--diff-id".as_ref(),
            diff_id.as_ref(),
            delta.as_ref(),
            prepared.tree.as_ref(),
            out.as_ref(),
        ],
    )?;
    let part = |part: Part, path: &Path, out: Option<&Path>| {
        let program = ours.launcher.program.as_os_str();
        let command = words(&[program, "apply-part".as_ref(), part.name().as_ref(), path.as_ref()]);
        ours.step(part.name(), &Step { command, stdin: None, stdout: out.map(Into::into) })
    };
    let unit = sha256.cpu.max(0.0005);
    Ok(AppliedPair {
        name: pair.name.clone(),
        size: prepared.new_size,
        ops: summary.by_kind().iter().map(|(_, totals)| totals.ops).sum(),
        sha256_cpu: sha256.cpu,
        apply: apply.cpu / unit,
        decompress: part(Part::Decompress, &delta, None)?.cpu / unit,
        hash: part(Part::Hash, &prepared.new_tar, None)?.cpu / unit,
        copy: part(Part::Copy, &prepared.new_tar, Some(&out))?.cpu / unit,
        peak: apply.peak,
    })
}

/// The results as text.
pub fn table(pairs: &[AppliedPair]) -> String {
    let head = ["pair", "MB", "ops", "sha256sum", "apply", "decompress", "hash", "copy", "peak MB"]
        .map(str::to_owned);
    let rows = pairs.iter().map(|pair| {
        vec![
            pair.name.clone(),
            megabytes(pair.size),
            pair.ops.to_string(),
            format!("{:.2} s", pair.sha256_cpu),
            multiple(pair.apply),
            multiple(pair.decompress),
            multiple(pair.hash),
            multiple(pair.copy),
            format!("{:.0}", pair.peak as f64 / 1e6),
        ]
    });
    aligned(&std::iter::once(head.to_vec()).chain(rows).collect::<Vec<_>>())
}

/// Checks that no pair takes more than `most` times the CPU of `sha256sum`.
///
/// # Errors
/// [`Error::Dear`].
pub fn check(pairs: &[AppliedPair], most: f64) -> Result<()> {
    match pairs.iter().find(|pair| pair.apply > most) {
        Some(pair) => Err(Error::Dear { pair: pair.name.clone(), takes: pair.apply, most }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_over_the_bound_is_told_and_the_table_has_each() {
        let pair = |name: &str, apply| AppliedPair {
            name: name.into(),
            size: 1_000_000,
            ops: 7,
            sha256_cpu: 0.5,
            apply,
            decompress: 0.125,
            hash: 0.25,
            copy: 0.0625,
            peak: 20_000_000,
        };
        let pairs = [pair("near", 0.5), pair("far", 0.75)];
        assert!(check(&pairs, 0.75).is_ok());
        assert!(matches!(check(&pairs, 0.6), Err(Error::Dear { pair, .. }) if pair == "far"));
        let table = table(&pairs);
        assert_eq!(table.lines().count(), 4, "{table}");
        assert!(table.contains(" 0.75x |") && table.contains(" 0.12x |"), "{table}");
    }

    #[test]
    fn parts_are_called_by_their_names() {
        for part in [Part::Decompress, Part::Hash, Part::Copy] {
            assert_eq!(Part::from_name(part.name()), Some(part));
        }
        assert_eq!(Part::from_name("all"), None);
    }
}
