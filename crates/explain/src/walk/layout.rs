//! The position of the output of a delta among the files of the layer.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use delta_format::Reencoding;
use layer::Spool;
use recode::Recipe;

use crate::{Error, Result};

/// Bytes that a stretch may decode to beyond twice the bytes that ops emit for it. An applier grants encoders as much.
const MAX_GROWTH: u64 = 1 << 20;

/// The position of the output among the files.
///
/// Ops emit the plain bytes of stretches that are encoded afterwards. Such a stretch begins at a known place of the
/// layer, and ends where the stream ends that lies there.
pub(super) struct Layout<'f> {
    new: &'f Spool,
    files: &'f [Range<u64>],
    /// The first file that does not end before the position.
    next: usize,
    /// Bytes of the layer so far.
    position: u64,
    /// Stretches to come. The gap of the first shrinks as bytes are emitted, and is not 0.
    ahead: VecDeque<Reencoding>,
    stretch: Option<Stretch>,
}

/// The stretch that is being emitted.
struct Stretch {
    item: usize,
    /// Bytes that ops have yet to emit for it.
    left: u64,
    /// Its end in the layer.
    end: u64,
}

impl<'f> Layout<'f> {
    pub(super) const fn new(new: &'f Spool, files: &'f [Range<u64>]) -> Self {
        Self { new, files, next: 0, position: 0, ahead: VecDeque::new(), stretch: None }
    }

    /// Bytes of the layer that are complete.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Returns true if the next bytes lie in the layer as ops emit them.
    pub(super) const fn is_plain(&self) -> bool {
        self.stretch.is_none()
    }

    /// Returns true if all of the layer is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.position == self.new.size() && self.stretch.is_none() && self.ahead.is_empty()
    }

    /// Returns the item that the next bytes are for, and how many can be emitted before another item or a
    /// stretch: 0 at the end of the layer alone.
    pub(super) fn place(&mut self) -> (usize, u64) {
        if let Some(stretch) = &self.stretch {
            return (stretch.item, stretch.left);
        }
        let (item, room) = self.item();
        (item, self.ahead.front().map_or(room, |next| room.min(next.gap)))
    }

    /// Returns the item at the position, and the bytes of the layer up to its end.
    fn item(&mut self) -> (usize, u64) {
        while self.files.get(self.next).is_some_and(|file| file.end <= self.position) {
            self.next += 1;
        }
        match self.files.get(self.next) {
            Some(file) if file.start <= self.position => (self.next + 1, file.end - self.position),
            Some(file) => (0, file.start - self.position),
            None => (0, self.new.size() - self.position),
        }
    }

    /// Returns the size of the first file that begins after the position; 0 if there is none.
    pub(super) fn next_file_size(&mut self) -> u64 {
        self.item();
        let next = self.files[self.next..].iter().find(|file| file.start > self.position);
        next.map_or(0, |file| file.end - file.start)
    }

    /// Moves on by bytes that ops emit, of which there are at most as many as [`place`](Self::place) says.
    pub(super) fn advance(&mut self, size: u64) -> Result<()> {
        match &mut self.stretch {
            Some(stretch) => {
                stretch.left -= size;
                if stretch.left > 0 {
                    return Ok(());
                }
                self.position = stretch.end;
                self.stretch = None;
            }
            None => {
                self.position += size;
                if let Some(next) = self.ahead.front_mut() {
                    next.gap -= size;
                }
            }
        }
        self.begin()
    }

    /// Takes the stretches of what follows.
    pub(super) fn expect(&mut self, list: Vec<Reencoding>) -> Result<()> {
        if self.stretch.is_some() || !self.ahead.is_empty() {
            return Err(self.other_layer());
        }
        self.ahead = list.into();
        self.begin()
    }

    /// Begins the stretch whose gap is passed, if there is one.
    fn begin(&mut self) -> Result<()> {
        while self.stretch.is_none()
            && self.ahead.front().is_some_and(|next| next.gap == 0)
            && let Some(next) = self.ahead.pop_front()
        {
            let (item, _) = self.item();
            let end = self.position + self.encoded_size(&next)?;
            if next.size == 0 {
                self.position = end;
            } else {
                self.stretch = Some(Stretch { item, left: next.size, end });
            }
        }
        Ok(())
    }

    /// Returns the size of the stream at the position, which a stretch is encoded to.
    fn encoded_size(&self, stretch: &Reencoding) -> Result<u64> {
        let codec = Recipe::parse(&stretch.recipe).map_err(|_| self.other_layer())?.codec();
        let mut encoded = self.new.reader(self.position..self.new.size());
        let max_plain = stretch.size.saturating_mul(2).saturating_add(MAX_GROWTH);
        match recode::decode(codec, &mut encoded, max_plain, &mut io::sink()) {
            Ok(decoded) => Ok(decoded.encoded_size),
            Err(_) => Err(encoded.take_error().map_or_else(|| self.other_layer(), Error::Layer)),
        }
    }

    /// Returns the error for a delta whose output differs from the layer at the position.
    pub(super) fn other_layer(&self) -> Error {
        self.other_layer_at(self.position)
    }

    /// Returns the error for a delta whose output differs from the layer at an offset.
    pub(super) fn other_layer_at(&self, offset: u64) -> Error {
        Error::OtherLayer { name: self.new.name().to_owned(), offset }
    }
}
