//! Compares what an encoder makes with what it ought to make, while it is made.

use std::io::{self, Read, Write};

use crate::charge::Charge;
use crate::{Error, Part, Refused, Result};

/// Most bytes of a stream that is held as a whole.
const MAX_HELD: u64 = 512 << 20;

/// A stream and its plain bytes, to be read any number of times from the start.
pub(crate) trait Source {
    fn encoded_size(&self) -> u64;

    fn plain_size(&self) -> u64;

    /// Readers of the stream and of its plain bytes.
    fn readers(&mut self) -> io::Result<(Box<dyn Read + '_>, Box<dyn Read + '_>)>;

    /// All bytes of the stream, for the codecs that end with a table.
    ///
    /// # Errors
    /// [`Refused::TooMuchMemory`] if they are more than [`MAX_HELD`], [`Refused::Unreadable`].
    fn encoded(&mut self) -> Result<Vec<u8>, Refused> {
        if self.encoded_size() > MAX_HELD {
            return Err(Refused::TooMuchMemory);
        }
        let (encoded, _) = self.starts(MAX_HELD, 0).map_err(|_| Refused::Unreadable)?;
        Ok(encoded)
    }

    /// The first bytes of the stream and of the plain bytes, at most so many.
    fn starts(&mut self, encoded: u64, plain: u64) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut starts, (of_encoded, of_plain)) = ((Vec::new(), Vec::new()), self.readers()?);
        of_encoded.take(encoded).read_to_end(&mut starts.0)?;
        of_plain.take(plain).read_to_end(&mut starts.1)?;
        Ok(starts)
    }
}

/// Both in memory.
pub(crate) struct Slices<'s> {
    pub(crate) encoded: &'s [u8],
    pub(crate) plain: &'s [u8],
}

impl Source for Slices<'_> {
    fn encoded_size(&self) -> u64 {
        self.encoded.len() as u64
    }

    fn plain_size(&self) -> u64 {
        self.plain.len() as u64
    }

    fn readers(&mut self) -> io::Result<(Box<dyn Read + '_>, Box<dyn Read + '_>)> {
        Ok((Box::new(self.encoded), Box::new(self.plain)))
    }
}

/// A stream in a file, and its plain bytes in another.
pub(crate) struct Files<'f> {
    pub(crate) encoded: Part<'f>,
    pub(crate) plain: Part<'f>,
}

impl Source for Files<'_> {
    fn encoded_size(&self) -> u64 {
        self.encoded.size()
    }

    fn plain_size(&self) -> u64 {
        self.plain.size()
    }

    fn readers(&mut self) -> io::Result<(Box<dyn Read + '_>, Box<dyn Read + '_>)> {
        Ok((Box::new(self.encoded.reader()), Box::new(self.plain.reader())))
    }
}

/// A writer that takes only the bytes that it expects: an encoder that makes others stops at once.
pub(crate) struct Compare<'e> {
    expected: &'e mut dyn Read,
    buffer: Vec<u8>,
    matched: u64,
}

impl<'e> Compare<'e> {
    pub(crate) fn new(expected: &'e mut dyn Read) -> Self {
        Self { expected, buffer: Vec::new(), matched: 0 }
    }

    /// Bytes that came as expected: whole writes only.
    pub(crate) const fn matched(&self) -> u64 {
        self.matched
    }
}

impl Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.resize(bytes.len(), 0);
        self.expected.read_exact(&mut self.buffer)?;
        if self.buffer != bytes {
            return Err(io::Error::other("other bytes"));
        }
        self.matched += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plain bytes of a stated size, read in pieces.
pub(crate) struct Plain<'p> {
    reader: &'p mut dyn Read,
    size: u64,
    left: u64,
    /// Bytes that were looked at and not read, from `ahead_start` on.
    ahead: Vec<u8>,
    ahead_start: usize,
    /// Takes the work that an encoder counts itself.
    charge: Option<Charge<'p>>,
}

impl<'p> Plain<'p> {
    pub(crate) fn new(reader: &'p mut dyn Read, size: u64) -> Self {
        Self { reader, size, left: size, ahead: Vec::new(), ahead_start: 0, charge: None }
    }

    /// Has the work that an encoder counts itself be charged.
    pub(crate) fn charged(self, charge: Charge<'p>) -> Self {
        Self { charge: Some(charge), ..self }
    }

    /// Charges work beside that of each byte.
    pub(crate) fn charge(&self, work: u64) -> Result<()> {
        let charged = self.charge.map_or(Ok(()), |charge| charge(work));
        charged.map_err(|source| Error::Io { action: "encode as much", source })
    }

    /// Bytes that were not read yet.
    pub(crate) const fn left(&self) -> u64 {
        self.left
    }

    /// The bytes that come next, at most `size`. They stay to be read.
    pub(crate) fn look_ahead(&mut self, size: usize) -> Result<&[u8]> {
        let known = self.ahead.len() - self.ahead_start;
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(size);
        if known < want {
            // Bytes move when no more of them are left than were read, so that each moves once on average.
            if self.ahead_start >= known {
                self.ahead.drain(..self.ahead_start);
                self.ahead_start = 0;
            }
            let (known_end, want_end) = (self.ahead.len(), self.ahead_start + want);
            let mut ahead = std::mem::take(&mut self.ahead);
            ahead.resize(want_end, 0);
            self.fetch(&mut ahead[known_end..], known)?;
            self.ahead = ahead;
        }
        Ok(&self.ahead[self.ahead_start..self.ahead_start + want])
    }

    /// Fills `buffer`, but for what is behind the end; gives the bytes read.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let known = &self.ahead[self.ahead_start..];
        let known = &known[..known.len().min(want)];
        buffer[..known.len()].copy_from_slice(known);
        let known = known.len();
        self.ahead_start += known;
        self.fetch(&mut buffer[known..want], known)?;
        self.left -= want as u64;
        Ok(want)
    }

    /// Fills `buffer` with what is `offset` bytes ahead.
    fn fetch(&mut self, buffer: &mut [u8], offset: usize) -> Result<()> {
        let mut got = 0;
        while got < buffer.len() {
            match self.reader.read(&mut buffer[got..]) {
                Ok(0) => {
                    let size = self.size - self.left + (offset + got) as u64;
                    return Err(Error::PlainTooShort { size, expected: self.size });
                }
                Ok(size) => got += size,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Io { action: "read the plain bytes", source }),
            }
        }
        Ok(())
    }
}

/// Writes to the output of [`encode`](crate::encode).
pub(crate) fn put(output: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    output.write_all(bytes).map_err(|source| Error::Io { action: "write the stream", source })
}
