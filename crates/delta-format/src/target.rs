//! The bytes that the ops emit, on their way to the output: gathered, counted, bounded, and encoded where a
//! `Reencode` op says so.

use std::collections::VecDeque;
use std::io::Write;

use crate::budget::Meter;
use crate::relocated::Relocation;
use crate::{CorruptKind, Error, Limits, Reencoding, Result};

/// Takes the target as it is rebuilt. Every [`Write`] is one that encodes nothing.
pub trait Sink {
    /// Takes the next bytes of the target.
    ///
    /// # Errors
    /// [`Error::Output`], [`Error::Reencode`] of a stretch before.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Takes the next bytes of the target as the `plain` bytes that they are encoded from. They may
    /// be encoded later, in any order, and are written in the order of the calls.
    ///
    /// # Errors
    /// [`Error::NoCodecs`], [`Error::Reencode`], [`Error::Output`].
    fn reencode(&mut self, stretch: Reencoding, plain: Vec<u8>) -> Result<()>;

    /// Takes the next bytes of the target as the file that they are. It may be made later, and is written in
    /// the order of the calls. The default makes it at once.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Output`].
    fn relocate(&mut self, relocation: Relocation) -> Result<()> {
        relocation.make(|piece| self.write(piece))
    }

    /// Waits until everything is written. Gives the bytes of the target that were encoded.
    ///
    /// # Errors
    /// As [`reencode`](Self::reencode).
    fn finish(&mut self) -> Result<u64>;
}

impl<W: Write> Sink for W {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(Error::Output)
    }

    fn reencode(&mut self, _: Reencoding, _: Vec<u8>) -> Result<()> {
        Err(Error::NoCodecs)
    }

    fn finish(&mut self) -> Result<u64> {
        Ok(0)
    }
}

/// Output bytes that are gathered before they are written.
const OUTPUT_BUFFER: usize = 256 << 10;

/// The output so far.
pub(crate) struct Target<'o> {
    output: &'o mut dyn Sink,
    max_output: u64,
    /// The meter that work for the target is charged to.
    meter: Meter<'o>,
    /// [`OUTPUT_BUFFER`] bytes, of which `filled` wait to be written.
    buffer: Vec<u8>,
    filled: usize,
    /// Bytes emitted as they are, those in `buffer` included.
    size: u64,
    /// Stretches to come. The gap of the first shrinks as bytes are emitted.
    ahead: VecDeque<Reencoding>,
    /// The stretch that is being emitted, and its bytes so far.
    gathered: Option<(Reencoding, Vec<u8>)>,
}

/// The result of a check against the rules of the format.
type Checked<T> = Result<T, CorruptKind>;

impl<'o> Target<'o> {
    pub(crate) fn new(output: &'o mut dyn Sink, limits: Limits<'o>) -> Self {
        Self {
            output,
            max_output: limits.max_output,
            meter: Meter::new(limits.budget),
            buffer: vec![0; OUTPUT_BUFFER],
            filled: 0,
            size: 0,
            ahead: VecDeque::new(),
            gathered: None,
        }
    }

    /// Refuses `more` bytes that would go past the limit, before any is made.
    pub(crate) fn reserve(&self, more: u64) -> Result<()> {
        // Where stretches are encoded, `more` is no size of output; each piece is counted then.
        let encodes = self.gathered.is_some() || !self.ahead.is_empty();
        if encodes { Ok(()) } else { self.check_size(more) }
    }

    fn check_size(&self, more: u64) -> Result<()> {
        let size = self.size.saturating_add(more);
        let max = self.max_output;
        if size > max { Err(Error::TooLarge { what: "the output", size, max }) } else { Ok(()) }
    }

    /// Returns the meter that work is charged to.
    pub(crate) const fn meter(&mut self) -> &mut Meter<'o> {
        &mut self.meter
    }

    /// Says which stretches of what follows are encoded.
    pub(crate) fn expect(&mut self, list: Vec<Reencoding>) -> Result<Checked<()>> {
        self.turn()?;
        if self.gathered.is_some() || !self.ahead.is_empty() {
            return Ok(Err(CorruptKind::OverlappingStretches));
        }
        self.ahead = list.into();
        Ok(Ok(()))
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.room(bytes.len() as u64)?;
            let (now, later) = bytes.split_at(room.len());
            room.copy_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Emits a file, whole where no stretch that is encoded has a part of it.
    pub(crate) fn relocate(&mut self, relocation: Relocation) -> Result<()> {
        self.turn()?;
        let size = relocation.size() as u64;
        let is_whole = self.gathered.is_none() && self.ahead.front().is_none_or(|next| next.gap >= size);
        if !is_whole {
            return relocation.make(|piece| self.write(piece));
        }
        self.check_size(size)?;
        self.flush()?;
        if let Some(next) = self.ahead.front_mut() {
            next.gap -= size;
        }
        self.size += size;
        self.meter.emit(size)?;
        self.output.relocate(relocation)
    }

    /// Room for 1 to `wanted` bytes where the next ones go, to be filled and counted as emitted.
    pub(crate) fn room(&mut self, wanted: u64) -> Result<&mut [u8]> {
        self.turn()?;
        if self.gathered.is_none() {
            return self.room_in_buffer(wanted);
        }
        let (stretch, plain) = self.gathered.as_mut().expect("seen just before");
        let start = plain.len();
        let taken = at_most(wanted.min(stretch.size - start as u64), OUTPUT_BUFFER);
        plain.resize(start + taken, 0);
        Ok(&mut plain[start..])
    }

    fn room_in_buffer(&mut self, wanted: u64) -> Result<&mut [u8]> {
        if self.filled == OUTPUT_BUFFER {
            self.flush()?;
        }
        let start = self.filled;
        let mut taken = at_most(wanted, OUTPUT_BUFFER - start);
        if let Some(next) = self.ahead.front_mut() {
            taken = at_most(next.gap, taken);
            next.gap -= taken as u64;
            self.check_size(taken as u64)?;
        }
        self.filled += taken;
        self.size += taken as u64;
        Ok(&mut self.buffer[start..self.filled])
    }

    /// Hands on the stretch that is complete and begins the one whose gap is passed.
    fn turn(&mut self) -> Result<()> {
        loop {
            if let Some((stretch, plain)) =
                self.gathered.take_if(|(stretch, plain)| plain.len() as u64 == stretch.size)
            {
                self.output.reencode(stretch, plain)?;
            }
            if self.gathered.is_some() || self.ahead.front().is_none_or(|next| next.gap > 0) {
                return Ok(());
            }
            self.flush()?;
            let Some(next) = self.ahead.pop_front() else { return Ok(()) };
            self.meter.emit(next.size)?;
            self.gathered = Some((next, Vec::new()));
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.meter.emit(self.filled as u64)?;
        self.output.write(&self.buffer[..self.filled])?;
        self.filled = 0;
        Ok(())
    }

    /// Writes what is left. Gives the size of the output in bytes.
    pub(crate) fn finish(mut self) -> Result<Checked<u64>> {
        self.turn()?;
        if self.gathered.is_some() || !self.ahead.is_empty() {
            return Ok(Err(CorruptKind::IncompleteStretch));
        }
        self.flush()?;
        Ok(Ok(self.size + self.output.finish()?))
    }
}

fn at_most(size: u64, most: usize) -> usize {
    usize::try_from(size).map_or(most, |size| size.min(most))
}
