//! The uncompressed tar of a layer, to be read at any offset from any thread.

mod read;

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use derive_setters::Setters;

pub use read::SpoolReader;

use crate::{Compression, Error, FileKind, Result, open_regular};

/// The uncompressed bytes of a layer.
///
/// A plain tar is read in place; anything else is decompressed to an unlinked temporary file, which
/// goes away with the process however it ends. A clone is the same file.
#[derive(Debug, Clone)]
pub struct Spool {
    name: String,
    file: Arc<File>,
    size: u64,
    compression: Compression,
    blob_size: u64,
}

/// The place and the amount that a [`Spool`] may write.
#[derive(Debug, Clone, Setters)]
#[non_exhaustive]
pub struct SpoolOptions {
    /// The directory of the temporary file.
    #[setters(into)]
    pub temp_dir: PathBuf,
    /// Most uncompressed bytes that are accepted.
    pub max_size: u64,
}

impl Default for SpoolOptions {
    /// The system's temporary directory, without a bound.
    fn default() -> Self {
        Self { temp_dir: std::env::temp_dir(), max_size: u64::MAX }
    }
}

/// Bytes that are decompressed at once.
const CHUNK_SIZE: usize = 256 << 10;

impl Spool {
    /// Opens the layer in the file at `path`, whatever its compression.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read or spooled, [`Error::Decompress`] if its compression is
    /// broken, [`Error::TooLarge`] if it is over the bound.
    pub fn open(path: &Path, options: &SpoolOptions) -> Result<Self> {
        Self::open_named(path.display().to_string(), path, options, &|_| ())
    }

    /// Does what [`open`](Self::open) does. `progress` is called with the bytes of the file that are read
    /// since the call before; nothing is read of a plain tar.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_watched(path: &Path, options: &SpoolOptions, progress: &dyn Fn(u64)) -> Result<Self> {
        Self::open_named(path.display().to_string(), path, options, progress)
    }

    /// Opens the layer in a regular file, in a place that somebody else fills: nothing else is opened, and no
    /// writer is waited for.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::Io`] if it is no regular file.
    pub fn open_blob(path: &Path, options: &SpoolOptions) -> Result<Self> {
        Self::open_blob_as(path.display().to_string(), path, options)
    }

    /// Does what [`open_blob`](Self::open_blob) does for a layer that `name` names in errors.
    ///
    /// # Errors
    /// As [`open_blob`](Self::open_blob).
    pub fn open_blob_as(name: String, path: &Path, options: &SpoolOptions) -> Result<Self> {
        let file = open_regular(path);
        let file = file.map_err(|source| Error::Io { action: "read", name: name.clone(), source })?;
        Self::open_file(name, file, options, &|_| ())
    }

    fn open_named(name: String, path: &Path, options: &SpoolOptions, progress: &dyn Fn(u64)) -> Result<Self> {
        let io_error = |source| Error::Io { action: "read", name: name.clone(), source };
        // A device may do something when it is opened.
        let metadata = fs::metadata(path).map_err(io_error)?;
        if metadata.file_type().is_char_device() {
            let is_null = metadata.rdev() == rustix::fs::makedev(1, 3);
            let what = if is_null { FileKind::Empty } else { FileKind::Device };
            return Err(Error::NotATar { name, what });
        }
        let file = File::open(path).map_err(io_error)?;
        Self::open_file(name, file, options, progress)
    }

    fn open_file(
        name: String,
        mut file: File,
        options: &SpoolOptions,
        progress: &dyn Fn(u64),
    ) -> Result<Self> {
        let io_error = |source| Error::Io { action: "read", name: name.clone(), source };
        let metadata = file.metadata().map_err(io_error)?;
        if !metadata.is_file() {
            return Self::read_pipe(name, Watched { inner: file, progress }, options);
        }
        let start = read_start(&mut file).map_err(io_error)?;
        let compression = Compression::detect(&start);
        file.rewind().map_err(io_error)?;
        let size = metadata.len();
        // Files in /proc have no size and are made while they are read.
        if compression == Compression::None && start.len() as u64 <= size {
            check_size(&name, size, options.max_size)?;
            return Ok(Self { name, file: Arc::new(file), size, compression, blob_size: size });
        }
        Self::read(name, Watched { inner: file, progress }, options)
    }

    /// Spools the layer that comes through a pipe, such as stdin.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::NotATar`] if nothing comes. An empty file is an empty layer, but a
    /// pipe is empty because the program that writes to it has failed.
    pub fn read_pipe(name: String, input: impl Read, options: &SpoolOptions) -> Result<Self> {
        let spool = Self::read(name, input, options)?;
        if spool.blob_size == 0 {
            return Err(Error::NotATar { name: spool.name, what: FileKind::Empty });
        }
        Ok(spool)
    }

    /// Spools the layer that `input` gives, whatever its compression; `name` names it in errors.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(name: String, input: impl Read, options: &SpoolOptions) -> Result<Self> {
        let mut input = Counted { inner: input, size: 0 };
        let start = read_start(&mut input).map_err(|source| Error::Io {
            action: "read",
            name: name.clone(),
            source,
        })?;
        let compression = Compression::detect(&start);
        let mut spool = tempfile::tempfile_in(&options.temp_dir).map_err(|source| Error::Io {
            action: "make a temporary file in",
            name: options.temp_dir.display().to_string(),
            source,
        })?;
        let whole = BufReader::with_capacity(CHUNK_SIZE, start.as_slice().chain(&mut input));
        let mut decoder = compression.decoder(whole).map_err(|source| Error::Decompress {
            name: name.clone(),
            offset: 0,
            source,
        })?;
        let mut size = 0u64;
        let mut chunk = vec![0; CHUNK_SIZE];
        loop {
            let read = match decoder.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Decompress { name: name.clone(), offset: size, source }),
            };
            size += read as u64;
            check_size(&name, size, options.max_size)?;
            spool.write_all(&chunk[..read]).map_err(|source| Error::Io {
                action: "write a temporary file in",
                name: options.temp_dir.display().to_string(),
                source,
            })?;
        }
        drop(decoder);
        Ok(Self { name, file: Arc::new(spool), size, compression, blob_size: input.size })
    }

    /// Reads `size` bytes of `file` as they are: a tar, or bytes of one.
    pub fn of_file(name: String, file: File, size: u64) -> Self {
        Self { name, file: Arc::new(file), size, compression: Compression::None, blob_size: size }
    }

    /// The name of the layer in errors: the path of its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size of the uncompressed tar in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Size of the layer as it was given, in bytes.
    pub const fn blob_size(&self) -> u64 {
        self.blob_size
    }

    /// The compression that the layer had.
    pub const fn compression(&self) -> Compression {
        self.compression
    }
}

fn check_size(name: &str, size: u64, max: u64) -> Result<()> {
    if size > max { Err(Error::TooLarge { name: name.to_owned(), size, max }) } else { Ok(()) }
}

fn read_start(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(Compression::MAGIC_SIZE);
    input.take(Compression::MAGIC_SIZE as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Counts what is read through it.
struct Counted<R> {
    inner: R,
    size: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.size += read as u64;
        Ok(read)
    }
}

/// Tells of what is read through it.
struct Watched<'p, R> {
    inner: R,
    progress: &'p dyn Fn(u64),
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect(|read| (self.progress)(*read as u64))
    }
}
