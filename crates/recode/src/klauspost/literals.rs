//! The literals of a block: as they are, one byte for all, or by a Huffman code.

use super::code::code;
use super::settings::Form;
use crate::zstd_blocks::frequencies::byte_counts;
use crate::zstd_blocks::headers::{COMPRESSED, ONE};
use crate::zstd_blocks::huffman::Code;

/// Literals from which there are four streams.
const FOUR_STREAMS: usize = 1024;
/// The part of the literals that the code has to save, as a base-2 logarithm.
const SAVED_LOG: u32 = 4;

/// The code that the blocks before leave.
#[derive(Debug, Clone)]
pub(super) struct Coder {
    form: Form,
    before: Option<Code>,
    /// The code before may be taken again.
    may_repeat: bool,
}

/// The form in which literals are written.
enum Coded {
    Plain,
    One(u8),
    /// The streams, behind the description of the code if it is a new one.
    Streams {
        bytes: Vec<u8>,
        is_repeated: bool,
    },
}

impl Coder {
    pub(super) const fn new(form: Form) -> Self {
        Self { form, before: None, may_repeat: false }
    }

    /// The coder behind blocks that leave a code.
    pub(super) fn behind(form: Form, before: Option<&Code>) -> Self {
        Self { form, before: before.cloned(), may_repeat: before.is_some() }
    }

    /// A block was written otherwise than the encoder would have written it: with a code of its own, or the one before.
    pub(super) fn learn(&mut self, own: Option<Code>) {
        if own.is_some() {
            self.before = own;
        }
        self.may_repeat = true;
    }

    /// A block was given up that had come out too large.
    pub(super) const fn give_up(&mut self) {
        self.may_repeat = false;
    }

    /// Appends the literals of a block with their header.
    pub(super) fn write(&mut self, literals: &[u8], output: &mut Vec<u8>) -> Option<()> {
        let is_coded = literals.len() > self.form.most_plain_literals();
        let coded = if is_coded { self.coded(literals) } else { Coded::Plain };
        let number = literals.len() as u64;
        match coded {
            Coded::Plain => {
                plain_header(0, number, output);
                output.extend_from_slice(literals);
            }
            Coded::One(byte) => {
                plain_header(1, number, output);
                output.push(byte);
            }
            Coded::Streams { bytes, is_repeated } => {
                return self.put_streams(literals.len(), &bytes, is_repeated, output);
            }
        }
        Some(())
    }

    /// Appends a block of literals alone without its header, if that makes it smaller. Returns its kind;
    /// `None` if it is to be stored.
    pub(super) fn write_alone(&mut self, literals: &[u8], output: &mut Vec<u8>) -> Option<u8> {
        if literals.len() <= self.form.most_plain_alone() {
            return None;
        }
        /// Bytes of the header of few literals. Where there are more, the code saves more than a header has.
        const CODED_HEADER_SIZE: usize = 3;
        match self.coded(literals) {
            Coded::Streams { bytes, .. }
                if self.form.counts_headers() && bytes.len() + CODED_HEADER_SIZE >= literals.len() =>
            {
                None
            }
            Coded::Plain => None,
            Coded::One(byte) => {
                output.push(byte);
                Some(ONE)
            }
            Coded::Streams { bytes, is_repeated } => {
                self.put_streams(literals.len(), &bytes, is_repeated, output)?;
                // There are no sequences.
                output.push(0);
                Some(COMPRESSED)
            }
        }
    }

    /// Appends the streams of so many literals with their header.
    fn put_streams(
        &mut self,
        literals: usize,
        streams: &[u8],
        is_repeated: bool,
        output: &mut Vec<u8>,
    ) -> Option<()> {
        self.may_repeat = true;
        let (number, size) = (literals as u64, streams.len() as u64);
        let (format, width) = match number.max(size) {
            ..0x400 => (u64::from(literals >= FOUR_STREAMS), 10),
            0x400..0x4000 => (2, 14),
            0x4000..0x4_0000 => (3, 18),
            _ => return None,
        };
        let kind = if is_repeated { 3 } else { 2 };
        let header = kind | format << 2 | number << 4 | size << (4 + width);
        output.extend_from_slice(&header.to_le_bytes()[..(4 + 2 * width) / 8]);
        output.extend_from_slice(streams);
        Some(())
    }

    fn coded(&mut self, literals: &[u8]) -> Coded {
        if !self.may_repeat {
            self.before = None;
        }
        let counts = byte_counts(literals);
        let most = counts.iter().copied().max().map_or(0, |most| most as usize);
        if most == literals.len() {
            return Coded::One(literals[0]);
        }
        if most <= 1 || most < literals.len() >> 7 {
            return Coded::Plain;
        }
        let symbols = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        let counts = &counts[..symbols];
        let max = literals.len() - (literals.len() >> SAVED_LOG);
        let fits = |bytes: &Vec<u8>| bytes.len() < max;
        let is_four = literals.len() >= FOUR_STREAMS;
        let Some(made) = code(counts) else { return Coded::Plain };
        if let Some(before) = &self.before
            && let Some(size) = before.size(counts)
            && (made.code.size(counts).is_none_or(|new| size <= new) || max <= 12)
        {
            let streams = before.encode_streams(Vec::new(), literals, is_four).filter(fits);
            return streams.map_or(Coded::Plain, |bytes| Coded::Streams { bytes, is_repeated: true });
        }
        let streams = |bytes| made.code.encode_streams(bytes, literals, is_four);
        let bytes = made.description().and_then(streams).filter(fits);
        let Some(bytes) = bytes else { return Coded::Plain };
        self.before = Some(made.code);
        Coded::Streams { bytes, is_repeated: false }
    }
}

/// Appends the header of literals without a code. One byte is taken for fewer literals than the format allows.
fn plain_header(kind: u64, number: u64, output: &mut Vec<u8>) {
    let (header, size) = match number {
        ..0x10 => (kind | number << 3, 1),
        0x10..0x800 => (kind | 1 << 2 | number << 4, 2),
        _ => (kind | 3 << 2 | number << 4, 3),
    };
    output.extend_from_slice(&header.to_le_bytes()[..size]);
}
