//! The entries of a layer's tar and where the data of each lies.
//!
//! The walk reads headers only: data is skipped by offset. `tar` parses the header fields; offsets,
//! extension headers and the end of the archive are handled here, since an exact offset is what this
//! crate is for.

use std::ops::Range;

use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::pax::pax_records;
use crate::{Error, Result, Spool};

/// Size of a tar block in bytes (POSIX.1-1988, ustar).
pub const BLOCK_SIZE: u64 = 512;
/// Largest extension header (long name, PAX records) that is read, in bytes. Real ones stay below
/// the largest extended attribute, 64 KiB.
pub const MAX_EXTENSION_SIZE: u64 = 1 << 20;
/// Bytes that all names together may have over the size of the tar: only a global header gives one
/// name to many entries.
const MAX_REPEATED_NAMES: u64 = 4 << 20;

/// One entry of a tar. Extension headers are part of the entry that they describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path as the tar has it, raw bytes.
    pub path: Box<[u8]>,
    /// What the entry is.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// The stored data: byte offsets in the uncompressed tar. Empty for entries without data.
    pub data: Range<u64>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file; its data is its content.
    File,
    /// A sparse file in any of the GNU and PAX forms; its data is not its content.
    Sparse,
    /// One more name of the file that an entry with this path made.
    HardLink(Box<[u8]>),
    /// A symbolic link with this target.
    Symlink(Box<[u8]>),
    /// A directory.
    Directory,
    /// A device, a fifo, or a type that this crate does not know.
    Other,
}

/// Lists the entries of a tar, up to its first zero block or its end.
///
/// What follows the end of the archive is nobody's data and is not looked at. Fewer than 512 bytes
/// at the end cannot be a header and count as such.
///
/// # Errors
/// [`Error::BrokenTar`] with the offset of the header that is broken or whose data is cut off,
/// [`Error::Io`].
pub fn entries(spool: &Spool) -> Result<Vec<Entry>> {
    let mut walk = Walk { spool, position: 0, global: Overrides::default(), names: 0 };
    let mut entries = Vec::new();
    while let Some(entry) = walk.next_entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

/// Fields of later headers that extension headers replace.
#[derive(Debug, Clone, Default)]
struct Overrides {
    path: Option<Box<[u8]>>,
    link: Option<Box<[u8]>>,
    size: Option<u64>,
    sparse: bool,
}

struct Walk<'s> {
    spool: &'s Spool,
    /// Offset of the next header.
    position: u64,
    global: Overrides,
    /// Bytes of the names of all entries so far.
    names: u64,
}

