//! Compresses the op stream to an xz stream.

use std::io::{self, Write};

use liblzma::stream::{Check, Filters, LzmaOptions, MatchFinder, Mode, Stream};
use liblzma::write::XzEncoder;

/// The longest match that LZMA2 has: the search does not end at a shorter one. An op stream has few long ones, so that
/// this costs little.
const NICE_SIZE: u32 = 273;
/// The bits of the byte before that the model of a literal sees. It sees none of the position, since the bytes of an op
/// stream follow no alignment.
const LITERAL_CONTEXT_BITS: u32 = 3;

/// An xz stream of one block, whose only filter is LZMA2.
pub(crate) struct XzStream<W: Write>(XzEncoder<W>);

impl<W: Write> XzStream<W> {
    /// # Errors
    /// If liblzma refuses the size of the dictionary.
    pub(super) fn new(output: W, dictionary: u32) -> io::Result<Self> {
        let mut options = LzmaOptions::new_preset(liblzma::stream::PRESET_DEFAULT)?;
        options.dict_size(dictionary).mode(Mode::Normal).match_finder(MatchFinder::BinaryTree4);
        options.nice_len(NICE_SIZE).depth(0);
        options.literal_context_bits(LITERAL_CONTEXT_BITS).literal_position_bits(0).position_bits(0);
        let mut filters = Filters::new();
        filters.lzma2(&options);
        let stream = Stream::new_stream_encoder(&filters, Check::Crc32)?;
        Ok(Self(XzEncoder::new_stream(output, stream)))
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Bytes that were taken: the encoder works in the calling thread.
    pub(super) fn compressed(&self) -> u64 {
        self.0.total_in()
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}
