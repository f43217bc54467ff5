//! The plain bytes around the block at hand: some of those before it, and those that the prediction has read ahead.

use crate::Result;
use crate::compare::Plain;

/// Bytes before the block at hand that are kept, and by how many more there may be before they are dropped.
const KEPT: usize = 8 << 20;
const SLACK: usize = 4 << 20;

/// Bytes that are compared at once.
const PIECE: usize = 32;

/// Plain bytes by their places in the frame.
#[derive(Debug, Default)]
pub(super) struct History {
    bytes: Vec<u8>,
    /// The place of the first byte that is kept.
    base: u64,
    /// The place up to which bytes are known whatever the library was given so far, which depends on its threads.
    known: u64,
}

impl History {
    /// The place up to which bytes are known.
    pub(super) const fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Reads at most so many bytes more. Returns how many there were.
    pub(super) fn read(&mut self, plain: &mut Plain<'_>, size: usize) -> Result<usize> {
        let start = self.bytes.len();
        self.bytes.resize(start + size, 0);
        let read = plain.read(&mut self.bytes[start..])?;
        self.bytes.truncate(start + read);
        Ok(read)
    }

    /// Reads the bytes before a place, or up to the end of all.
    pub(super) fn read_to(&mut self, plain: &mut Plain<'_>, place: u64) -> Result<()> {
        if let Ok(missing @ 1..) = usize::try_from(place.saturating_sub(self.end())) {
            self.read(plain, missing)?;
        }
        Ok(())
    }

    /// Tells whether the byte at a place is still there.
    pub(super) const fn is_kept(&self, place: u64) -> bool {
        place >= self.base
    }

    /// Drops bytes that are too far before a place. Those up to another one are known.
    pub(super) fn pass(&mut self, place: u64, known: u64) {
        self.known = known;
        let before = self.index(place);
        if before > KEPT + SLACK {
            self.bytes.drain(..before - KEPT);
            self.base += (before - KEPT) as u64;
        }
    }

    /// Returns the index of a place in the bytes that are kept.
    fn index(&self, place: u64) -> usize {
        usize::try_from(place.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.bytes.len())
    }

    /// Returns the bytes from one place to another, which are known.
    pub(super) fn bytes(&self, from: u64, to: u64) -> &[u8] {
        &self.bytes[self.index(from)..self.index(to).max(self.index(from))]
    }

    /// Returns the bytes from one place to another, without those that are not known in any case.
    pub(super) fn known_bytes(&self, from: u64, to: u64) -> &[u8] {
        self.bytes(from, to.min(self.known))
    }

    /// Returns how many bytes are the same from a place on and a distance before it, at most `most`; none if those
    /// before it are not kept.
    pub(super) fn common(&self, place: u64, distance: u32, most: usize) -> usize {
        let Some(before) = place.checked_sub(u64::from(distance)).filter(|before| *before >= self.base)
        else {
            return 0;
        };
        let (at, before) = (self.index(place), self.index(before));
        let ahead = &self.bytes[at..self.bytes.len().min(at + most)];
        let before = &self.bytes[before..];
        let pieces = ahead.chunks_exact(PIECE).zip(before.chunks_exact(PIECE));
        let whole = pieces.take_while(|(a, b)| a == b).count() * PIECE;
        whole + ahead[whole..].iter().zip(&before[whole..]).take_while(|(a, b)| a == b).count()
    }
}
