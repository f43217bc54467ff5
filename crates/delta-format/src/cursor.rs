//! The source files: how they are opened, and where the applier stands in the open one.

use std::io;

use crate::budget::{Budget, Meter, cost};
use crate::pages::{PAGE_SIZE, Pages};
use crate::target::Target;
use crate::{CorruptKind, Error, OpReader, Result, SourcePath, View};

/// The files that a delta may read, by path.
pub trait SourceFiles {
    /// An opened file.
    type File: SourceFile;

    /// Opens the file that `path` names. One look-up of the path and the system calls to open a file are
    /// charged already; what an implementor does beside them it charges to `budget`.
    ///
    /// # Errors
    /// [`Error::SourceMissing`], [`Error::SourceNotRegular`] or [`Error::OverBudget`].
    fn open(&mut self, path: &SourcePath, budget: &Budget) -> Result<Self::File>;

    /// Opens the file that `path` names with the streams of `view` decoded. What is read and decoded for
    /// it is charged to `budget` while it is.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::SourceUndecodable`], [`Error::TooLarge`], and
    /// [`Error::NoCodecs`] where no view can be opened, which is the default.
    fn open_view(&mut self, path: &SourcePath, view: &View, budget: &Budget) -> Result<Self::File> {
        let _ = (path, view, budget);
        Err(Error::NoCodecs)
    }
}

/// A regular file that a delta reads.
pub trait SourceFile {
    /// Its size in bytes when it was opened.
    fn size(&self) -> u64;

    /// Fills `buffer` from byte `offset` of the file on.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends earlier (it may have shrunk since it was opened).
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// Bytes from which an op reads the source into its place; fewer are taken from pages.
const MIN_DIRECT_SIZE: u64 = PAGE_SIZE;

/// Bytes of a page that are read in a unit of work.
const PAGE_BYTES_A_UNIT: u64 = 4;

/// The sources of an apply: the open one, the position in it, and the pages of it that are held.
pub(crate) struct Cursor<F> {
    open: Option<Opened<F>>,
    /// Offset in the source, in bytes.
    position: u64,
    pages: Pages,
}

/// The open source.
struct Opened<F> {
    file: F,
    size: u64,
    path: SourcePath,
}

impl<F> Default for Cursor<F> {
    /// No source is open.
    fn default() -> Self {
        Self { open: None, position: 0, pages: Pages::default() }
    }
}

impl<F: SourceFile> Cursor<F> {
    /// Makes `file` the source, at position 0.
    pub(crate) fn open(&mut self, file: F, path: SourcePath) {
        let size = file.size();
        self.open = Some(Opened { file, size, path });
        self.position = 0;
        self.pages.forget();
    }

    /// Leaves no source open.
    pub(crate) fn close(&mut self) {
        self.open = None;
        self.pages.forget();
    }

    pub(crate) fn seek(&mut self, position: u64, delta: &OpReader<'_>) -> Result<()> {
        self.opened(delta)?;
        self.position = position;
        Ok(())
    }

    pub(crate) fn copy(&mut self, size: u64, target: &mut Target<'_>, delta: &OpReader<'_>) -> Result<()> {
        let mut left = self.check_range(size, delta)?;
        while left > 0 {
            let done = if left < MIN_DIRECT_SIZE {
                let bytes = self.held(left, target.meter(), delta)?;
                let room = target.room(bytes.len() as u64)?;
                room.copy_from_slice(&bytes[..room.len()]);
                room.len()
            } else {
                target.meter().charge(cost::READ)?;
                let room = target.room(left)?;
                self.opened(delta)?.read(room, self.position)?;
                room.len()
            };
            self.position += done as u64;
            left -= done as u64;
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, size: u64, target: &mut Target<'_>, delta: &mut OpReader<'_>) -> Result<()> {
        let mut left = self.check_range(size, delta)?;
        while left > 0 {
            target.meter().charge(cost::RUN)?;
            let differences = delta.payload_at_hand()?.len() as u64;
            let done = if differences < MIN_DIRECT_SIZE {
                let bytes = self.held(differences, target.meter(), delta)?;
                let room = target.room(bytes.len() as u64)?;
                let sums = room.iter_mut().zip(bytes).zip(delta.payload_at_hand()?);
                sums.for_each(|((sum, byte), difference)| *sum = byte.wrapping_add(*difference));
                room.len()
            } else {
                target.meter().charge(cost::READ)?;
                let room = target.room(differences)?;
                self.opened(delta)?.read(room, self.position)?;
                let sums = room.iter_mut().zip(delta.payload_at_hand()?);
                sums.for_each(|(sum, difference)| *sum = sum.wrapping_add(*difference));
                room.len()
            };
            delta.consume_payload(done);
            self.position += done as u64;
            left -= done as u64;
        }
        Ok(())
    }

    /// Bytes of the source.
    pub(crate) fn size(&self, delta: &OpReader<'_>) -> Result<u64> {
        Ok(self.opened(delta)?.size)
    }

    /// Moves to where nothing can be read without a seek.
    pub(crate) fn move_to_end(&mut self) {
        self.position = self.open.as_ref().map_or(0, |open| open.size);
    }

    /// All bytes of the file, for an op that needs it whole: `what`, which has at most `max` bytes.
    pub(crate) fn read_whole(&self, delta: &OpReader<'_>, what: &'static str, max: u64) -> Result<Vec<u8>> {
        let open = self.opened(delta)?;
        let size = open.size;
        if size > max {
            return Err(Error::TooLarge { what, size, max });
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        open.read(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn opened(&self, delta: &OpReader<'_>) -> Result<&Opened<F>> {
        self.open.as_ref().ok_or_else(|| delta.corrupt_here(CorruptKind::NoSource))
    }

    /// Gives back `size` if that many bytes follow the position. No bytes follow it anywhere: also past
    /// the end, where a seek may go.
    fn check_range(&self, size: u64, delta: &OpReader<'_>) -> Result<u64> {
        let open = self.opened(delta)?;
        let wanted = self
            .position
            .checked_add(size)
            .ok_or_else(|| delta.corrupt_here(CorruptKind::PositionOverflow))?;
        if size > 0 && wanted > open.size {
            return Err(Error::SourceTooShort { path: open.path.clone(), size: open.size, wanted });
        }
        Ok(size)
    }

    /// Gives 1 to `wanted` bytes from the position on, out of a page. The range was checked.
    fn held(&mut self, wanted: u64, meter: &mut Meter<'_>, delta: &OpReader<'_>) -> Result<&[u8]> {
        let open = self.open.as_ref().ok_or_else(|| delta.corrupt_here(CorruptKind::NoSource))?;
        let read = |page: &mut [u8], start| {
            meter.charge(cost::READ + page.len() as u64 / PAGE_BYTES_A_UNIT)?;
            open.read(page, start)
        };
        self.pages.get(self.position, wanted, open.size, read)
    }
}

impl<F: SourceFile> Opened<F> {
    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|source| {
            let path = self.path.clone();
            match source.kind() {
                io::ErrorKind::UnexpectedEof => {
                    let wanted = offset.saturating_add(buffer.len() as u64);
                    Error::SourceTooShort { path, size: self.size, wanted }
                }
                _ => Error::SourceUnreadable { path, source },
            }
        })
    }
}
