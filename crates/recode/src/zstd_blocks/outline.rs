//! The outline of a compressed block: its numbers, its codes and tables, and where its sequences lie, but nothing of
//! what its streams say.

use super::MAX_BLOCK;
use super::headers::{LiteralsHeader, MAX_SEQUENCES, OWN_CODE, sequence_count};
use super::huffman::Code;
use super::sequences::{Source, Tables};

/// The outline of a compressed block.
pub(crate) struct Outline {
    /// Number of literals.
    literals: usize,
    /// The code of the literals, if they have one: their own, or none if it is the one before.
    pub(crate) code: Option<Option<Code>>,
    /// The tables, if there are sequences.
    pub(crate) tables: Option<[Source; 3]>,
    /// Number of sequences.
    sequences: usize,
    /// The offset at which their stream begins.
    start: usize,
}

impl Outline {
    /// Reads the outline of a block by its content; `None` if it is none.
    pub(crate) fn read(content: &[u8]) -> Option<Self> {
        let header = LiteralsHeader::read(content)?;
        let code = match header.kind() {
            ..OWN_CODE => None,
            OWN_CODE => Some(Some(Code::read(content.get(header.size..)?)?.0)),
            _ => Some(None),
        };
        let mut at = header.size + header.encoded;
        let (sequences, size) = sequence_count(content.get(at..)?)?;
        at += size;
        let mut tables = None;
        if sequences > 0 {
            let (sources, size) = Source::read(content.get(at..)?)?;
            tables = Some(sources);
            at += size;
        }
        Some(Self { literals: header.literals, code, tables, sequences, start: at })
    }

    /// Returns the number of plain bytes of the block, of which this is the outline. `tables` are those
    /// before the block, and become those of the block.
    pub(crate) fn plain_size(&self, content: &[u8], tables: &mut Tables) -> Option<usize> {
        let mut size = self.literals;
        if self.sequences > MAX_SEQUENCES {
            return None;
        }
        if let Some(sources) = &self.tables {
            tables.take(sources)?;
            for sequence in tables.decode(content.get(self.start..)?, self.sequences)? {
                size = size.checked_add(usize::try_from(sequence.size).ok()?)?;
            }
        }
        Some(size).filter(|size| *size <= MAX_BLOCK)
    }
}