impl Walk<'_> {
    fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut overrides = self.global.clone();
        loop {
            let start = self.position;
            let Some(header) = self.header()? else { return Ok(None) };
            match header.entry_type() {
                EntryType::GNULongName => overrides.path = Some(self.long_name(&header, start)?),
                EntryType::GNULongLink => overrides.link = Some(self.long_name(&header, start)?),
                EntryType::XHeader => {
                    let records = self.extension(&header, start)?;
                    read_records(&records, &mut overrides).map_err(|reason| self.broken(start, reason))?;
                }
                EntryType::XGlobalHeader => {
                    let records = self.extension(&header, start)?;
                    let mut global = std::mem::take(&mut self.global);
                    read_records(&records, &mut global).map_err(|reason| self.broken(start, reason))?;
                    overrides = global.clone();
                    self.global = global;
                }
                _ => return self.entry(&header, start, overrides).map(Some),
            }
        }
    }

    /// Reads the header at the position and moves behind it; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        if self.spool.size().saturating_sub(self.position) < BLOCK_SIZE {
            return Ok(None);
        }
        let mut header = Header::new_old();
        self.spool.read_exact_at(header.as_mut_bytes(), self.position)?;
        if header.as_bytes().iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let stored = header.cksum().map_err(|_| self.broken(self.position, "this is no tar header"))?;
        if !checksums(header.as_bytes()).contains(&i64::from(stored)) {
            return Err(self.broken(self.position, "the checksum of the header does not match"));
        }
        self.position += BLOCK_SIZE;
        Ok(Some(header))
    }

    fn entry(&mut self, header: &Header, start: u64, overrides: Overrides) -> Result<Entry> {
        let path = overrides.path.unwrap_or_else(|| header.path_bytes().into());
        let link =
            || overrides.link.clone().unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into());
        let kind = match header.entry_type() {
            EntryType::Regular if path.ends_with(b"/") => EntryKind::Directory,
            EntryType::Regular | EntryType::Continuous if overrides.sparse => EntryKind::Sparse,
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::GNUSparse => EntryKind::Sparse,
            EntryType::Link => EntryKind::HardLink(link()),
            EntryType::Symlink => EntryKind::Symlink(link()),
            EntryType::Directory => EntryKind::Directory,
            _ => EntryKind::Other,
        };
        if header.entry_type() == EntryType::GNUSparse {
            self.skip_sparse_extensions(header, start)?;
        }
        let size = match header.entry_type() {
            // These have no data whatever the size field says: GNU tar, Go and Python agree.
            EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo => 0,
            _ => match overrides.size {
                Some(size) => size,
                None => self.size_field(header, start)?,
            },
        };
        let data = self.take_data(size, start)?;
        let link = match &kind {
            EntryKind::HardLink(link) | EntryKind::Symlink(link) => link.len(),
            _ => 0,
        };
        self.names += (path.len() + link) as u64;
        if self.names > self.spool.size() + MAX_REPEATED_NAMES {
            return Err(self.broken(start, "a global header gives a long name to many entries"));
        }
        let mode = header.mode().unwrap_or(0);
        Ok(Entry { path, kind, mode, data })
    }

    /// Moves behind the extension blocks of an old GNU sparse header, which precede the data.
    fn skip_sparse_extensions(&mut self, header: &Header, start: u64) -> Result<()> {
        let mut extended = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
        while extended {
            if self.spool.size().saturating_sub(self.position) < BLOCK_SIZE {
                return Err(self.broken(start, "the sparse map of the entry is cut off"));
            }
            let mut block = GnuExtSparseHeader::new();
            self.spool.read_exact_at(block.as_mut_bytes(), self.position)?;
            self.position += BLOCK_SIZE;
            extended = block.is_extended();
        }
        Ok(())
    }

    /// The range of `size` bytes of data at the position; moves behind them and their padding.
    fn take_data(&mut self, size: u64, start: u64) -> Result<Range<u64>> {
        let data = self.position..self.position.saturating_add(size);
        if data.end > self.spool.size() {
            return Err(self.broken(start, "the data of the entry is cut off"));
        }
        self.position = data.end.next_multiple_of(BLOCK_SIZE);
        Ok(data)
    }

    /// The data of an extension header.
    fn extension(&mut self, header: &Header, start: u64) -> Result<Vec<u8>> {
        let size = self.size_field(header, start)?;
        if size > MAX_EXTENSION_SIZE {
            return Err(self.broken(start, "an extension header is over 1 MiB"));
        }
        let data = self.take_data(size, start)?;
        let mut bytes = vec![0; usize::try_from(size).expect("at most 1 MiB")];
        self.spool.read_exact_at(&mut bytes, data.start)?;
        Ok(bytes)
    }

    fn long_name(&mut self, header: &Header, start: u64) -> Result<Box<[u8]>> {
        let mut name = self.extension(header, start)?;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name.into())
    }

    fn size_field(&self, header: &Header, start: u64) -> Result<u64> {
        header.entry_size().map_err(|_| self.broken(start, "the size field of the header is no number"))
    }

    fn broken(&self, offset: u64, reason: impl Into<String>) -> Error {
        Error::BrokenTar { name: self.spool.name().to_owned(), offset, reason: reason.into() }
    }
}

/// The checksum of a header with its own field taken as blanks: of unsigned bytes as POSIX says,
/// and of signed ones as some old writers did.
fn checksums(header: &[u8; 512]) -> [i64; 2] {
    let bytes = || {
        header.iter().enumerate().map(|(index, &byte)| if (148..156).contains(&index) { b' ' } else { byte })
    };
    [bytes().map(i64::from).sum(), bytes().map(|byte| i64::from(byte.cast_signed())).sum()]
}

/// Takes the records that matter here from PAX extended headers (POSIX.1-2001, pax); of two with
/// one key, the last counts.
fn read_records(records: &[u8], overrides: &mut Overrides) -> Result<(), &'static str> {
    for record in pax_records(records) {
        let (key, value) = record.ok_or("a PAX record is malformed")?;
        match key {
            b"path" if !overrides.sparse || overrides.path.is_none() => overrides.path = Some(value.into()),
            b"linkpath" => overrides.link = Some(value.into()),
            b"size" => {
                let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                overrides.size = Some(size.ok_or("the PAX size is no number")?);
            }
            b"GNU.sparse.name" => {
                overrides.sparse = true;
                overrides.path = Some(value.into());
            }
            key if key.starts_with(b"GNU.sparse.") => overrides.sparse = true,
            _ => {}
        }
    }
    Ok(())
}
