//! The walk over the headers of a tar.
//!
//! It reads headers only: data is skipped by offset. What it finds is what Go's archive/tar finds, since
//! that is what container tools extract with. Where GNU tar finds something else, the entry is
//! [disputed](EntryKind::Disputed).

use std::ops::Range;

use crate::ahead::{Ahead, Global};
use crate::disputes::Reading;
use crate::entry::{Dispute, Entry, EntryKind};
use crate::file_kind::what_it_is;
use crate::header::{BLOCK, Dialect, HeaderBlock, MODE, SIZE, up_to_nul};
use crate::listing::Listing;
use crate::pax::{PaxHeader, signed_decimal};
use crate::sparse::is_pax_sparse;
use crate::{Error, Result, Spool};

/// Size of a tar block in bytes (POSIX.1-1988, ustar).
pub const BLOCK_SIZE: u64 = 512;
/// Largest extension header (long name, PAX records) that is read, in bytes. Go takes none that is larger;
/// real ones stay below the largest extended attribute, 64 KiB.
const MAX_EXTENSION_SIZE: u64 = 1 << 20;
/// Bytes that all names together may have over the size of the tar: only a global header gives one
/// name to many entries.
const MAX_REPEATED_NAMES: u64 = 4 << 20;
/// Offset in a header of the byte after its magic: a piece of a header that is longer is known as one.
const MAGIC_END: usize = 262;

/// An entry with the headers that describe it.
#[derive(Debug, Clone)]
pub struct Member {
    /// The entry as [`entries`](crate::entries) gives it.
    pub entry: Entry,
    /// Its kind for Go, and so for container tools: never [disputed](EntryKind::Disputed).
    pub kind: EntryKind,
    pub(crate) header: HeaderBlock,
    pub(crate) pax: PaxHeader,
    /// Offset of what follows the header: extension blocks of a sparse file, then the data.
    pub(crate) header_end: u64,
    /// Offset of the header.
    pub(crate) start: u64,
}

/// The entries of a tar in order, each with its headers.
#[derive(Debug)]
pub struct Members<'s> {
    spool: &'s Spool,
    /// Offset of the next header.
    position: u64,
    /// Bytes of the names of all entries so far.
    names: u64,
    listing: Listing,
    global: Global,
    /// The statements of extension headers about the next entry, by the rules of Go.
    ahead: Ahead,
    /// The same by the rules of GNU tar, if that is something else.
    ahead_for_gnu: Option<Ahead>,
    /// True if GNU tar takes an extension header of the next entry for something else, or ends it elsewhere.
    is_disputed: bool,
    is_done: bool,
}

impl<'s> Members<'s> {
    /// The entries of the tar in `spool`, within the memory of a [`Listing`] of its own.
    pub fn of(spool: &'s Spool) -> Self {
        Self::within(spool, Listing::of([spool]))
    }

    /// The entries of the tar in `spool`, within the memory of `listing`.
    pub(crate) fn within(spool: &'s Spool, listing: Listing) -> Self {
        Self {
            spool,
            position: 0,
            names: 0,
            listing,
            global: Global::default(),
            ahead: Ahead::default(),
            ahead_for_gnu: None,
            is_disputed: false,
            is_done: false,
        }
    }

    /// The listing with what the entries took.
    pub(crate) fn into_listing(self) -> Listing {
        self.listing
    }

    fn next_member(&mut self) -> Result<Option<Member>> {
        loop {
            let start = self.position;
            let Some(header) = self.header()? else { return Ok(None) };
            match header.type_flag() {
                b'L' => {
                    let name = self.long_name(&header, start)?;
                    self.each_ahead(|ahead| ahead.long_name = Some(name.clone()));
                }
                b'K' => {
                    let name = self.long_name(&header, start)?;
                    self.each_ahead(|ahead| ahead.long_link = Some(name.clone()));
                }
                b'x' => {
                    let pax = self.pax(&header, start)?;
                    self.each_ahead(|ahead| ahead.pax = pax.clone());
                }
                b'g' => {
                    let pax = self.pax(&header, start)?;
                    self.global.take(&pax);
                    // For Go it is an entry, and what stands before it is lost.
                    let ahead = std::mem::take(&mut self.ahead);
                    if !ahead.is_empty() {
                        self.ahead_for_gnu.get_or_insert(ahead);
                    }
                }
                flag => {
                    let ahead = std::mem::take(&mut self.ahead);
                    let for_gnu = self.ahead_for_gnu.take();
                    if flag == b'X' {
                        // GNU tar reads Solaris' extended header as a PAX one, Go as an unknown entry.
                        let size = self.size_field(&header, start)?;
                        let pax = self.extension(size, self.position..self.spool.size(), start)?;
                        let for_gnu = for_gnu.clone().unwrap_or_else(|| ahead.clone());
                        let pax = PaxHeader::parse(pax).unwrap_or_default();
                        self.ahead_for_gnu = Some(Ahead { pax, ..for_gnu });
                    }
                    return self.member(header, start, ahead, for_gnu).map(Some);
                }
            }
        }
    }

