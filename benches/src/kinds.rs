//! Where the bytes of a delta go, by the kind of the file that they make.
//!
//! A delta is one compressed stream, so no byte of it belongs to a file. The estimate: what the ops
//! carry for each kind is compressed on its own, and the size of the delta is shared out in
//! proportion.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::path::Path;

use delta_format::wire::put_uvarint;
use delta_format::{Op, OpReader};
use layer::{Entry, Spool, SpoolOptions, entries};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// zstd level of the estimate: that of an ordinary delta.
const LEVEL: i32 = 9;
/// Bytes at the start of a file that tell its kind.
const START_SIZE: u64 = 1024;

/// What a byte of the new tar, or of the delta, belongs to.
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
    /// What the ops take beside their bytes: codes, sizes, paths.
    Ops,
}

impl Kind {
    /// All kinds, in the order in which they are shown.
    pub const ALL: [Self; 8] =
        [Self::Elf, Self::Gzip, Self::Xz, Self::Zip, Self::Text, Self::Other, Self::Headers, Self::Ops];

    /// What it is called in the results.
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

    /// Tells the kind of a file from its first bytes.
    fn of(start: &[u8]) -> Self {
        let is_control = |byte: &u8| byte.is_ascii_control() && !b"\t\n\r\x0c\x1b".contains(byte);
        match start {
            [0x7f, b'E', b'L', b'F', ..] => Self::Elf,
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'P', b'K', 3, 4, ..] => Self::Zip,
            bytes if !bytes.iter().any(is_control) => Self::Text,
            _ => Self::Other,
        }
    }
}

/// What one kind of file takes of a delta. Sizes are in bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KindShare {
    /// The kind.
    pub kind: Kind,
    /// Its bytes in the new tar.
    pub new_size: u64,
    /// Of those, what is copied from old files.
    pub copied: u64,
    /// What is made of old bytes and differences.
    pub added: u64,
    /// Of those, the bytes that differ.
    pub changed: u64,
    /// What the delta carries.
    pub literal: u64,
    /// Its share of the delta, estimated.
    pub delta_size: f64,
}

/// The share of each kind that has any, of the delta at `delta` that makes the tar at `new`.
///
/// # Errors
/// [`Error::Delta`], [`Error::Layer`] or [`Error::Io`].
pub fn shares(delta: &Path, new: &Path) -> Result<Vec<KindShare>> {
    let file = File::open(delta).map_err(Error::io("open", delta))?;
    let delta_size = file.metadata().map_err(Error::io("read", delta))?.len();
    let new = Spool::open(new, &SpoolOptions::default())?;
    let entries = entries(&new)?;
    let mut walk =
        Walk { map: Map::new(&new, &entries), accounts: accounts().map_err(Error::io("compress", delta))? };
    let mut reader = OpReader::new(file)?;
    while let Some(op) = reader.next_op()? {
        walk.op(&op, &mut reader).map_err(Error::io("read", delta))?;
    }
    let accounts = walk.accounts.into_iter().map(Account::finish).collect::<io::Result<Vec<_>>>();
    let mut shares = accounts.map_err(Error::io("compress", delta))?;
    shares.retain(|share| share.new_size > 0 || share.kind == Kind::Ops);
    let sum: f64 = shares.iter().map(|share| share.delta_size).sum();
    for share in &mut shares {
        share.delta_size *= delta_size as f64 / sum;
    }
    Ok(shares)
}

struct Walk<'w> {
    map: Map<'w>,
    accounts: Vec<Account>,
}

impl Walk<'_> {
    fn op(&mut self, op: &Op, reader: &mut OpReader<'_>) -> io::Result<()> {
        let mut head = vec![0];
        match *op {
            Op::Data { size } | Op::Copy { size } | Op::AddData { size } | Op::ZstdDict { size } => {
                put_uvarint(&mut head, size);
            }
            Op::Seek { offset } => put_uvarint(&mut head, offset),
            Op::Open(ref path) => head.extend_from_slice(path.as_bytes()),
        }
        self.accounts[Kind::Ops as usize].encoder.write_all(&head)?;
        match *op {
            Op::Open(_) | Op::Seek { .. } => Ok(()),
            Op::Copy { size } => self.each(size, |account, size| account.share.copied += size),
            Op::Data { .. } => self.payload(reader, |account, bytes| {
                account.share.literal += bytes.len() as u64;
            }),
            Op::AddData { .. } => self.payload(reader, |account, bytes| {
                account.share.added += bytes.len() as u64;
                account.share.changed += bytes.iter().map(|&byte| u64::from(byte != 0)).sum::<u64>();
            }),
            Op::ZstdDict { .. } => self.frame(reader),
        }
    }

    /// Shares out the next `size` bytes of the new tar.
    fn each(&mut self, mut size: u64, mut count: impl FnMut(&mut Account, u64)) -> io::Result<()> {
        while size > 0 {
            let (kind, taken) = self.map.take(size)?;
            let account = &mut self.accounts[kind as usize];
            account.share.new_size += taken;
            count(account, taken);
            size -= taken;
        }
        Ok(())
    }

    fn payload(&mut self, reader: &mut OpReader<'_>, count: impl Fn(&mut Account, &[u8])) -> io::Result<()> {
        let mut payload = reader.payload();
        loop {
            let bytes = payload.fill_buf()?;
            if bytes.is_empty() {
                return Ok(());
            }
            let (kind, taken) = self.map.take(bytes.len() as u64)?;
            let account = &mut self.accounts[kind as usize];
            let bytes = usize::try_from(taken).map_or(bytes, |taken| &bytes[..taken]);
            account.share.new_size += taken;
            account.encoder.write_all(bytes)?;
            count(account, bytes);
            let size = bytes.len();
            payload.consume(size);
        }
    }

    /// A frame with a whole source as its prefix counts as what makes the file, whole.
    fn frame(&mut self, reader: &mut OpReader<'_>) -> io::Result<()> {
        let mut frame = Vec::new();
        reader.payload().read_to_end(&mut frame)?;
        let size = zstd::zstd_safe::get_frame_content_size(&frame).ok().flatten().unwrap_or(0);
        let (kind, _) = self.map.peek()?;
        self.accounts[kind as usize].encoder.write_all(&frame)?;
        self.each(size, |account, size| account.share.added += size)
    }
}

