//! What the ops mean: rebuilds the target from the ops and the source files.

use std::io::{self, Read, Write};

use crate::wire::{MAX_DICT_SIZE, MAX_WINDOW_LOG};
use crate::{CorruptKind, Error, Op, OpReader, Result, SourcePath};

/// The files that a delta may read, by path.
pub trait SourceFiles {
    /// An opened file.
    type File: SourceFile;

    /// Opens the file that `path` names.
    ///
    /// # Errors
    /// [`Error::SourceMissing`] or [`Error::SourceNotRegular`].
    fn open(&mut self, path: &SourcePath) -> Result<Self::File>;
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

/// What an apply may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of output.
    pub max_output: u64,
}

impl Default for Limits {
    /// No bound on the output: the caller bounds its disk.
    fn default() -> Self {
        Self { max_output: u64::MAX }
    }
}

/// Output bytes that are gathered before they are written.
const OUTPUT_BUFFER: usize = 256 << 10;
/// Bytes of the source that are read at once when ops are small.
const SOURCE_BUFFER: usize = 64 << 10;

/// Applies every op of `delta` in order and writes the target to `output`. Gives its size in bytes.
///
/// Memory is constant, save for the source of a `ZstdDict` op (at most 2^29 bytes) and zstd's
/// windows. The result is not checked against any digest: give an `output` that hashes.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Stream`] or [`Error::TooLarge`] for a bad delta,
/// the `Source…` variants for a base that does not match, [`Error::Output`] if `output` fails.
pub fn apply<S: SourceFiles>(
    mut delta: OpReader<'_>,
    sources: &mut S,
    limits: Limits,
    output: &mut dyn Write,
) -> Result<u64> {
    let mut target = Target { output, buffer: Vec::with_capacity(OUTPUT_BUFFER), size: 0, limits };
    let mut source: Option<Cursor<S::File>> = None;
    while let Some(op) = delta.next_op()? {
        match op {
            Op::Data { size } => {
                target.reserve(size)?;
                copy_payload(&mut delta, size, &mut target)?;
            }
            Op::Open(path) => source = Some(Cursor::new(sources.open(&path)?, path)),
            Op::Copy { size } => {
                target.reserve(size)?;
                opened(&mut source, &delta)?.copy(size, &mut target, &delta)?;
            }
            Op::AddData { size } => {
                target.reserve(size)?;
                opened(&mut source, &delta)?.add(size, &mut target, &mut delta)?;
            }
            Op::Seek { offset } => opened(&mut source, &delta)?.position = offset,
            Op::ZstdDict { .. } => opened(&mut source, &delta)?.decode_frame(&mut target, &mut delta)?,
        }
    }
    target.flush()?;
    Ok(target.size)
}

fn opened<'s, F>(source: &'s mut Option<Cursor<F>>, delta: &OpReader<'_>) -> Result<&'s mut Cursor<F>> {
    source.as_mut().ok_or_else(|| delta.corrupt_here(CorruptKind::NoSource))
}

fn copy_payload(delta: &mut OpReader<'_>, size: u64, target: &mut Target<'_>) -> Result<()> {
    let mut left = size;
    while left > 0 {
        let room = target.room(left)?;
        delta.read_payload(room)?;
        left -= room.len() as u64;
    }
    Ok(())
}

/// The output so far: gathered, counted, bounded.
struct Target<'o> {
    output: &'o mut dyn Write,
    buffer: Vec<u8>,
    /// Bytes emitted, those in `buffer` included.
    size: u64,
    limits: Limits,
}