    fn each_ahead(&mut self, change: impl Fn(&mut Ahead)) {
        change(&mut self.ahead);
        self.ahead_for_gnu.iter_mut().for_each(change);
    }

    /// Reads the header at the position and moves behind it; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<HeaderBlock>> {
        let left = self.spool.size().saturating_sub(self.position);
        if left < BLOCK_SIZE {
            return self.check_tail().map(|()| None);
        }
        let mut bytes = [0; BLOCK];
        self.spool.read_exact_at(&mut bytes, self.position)?;
        let header = HeaderBlock::new(bytes);
        if header.is_zero() {
            return Ok(None);
        }
        if !header.has_right_checksum() {
            if self.position == 0 && header.dialect() == Dialect::V7 {
                return Err(self.not_a_tar());
            }
            return Err(self.broken(self.position, "the checksum of the header does not match"));
        }
        self.position += BLOCK_SIZE;
        Ok(Some(header))
    }

    /// Checks the bytes behind the last whole block, which may be anything but a part of a header, or all
    /// that there is.
    fn check_tail(&self) -> Result<()> {
        if self.position >= self.spool.size() {
            return Ok(());
        }
        if self.position == 0 {
            return Err(self.not_a_tar());
        }
        let tail = self.spool.read_range(self.position..self.spool.size())?;
        if tail.get(..MAGIC_END).is_some_and(|start| start.ends_with(b"ustar")) {
            return Err(self.broken(self.position, "the header is cut off"));
        }
        Ok(())
    }

    fn member(
        &mut self,
        header: HeaderBlock,
        start: u64,
        ahead: Ahead,
        for_gnu: Option<Ahead>,
    ) -> Result<Member> {
        let header_end = self.position;
        let is_pax_sparse = is_pax_sparse(&ahead.pax);
        let path = ahead.path(&header, is_pax_sparse);
        let kind = kind(&header, &ahead, &path, is_pax_sparse);
        if header.type_flag() == b'S' && header.dialect() == Dialect::Gnu {
            self.skip_sparse_extensions(&header, start)?;
        }
        let size = self.size(&header, &ahead, &kind, start)?;
        let data = self.take_data(size, start)?;
        let reading = Reading { header: &header, path: &path, kind: &kind, size };
        let dispute = match std::mem::take(&mut self.is_disputed) {
            true => Some(Dispute::Everything),
            false => reading.dispute(for_gnu.as_ref().unwrap_or(&ahead), &self.global),
        };
        let of_kind = match &kind {
            EntryKind::HardLink(link) | EntryKind::Symlink(link) => link.len(),
            _ => 0,
        };
        let of_dispute = match &dispute {
            Some(Dispute::Names(name)) => name.len(),
            _ => 0,
        };
        let names = path.len() + of_kind + of_dispute;
        self.listing.charge(names, ahead.pax.size(), self.spool)?;
        self.names += names as u64;
        if self.names > self.spool.size() + MAX_REPEATED_NAMES {
            return Err(self.broken(start, "a global header gives a long name to many entries"));
        }
        let bits = header.number(MODE).unwrap_or(0) & 0o7777;
        let entry = Entry {
            path,
            kind: dispute.map_or_else(|| kind.clone(), EntryKind::Disputed),
            mode: u32::try_from(bits).unwrap_or(0),
            data,
        };
        Ok(Member { entry, kind, header, pax: ahead.pax, header_end, start })
    }

    /// The size of the data that follows the header.
    fn size(&self, header: &HeaderBlock, ahead: &Ahead, kind: &EntryKind, start: u64) -> Result<u64> {
        if matches!(kind, EntryKind::HardLink(_)) {
            // It has no data for any tool, whatever is in the field.
            return Ok(0);
        }
        let field = header.number(SIZE);
        let mut size =
            field.ok_or_else(|| self.broken(start, "the size field of the header is no number"))?;
        if is_header_only(header, kind) {
            return Ok(0);
        }
        if let Some(record) = ahead.pax.get("size") {
            size = signed_decimal(record).ok_or_else(|| self.broken(start, "the PAX size is no number"))?;
        }
        u64::try_from(size).map_err(|_| self.broken(start, "the size of the entry is negative"))
    }

    /// Moves behind the extension blocks of an old GNU sparse header, which precede the data.
    fn skip_sparse_extensions(&mut self, header: &HeaderBlock, start: u64) -> Result<()> {
        /// The byte that says whether another block follows: in the header and in the extension blocks.
        const IN_HEADER: Range<usize> = 482..483;
        const IN_BLOCK: usize = 504;
        let mut is_extended = header.field(IN_HEADER) != [0];
        while is_extended {
            if self.spool.size().saturating_sub(self.position) < BLOCK_SIZE {
                return Err(self.broken(start, "the sparse map of the entry is cut off"));
            }
            let mut block = [0; BLOCK];
            self.spool.read_exact_at(&mut block, self.position)?;
            self.position += BLOCK_SIZE;
            is_extended = block[IN_BLOCK] != 0;
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

    /// Reads an extension header, as far as it lies in `room`.
    fn extension(&self, size: u64, room: Range<u64>, start: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENSION_SIZE {
            return Err(self.broken(start, "an extension header is over 1 MiB"));
        }
        let end = room.start.saturating_add(size);
        if end > room.end {
            return Err(self.broken(start, "the data of the entry is cut off"));
        }
        self.spool.read_range(room.start..end)
    }

    /// The data of an extension header; moves behind it.
    fn take_extension(&mut self, header: &HeaderBlock, start: u64) -> Result<Vec<u8>> {
        let size = self.size_field(header, start)?;
        let bytes = self.extension(size, self.position..self.spool.size(), start)?;
        self.take_data(size, start)?;
        self.is_disputed |= !header.has_right_checksum_for_gnu() || header.number_for_gnu(SIZE) != Some(size);
        Ok(bytes)
    }

    fn pax(&mut self, header: &HeaderBlock, start: u64) -> Result<PaxHeader> {
        let bytes = self.take_extension(header, start)?;
        PaxHeader::parse(bytes).ok_or_else(|| self.broken(start, "a PAX record is malformed"))
    }

    fn long_name(&mut self, header: &HeaderBlock, start: u64) -> Result<Vec<u8>> {
        Ok(up_to_nul(&self.take_extension(header, start)?).to_vec())
    }

    fn size_field(&self, header: &HeaderBlock, start: u64) -> Result<u64> {
        let size = header.number(SIZE).and_then(|size| u64::try_from(size).ok());
        size.ok_or_else(|| self.broken(start, "the size field of the header is no number"))
    }

    fn not_a_tar(&self) -> Error {
        match what_it_is(self.spool) {
            Ok(what) => Error::NotATar { name: self.spool.name().to_owned(), what },
            Err(error) => error,
        }
    }

    fn broken(&self, offset: u64, reason: impl Into<String>) -> Error {
        Error::BrokenTar { name: self.spool.name().to_owned(), offset, reason: reason.into() }
    }
}

impl Iterator for Members<'_> {
    type Item = Result<Member>;

    fn next(&mut self) -> Option<Result<Member>> {
        if self.is_done {
            return None;
        }
        let next = self.next_member().transpose();
        self.is_done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Returns the kind that Go takes the entry for.
fn kind(header: &HeaderBlock, ahead: &Ahead, path: &[u8], is_pax_sparse: bool) -> EntryKind {
    match header.type_flag() {
        // Unix V7 has no other directories.
        0 if path.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' if is_pax_sparse => EntryKind::Sparse,
        0 | b'0' | b'7' => EntryKind::File,
        b'S' => EntryKind::Sparse,
        b'1' => EntryKind::HardLink(ahead.link(header)),
        b'2' => EntryKind::Symlink(ahead.link(header)),
        b'5' => EntryKind::Directory,
        b'V' | b'M' | b'X' => EntryKind::Nothing,
        _ => EntryKind::Other,
    }
}

/// Returns whether no data follows the header, whatever its size says: GNU tar, Go and Python agree.
fn is_header_only(header: &HeaderBlock, kind: &EntryKind) -> bool {
    matches!(header.type_flag(), b'1'..=b'6') || *kind == EntryKind::Directory
}