/// What a kind has got so far.
struct Account {
    share: KindShare,
    encoder: zstd::Encoder<'static, Count>,
}

fn accounts() -> io::Result<Vec<Account>> {
    let account = |kind| {
        let share =
            KindShare { kind, new_size: 0, copied: 0, added: 0, changed: 0, literal: 0, delta_size: 0.0 };
        Ok(Account { share, encoder: zstd::Encoder::new(Count(0), LEVEL)? })
    };
    Kind::ALL.into_iter().map(account).collect()
}

impl Account {
    fn finish(self) -> io::Result<KindShare> {
        let size = self.encoder.finish()?.0;
        Ok(KindShare { delta_size: size as f64, ..self.share })
    }
}

/// Counts what is written to it.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The kinds along the new tar, from its start to its end.
struct Map<'m> {
    new: &'m Spool,
    files: Vec<&'m Entry>,
    next: usize,
    position: u64,
    /// Kind of the file that `next` is, once it was looked at.
    seen: Option<Kind>,
}

impl<'m> Map<'m> {
    fn new(new: &'m Spool, entries: &'m [Entry]) -> Self {
        let files = entries.iter().filter(|entry| !entry.data.is_empty()).collect();
        Self { new, files, next: 0, position: 0, seen: None }
    }

    /// The kind at the position, and the bytes from there on that are of one piece.
    fn peek(&mut self) -> io::Result<(Kind, u64)> {
        while self.files.get(self.next).is_some_and(|file| file.data.end <= self.position) {
            self.next += 1;
            self.seen = None;
        }
        let Some(file) = self.files.get(self.next) else { return Ok((Kind::Headers, u64::MAX)) };
        if self.position < file.data.start {
            return Ok((Kind::Headers, file.data.start - self.position));
        }
        let kind = match self.seen {
            Some(kind) => kind,
            None => {
                let end = file.data.end.min(file.data.start + START_SIZE);
                let start = self.new.read_range(file.data.start..end).map_err(io::Error::other)?;
                *self.seen.insert(Kind::of(&start))
            }
        };
        Ok((kind, file.data.end - self.position))
    }

    /// Moves on by at most `size` bytes of one kind; tells the kind and how many.
    fn take(&mut self, size: u64) -> io::Result<(Kind, u64)> {
        let (kind, left) = self.peek()?;
        let taken = size.min(left);
        self.position += taken;
        Ok((kind, taken))
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
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let (old, new) = (write("old", &old), write("new", &new));
        let open = |path: &Path| Spool::open(path, &SpoolOptions::default()).unwrap();
        for method in [tar_diff::Method::Bsdiff, tar_diff::Method::Zstd] {
            let options = tar_diff::DiffOptions { method, ..Default::default() };
            let (delta, _) =
                tar_diff::diff(&[open(&old)], &open(&new), &options, Vec::new(), &|_| ()).unwrap();
            let delta = write("delta", &delta);
            let shares = shares(&delta, &new).unwrap();
            let size = |path: &Path| std::fs::metadata(path).unwrap().len();
            assert_eq!(shares.iter().map(|share| share.new_size).sum::<u64>(), size(&new), "{shares:?}");
            let in_all: f64 = shares.iter().map(|share| share.delta_size).sum();
            assert!((in_all - size(&delta) as f64).abs() < 1.0, "{shares:?}");
            for share in &shares {
                assert_eq!(share.new_size, share.copied + share.added + share.literal, "{share:?}");
            }
            assert!(shares.iter().any(|share| share.kind == Kind::Text && share.delta_size > 0.0));
        }
    }

    #[test]
    fn kinds_are_told_from_the_start() {
        for (start, kind) in [
            (&b"\x7fELF\x02"[..], Kind::Elf),
            (b"\x1f\x8b\x08", Kind::Gzip),
            (b"\xfd7zXZ\0", Kind::Xz),
            (b"PK\x03\x04", Kind::Zip),
            (b"#!/bin/sh\n\techo \xc3\xa4\n", Kind::Text),
            (b"\x89PNG\r\n\x1a\n\0", Kind::Other),
        ] {
            assert_eq!(Kind::of(start), kind);
        }
    }
}
