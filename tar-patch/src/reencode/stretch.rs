//! A stretch of the target that is encoded, with the stretches in it.

use std::io::{self, Write};

use delta_format::wire::MAX_ENCODER_MEMORY;
use delta_format::{Error, Exhausted, Reencoding, Result, StreamWork};
use recode::{Codec, Recipe};

/// Bytes that an encoded stretch may have over twice its plain bytes: what encoders write that find
/// nothing to compress, with room for their framing. The stretches in a stretch may have so many over
/// the bytes that ops emit for it, all together.
const MAX_GROWTH: u64 = 1 << 20;

/// A [`Reencoding`] whose recipes were read.
pub(super) struct Stretch {
    size: u64,
    gap: u64,
    recipe: Recipe,
    inner: Vec<Self>,
}

impl Stretch {
    /// Reads all recipes: an encoder that is not known is told before anything is encoded. Charges what
    /// it takes to set the encoders up, of each before the next recipe is read: a recipe is larger in
    /// memory than on the wire.
    pub(super) fn new(stretch: Reencoding, work: &StreamWork<'_>) -> Result<Self> {
        let recipe = Recipe::parse(&stretch.recipe).map_err(failed)?;
        drop(stretch.recipe);
        let (what, size, max) = ("the memory of an encoder", recipe.memory(), MAX_ENCODER_MEMORY);
        if size > max {
            return Err(Error::TooLarge { what, size, max });
        }
        work.charge(recipe.encoding_work(stretch.size).setup)?;
        let inner = stretch.inner.into_iter().map(|inner| Self::new(inner, work)).collect::<Result<_>>()?;
        Ok(Self { size: stretch.size, gap: stretch.gap, recipe, inner })
    }

    /// Memory that encoding takes, in bytes: one encoder after the other.
    pub(super) fn memory(&self) -> u64 {
        self.inner.iter().map(Self::memory).fold(encoder_memory(&self.recipe), u64::max)
    }

    /// Encodes what ops emitted, inner stretches first.
    pub(super) fn encode(&self, emitted: Vec<u8>, max_output: u64, work: &StreamWork<'_>) -> Result<Vec<u8>> {
        let plain = if self.inner.is_empty() { emitted } else { self.encode_inner(&emitted, work)? };
        self.encode_plain(&plain, max_output, work, true)
    }

    /// Encodes plain bytes to at most `max` bytes. Only those that lie in no other stretch are bytes of the
    /// target, for which work is granted.
    fn encode_plain(
        &self,
        plain: &[u8],
        max: u64,
        work: &StreamWork<'_>,
        is_outermost: bool,
    ) -> Result<Vec<u8>> {
        let plain_size = plain.len() as u64;
        let max = max.min(2 * plain_size + MAX_GROWTH);
        let mut encoded = Bounded { bytes: Vec::new(), max, work: is_outermost.then_some(work) };
        let charge = |units| Ok(work.charge(units)?);
        recode::encode_charged(&self.recipe, &mut &*plain, plain_size, &mut encoded, &charge)
            .map_err(failed)?;
        Ok(encoded.bytes)
    }

    /// Encodes the stretches in this one. What they come to is bounded while it grows: many stretches of
    /// no bytes can each make some.
    fn encode_inner(&self, emitted: &[u8], work: &StreamWork<'_>) -> Result<Vec<u8>> {
        // The reader has checked that inner stretches lie in the outer one.
        let part = |position: usize, size: u64| {
            let end = position + usize::try_from(size).expect("within the outer stretch");
            (&emitted[position..end], end)
        };
        let (mut plain, mut position) = (Vec::new(), 0);
        let mut room = emitted.len() as u64 + MAX_GROWTH;
        for inner in &self.inner {
            let (gap, start) = part(position, inner.gap);
            let (emitted, end) = part(start, inner.size);
            plain.extend_from_slice(gap);
            room = room.saturating_sub(gap.len() as u64);
            let within;
            let inner_plain = if inner.inner.is_empty() {
                emitted
            } else {
                within = inner.encode_inner(emitted, work)?;
                &within
            };
            let encoded = inner.encode_plain(inner_plain, room, work, false)?;
            room = room.saturating_sub(encoded.len() as u64);
            plain.extend(encoded);
            position = end;
        }
        plain.extend_from_slice(&emitted[position..]);
        Ok(plain)
    }
}

/// Memory of an encoder in bytes. What deflate takes beside its tables grows with the plain bytes.
fn encoder_memory(recipe: &Recipe) -> u64 {
    if recipe.codec() == Codec::Deflate { 1 << 20 } else { recipe.memory() }
}

fn failed(error: recode::Error) -> Error {
    let exhausted = match &error {
        recode::Error::Io { source, .. } => Exhausted::of(source),
        _ => None,
    };
    exhausted.map_or_else(|| Error::Reencode(Box::new(error)), Error::from)
}

/// A vector that refuses to grow past a bound.
struct Bounded<'w, 'b> {
    bytes: Vec<u8>,
    max: u64,
    /// The work that the bytes are granted, if they are bytes of the target.
    work: Option<&'w StreamWork<'b>>,
}

impl Write for Bounded<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > self.max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the stream grows past all measure"));
        }
        self.bytes.extend_from_slice(bytes);
        if let Some(work) = self.work {
            work.make(bytes.len() as u64);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
