//! The work of an apply, and the most that a good delta takes of it.

/// Work of an apply, in units of about a nanosecond of one core.
///
/// The numbers do not depend on the machine: what is within a budget here is within it everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// To find, open, read and decode: all that is done with the delta and the sources.
    pub reading: u64,
    /// To set encoders up and to encode (tardf3).
    pub encoding: u64,
}

/// Units of reading for each byte of a layer: nothing but views takes more than 10, and where all of a
/// layer is compressed with xz, decoding its sources takes about 100.
pub(crate) const READING_RATIO: u64 = 256;
/// Units of reading for any layer: a second.
pub(crate) const MIN_READING: u64 = 1 << 30;
/// Units of encoding for each byte of a layer: one of kernel modules compressed with xz takes 3000.
pub(crate) const ENCODING_RATIO: u64 = 8192;
/// Units of encoding for any layer: eight seconds.
pub(crate) const MIN_ENCODING: u64 = 1 << 33;
/// Encoding that may be ahead of the streams that it makes: four seconds.
pub(crate) const ENCODING_AHEAD: u64 = 1 << 32;
/// Encoding that may be ahead of the stream that it makes. Of what compresses to nearly nothing, liblzma reads
/// 2 MiB before it gives the first bytes.
pub(crate) const ENCODING_AHEAD_OF_STREAM: u64 = ENCODING_AHEAD / 2;
/// Reading that may be ahead of the bytes that are emitted: to decode two of the largest sources.
pub(crate) const READING_AHEAD: u64 = 1 << 34;
/// Units after which a [`Budget`] asks whether to stop: a millisecond.
pub(crate) const ASK_SHIFT: u32 = 20;

impl Work {
    /// Work of reading alone.
    pub const fn reading(units: u64) -> Self {
        Self { reading: units, encoding: 0 }
    }

    /// Work of encoding alone.
    pub const fn encoding(units: u64) -> Self {
        Self { reading: 0, encoding: units }
    }

    /// The most that a good delta of a layer of `size` bytes takes, with room to spare.
    pub const fn of_layer(size: u64) -> Self {
        Self {
            reading: at_least(size, READING_RATIO, MIN_READING),
            encoding: at_least(size, ENCODING_RATIO, MIN_ENCODING),
        }
    }

    /// The encoding that a writer of deltas asks for to make a stream of `size` bytes: seven eighths of what an applier
    /// grants. Half is too little for the large kernel modules of a layer, which have up to twelve times as
    /// many plain bytes.
    pub const fn encoding_of_stream(size: u64) -> u64 {
        size.saturating_mul(ENCODING_RATIO / 8 * 7)
    }

    /// The encoding that a writer of deltas asks for beside [that](Self::encoding_of_stream), for one of
    /// `files` files of a layer: half of what an applier grants to all of them together.
    pub const fn encoding_share(files: u64) -> u64 {
        share(ENCODING_AHEAD, files) / 2
    }

    /// The reading that a writer of deltas asks for to decode the source of one of `files` files of a layer, for a
    /// target of `size` bytes: half of what an applier grants for its size, and of its share of what any layer has.
    pub const fn reading_of_file(size: u64, files: u64) -> u64 {
        size.saturating_mul(READING_RATIO).saturating_add(share(MIN_READING, files)) / 2
    }

    /// The reading that a writer of deltas asks for to make a file of `size` bytes, as they lie in the layer, by a
    /// relocated op: a third of what an applier grants. A source may have to be decoded before, and the delta be read.
    pub const fn relocating(size: u64) -> u64 {
        size.saturating_mul(READING_RATIO) / 16 * 5
    }
}

/// The part of `all` that each of so many files has.
const fn share(all: u64, files: u64) -> u64 {
    all / if files == 0 { 1 } else { files }
}

const fn at_least(size: u64, ratio: u64, least: u64) -> u64 {
    let work = size.saturating_mul(ratio);
    if work < least { least } else { work }
}
