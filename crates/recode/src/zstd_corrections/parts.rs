//! The parts of a compressed block (RFC 8878, 3.1.1.3): all that its plain bytes do not say.

use crate::zstd_blocks::headers::{
    LiteralsHeader, MAX_SEQUENCES, OWN_CODE, RAW, is_four, literals_header, put_sequence_count,
    sequence_count,
};
use crate::zstd_blocks::huffman::Code;
use crate::zstd_blocks::sequences::{Sequence, Source};
use crate::zstd_blocks::{Known, MAX_BLOCK};

/// Literals that are coded with the code before.
pub(super) const CODE_BEFORE: u8 = 3;

/// A compressed block without its literals, which follow from the plain bytes and the sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    /// The low four bits of the header of the literals: their kind and the format of their sizes.
    pub(super) form: u8,
    /// The description of the code of the literals, for [`OWN_CODE`] alone.
    pub(super) description: Vec<u8>,
    pub(super) sequences: Vec<Sequence>,
    /// The tables of literals, offsets and sizes, if there are sequences.
    pub(super) sources: Option<[Source; 3]>,
}

impl Parts {
    /// Takes a block apart and returns the number of its literals, too; `None` if it is broken.
    pub(super) fn read(content: &[u8], known: &mut Known) -> Option<(Self, usize)> {
        let header = LiteralsHeader::read(content)?;
        let (form, literals) = (header.own_form(), header.literals);
        let mut at = header.size + header.encoded;
        let mut description = Vec::new();
        if header.kind() == OWN_CODE {
            let rest = content.get(header.size..at)?;
            let (code, of_code) = Code::read(rest)?;
            description = rest[..of_code].to_vec();
            known.code = Some(code);
        }
        let (count, size) = sequence_count(content.get(at..)?)?;
        at += size;
        if count > MAX_SEQUENCES {
            return None;
        }
        if count == 0 {
            let parts = Self { form, description, sequences: Vec::new(), sources: None };
            return (at == content.len()).then_some((parts, literals));
        }
        let (sources, size) = Source::read(content.get(at..)?)?;
        known.tables.take(&sources)?;
        let sequences = known.tables.decode(content.get(at + size..)?, count)?;
        Some((Self { form, description, sequences, sources: Some(sources) }, literals))
    }

    /// Makes the content of the block; `None` if no block has these parts.
    pub(super) fn write(&self, literals: &[u8], known: &mut Known) -> Option<Vec<u8>> {
        let mut content;
        if self.form & 3 < OWN_CODE {
            let of_literals = if self.form & 3 == RAW { literals } else { literals.get(..1)? };
            content = literals_header(self.form, literals.len(), of_literals.len())?;
            content.extend_from_slice(of_literals);
        } else {
            if self.form & 3 == OWN_CODE {
                known.code = Some(Code::read(&self.description)?.0);
            }
            let code = known.code.as_ref()?;
            let streams = code.encode_streams(self.description.clone(), literals, is_four(self.form))?;
            content = literals_header(self.form, literals.len(), streams.len())?;
            content.extend(streams);
        }
        put_sequence_count(self.sequences.len(), &mut content)?;
        if let Some(sources) = &self.sources {
            content.push(sources.iter().fold(0, |modes, source| modes << 2 | source.mode()) << 2);
            for source in sources {
                match source {
                    Source::One(symbol) => content.push(*symbol),
                    Source::Own(frequencies) => content.extend(frequencies.write()),
                    Source::Fixed | Source::Before => {}
                }
            }
            known.tables.take(sources)?;
            content.extend(known.tables.encode(&self.sequences)?);
        }
        (content.len() <= MAX_BLOCK).then_some(content)
    }
}
