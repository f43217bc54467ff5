//! The source files: how they are opened, and where the applier stands in the open one.

use std::io;

use crate::target::Target;
use crate::wire::MAX_DICT_SIZE;
use crate::{CorruptKind, Error, OpReader, Result, SourcePath, View};

/// The files that a delta may read, by path.
pub trait SourceFiles {
    /// An opened file.
    type File: SourceFile;

    /// Opens the file that `path` names.
    ///
    /// # Errors
    /// [`Error::SourceMissing`] or [`Error::SourceNotRegular`].
    fn open(&mut self, path: &SourcePath) -> Result<Self::File>;

    /// Opens the file that `path` names with the streams of `view` decoded. Gives also the bytes
    /// that were read and decoded for it, of which there may be `max_plain`: they take the applier's
    /// time.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::SourceUndecodable`], [`Error::TooLarge`], and
    /// [`Error::NoCodecs`] where no view can be opened, which is the default.
    fn open_view(&mut self, path: &SourcePath, view: &View, max_plain: u64) -> Result<(Self::File, u64)> {
        let _ = (path, view, max_plain);
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

/// Bytes of the source that are read at once when ops are small.
const SOURCE_BUFFER: usize = 64 << 10;

/// The open source and the position in it.
pub(crate) struct Cursor<F> {
    file: F,
    path: SourcePath,
    /// Offset in the source, in bytes.
    pub(crate) position: u64,
    /// Bytes of the file from `window_start` on, so that small ops near each other read once.
    window: Vec<u8>,
    window_start: u64,
}

impl<F> Cursor<F> {
    pub(crate) fn new(file: F, path: SourcePath) -> Self {
        Self { file, path, position: 0, window: Vec::new(), window_start: 0 }
    }
}

impl<F: SourceFile> Cursor<F> {
    pub(crate) fn copy(&mut self, size: u64, target: &mut Target<'_>, delta: &OpReader<'_>) -> Result<()> {
        let mut left = self.check_range(size, delta)?;
        while left > 0 {
            let room = target.room(left)?;
            left -= room.len() as u64;
            self.read(room)?;
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, size: u64, target: &mut Target<'_>, delta: &mut OpReader<'_>) -> Result<()> {
        let mut left = self.check_range(size, delta)?;
        let mut difference = [0; 8 << 10];
        while left > 0 {
            let room = target.room(left.min(difference.len() as u64))?;
            let difference = &mut difference[..room.len()];
            delta.read_payload(difference)?;
            left -= room.len() as u64;
            self.read(room)?;
            for (byte, difference) in room.iter_mut().zip(difference) {
                *byte = byte.wrapping_add(*difference);
            }
        }
        Ok(())
    }

    /// Bytes of the source.
    pub(crate) fn size(&self) -> u64 {
        self.file.size()
    }

    /// Where nothing can be read without a seek.
    pub(crate) fn move_to_end(&mut self) {
        self.position = self.file.size();
    }

    /// All bytes of the file, for a `ZstdDict` op.
    pub(crate) fn read_whole(&mut self) -> Result<Vec<u8>> {
        let size = self.file.size();
        if size > MAX_DICT_SIZE {
            return Err(Error::TooLarge { what: "the source of a zstd_dict op", size, max: MAX_DICT_SIZE });
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, 0).map_err(|error| self.read_error(error, size))?;
        Ok(bytes)
    }

    /// Gives back `size` if that many bytes follow the position. No bytes follow it anywhere: also past
    /// the end, where a seek may go.
    fn check_range(&self, size: u64, delta: &OpReader<'_>) -> Result<u64> {
        let wanted = self
            .position
            .checked_add(size)
            .ok_or_else(|| delta.corrupt_here(CorruptKind::PositionOverflow))?;
        if size > 0 && wanted > self.file.size() {
            return Err(Error::SourceTooShort { path: self.path.clone(), size: self.file.size(), wanted });
        }
        Ok(size)
    }

    /// Fills `out` from the position and advances. The range was checked.
    fn read(&mut self, out: &mut [u8]) -> Result<()> {
        let end = self.position + out.len() as u64;
        if out.len() >= SOURCE_BUFFER / 2 {
            self.file.read_exact_at(out, self.position).map_err(|error| self.read_error(error, end))?;
        } else {
            let window_end = self.window_start + self.window.len() as u64;
            if self.position < self.window_start || end > window_end {
                self.fill_window(end)?;
            }
            let start = usize::try_from(self.position - self.window_start).expect("inside the window");
            out.copy_from_slice(&self.window[start..start + out.len()]);
        }
        self.position = end;
        Ok(())
    }

    fn fill_window(&mut self, end: u64) -> Result<()> {
        let size = (self.file.size() - self.position).min(SOURCE_BUFFER as u64);
        self.window.resize(usize::try_from(size).expect("at most SOURCE_BUFFER"), 0);
        self.window_start = self.position;
        let filled = self.file.read_exact_at(&mut self.window, self.position);
        if filled.is_err() {
            self.window.clear();
        }
        filled.map_err(|error| self.read_error(error, end))
    }

    fn read_error(&self, source: io::Error, wanted: u64) -> Error {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::SourceTooShort { path, size: self.file.size(), wanted },
            _ => Error::SourceUnreadable { path, source },
        }
    }
}