impl Target<'_> {
    /// Refuses `more` bytes that would go past the limit, before any is made.
    fn reserve(&self, more: u64) -> Result<()> {
        let size = self.size.saturating_add(more);
        let max = self.limits.max_output;
        if size > max { Err(Error::TooLarge { what: "the output", size, max }) } else { Ok(()) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() > OUTPUT_BUFFER {
            self.flush()?;
        }
        self.size += bytes.len() as u64;
        if bytes.len() >= OUTPUT_BUFFER {
            return self.output.write_all(bytes).map_err(Error::Output);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Room for 1 to `wanted` bytes at the end of the buffer, zeroed and counted as emitted.
    fn room(&mut self, wanted: u64) -> Result<&mut [u8]> {
        if self.buffer.len() == OUTPUT_BUFFER {
            self.flush()?;
        }
        let start = self.buffer.len();
        let free = OUTPUT_BUFFER - start;
        let taken = usize::try_from(wanted).map_or(free, |wanted| wanted.min(free));
        self.buffer.resize(start + taken, 0);
        self.size += taken as u64;
        Ok(&mut self.buffer[start..])
    }

    fn flush(&mut self) -> Result<()> {
        self.output.write_all(&self.buffer).map_err(Error::Output)?;
        self.buffer.clear();
        Ok(())
    }
}

/// The open source and the position in it.
struct Cursor<F> {
    file: F,
    path: SourcePath,
    position: u64,
    /// Bytes of the file from `window_start` on, so that small ops near each other read once.
    window: Vec<u8>,
    window_start: u64,
}

impl<F> Cursor<F> {
    fn new(file: F, path: SourcePath) -> Self {
        Self { file, path, position: 0, window: Vec::new(), window_start: 0 }
    }
}

impl<F: SourceFile> Cursor<F> {
    fn copy(&mut self, size: u64, target: &mut Target<'_>, delta: &OpReader<'_>) -> Result<()> {
        let mut left = self.check_range(size, delta)?;
        while left > 0 {
            let room = target.room(left)?;
            left -= room.len() as u64;
            self.read(room)?;
        }
        Ok(())
    }

    fn add(&mut self, size: u64, target: &mut Target<'_>, delta: &mut OpReader<'_>) -> Result<()> {
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

    fn decode_frame(&mut self, target: &mut Target<'_>, delta: &mut OpReader<'_>) -> Result<()> {
        let dictionary = self.read_whole()?;
        decode_frame(&dictionary, target, delta)?;
        // The format leaves the position undefined; the end makes a read without a seek an error.
        self.position = self.file.size();
        Ok(())
    }

    fn read_whole(&mut self) -> Result<Vec<u8>> {
        let size = self.file.size();
        if size > MAX_DICT_SIZE {
            return Err(Error::TooLarge { what: "the source of a zstd_dict op", size, max: MAX_DICT_SIZE });
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, 0).map_err(|error| self.read_error(error, size))?;
        Ok(bytes)
    }

    /// Gives back `size` if that many bytes follow the position.
    fn check_range(&self, size: u64, delta: &OpReader<'_>) -> Result<u64> {
        let wanted = self
            .position
            .checked_add(size)
            .ok_or_else(|| delta.corrupt_here(CorruptKind::PositionOverflow))?;
        if wanted > self.file.size() {
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

/// Decodes the frame that is the payload of the last op, with `dictionary` as its prefix. The
/// output is bounded as it grows.
fn decode_frame(dictionary: &[u8], target: &mut Target<'_>, delta: &mut OpReader<'_>) -> Result<()> {
    let broken =
        |op_index, error: io::Error| Error::Corrupt { op_index, kind: CorruptKind::Frame(error.to_string()) };
    let op_index = delta.op_index();
    let mut decoder = zstd::Decoder::with_ref_prefix(delta.payload(), dictionary)
        .map_err(|error| broken(op_index, error))?
        .single_frame();
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(|error| broken(op_index, error))?;
    let mut decoded = vec![0; zstd::Decoder::<&[u8]>::recommended_output_size()];
    loop {
        let read = decoder.read(&mut decoded).map_err(|error| broken(op_index, error))?;
        if read == 0 {
            return Ok(());
        }
        target.reserve(read as u64)?;
        target.write(&decoded[..read])?;
    }
}
