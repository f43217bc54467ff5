//! Reads compressed streams one after the other, up to what pads them at the end.

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;

/// A decoder of one stream, which ends where the stream ends.
pub(crate) trait Stream<R: BufRead>: Read + Sized {
    fn begin(input: R) -> Self;

    /// Gives back what follows the stream.
    fn end(self) -> R;

    /// Tells from the first byte behind a stream what follows.
    fn what_follows(byte: u8) -> Rest;
}

/// The bytes behind a stream, as their first one tells.
pub(crate) enum Rest {
    /// Another stream.
    Stream,
    /// Nothing but zeros may follow, to fill the block of a tape or a disk.
    Zeros,
    /// Something that is passed over.
    Anything,
}

impl<R: BufRead> Stream<R> for GzDecoder<R> {
    fn begin(input: R) -> Self {
        Self::new(input)
    }

    fn end(self) -> R {
        self.into_inner()
    }

    /// gzip(1) passes over zeros; of anything else it warns, with exit code 2.
    fn what_follows(byte: u8) -> Rest {
        if byte == 0 { Rest::Zeros } else { Rest::Stream }
    }
}

impl<R: BufRead> Stream<R> for BzDecoder<R> {
    fn begin(input: R) -> Self {
        Self::new(input)
    }

    fn end(self) -> R {
        self.into_inner()
    }

    /// bzip2(1) passes over what does not start as a stream does, and says so, with exit code 0.
    fn what_follows(byte: u8) -> Rest {
        if byte == b'B' { Rest::Stream } else { Rest::Anything }
    }
}

/// Reads all streams of an input.
#[derive(Debug)]
pub(crate) struct Sequence<R, S> {
    state: State<R, S>,
}

#[derive(Debug)]
enum State<R, S> {
    In(S),
    Behind(R),
    Done,
}

impl<R: BufRead, S: Stream<R>> Sequence<R, S> {
    pub(crate) fn new(input: R) -> Self {
        Self { state: State::In(S::begin(input)) }
    }
}

impl<R: BufRead, S: Stream<R>> Read for Sequence<R, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            // An error ends it: a decoder that failed is not asked again.
            match std::mem::replace(&mut self.state, State::Done) {
                State::In(mut stream) => match stream.read(buffer) {
                    Ok(0) => self.state = State::Behind(stream.end()),
                    Ok(read) => {
                        self.state = State::In(stream);
                        return Ok(read);
                    }
                    Err(error) => {
                        if error.kind() == io::ErrorKind::Interrupted {
                            self.state = State::In(stream);
                        }
                        return Err(error);
                    }
                },
                State::Behind(mut input) => match first_byte(&mut input)?.map(S::what_follows) {
                    None => return Ok(0),
                    Some(Rest::Stream) => self.state = State::In(S::begin(input)),
                    Some(Rest::Zeros) => pass_over(&mut input, |byte| byte == 0)?,
                    Some(Rest::Anything) => pass_over(&mut input, |_| true)?,
                },
                State::Done => return Ok(0),
            }
        }
    }
}

/// Reads to the end, so that the size of the input is known.
fn pass_over(input: &mut impl BufRead, may_be: impl Fn(u8) -> bool) -> io::Result<()> {
    while first_byte(input)?.is_some() {
        let bytes = input.fill_buf()?;
        if !bytes.iter().all(|&byte| may_be(byte)) {
            let reason = "zeros follow the last compressed stream, and then other bytes";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let size = bytes.len();
        input.consume(size);
    }
    Ok(())
}

/// The next byte, which is not taken.
fn first_byte(input: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            filled => return filled.map(|bytes| bytes.first().copied()),
        }
    }
}
