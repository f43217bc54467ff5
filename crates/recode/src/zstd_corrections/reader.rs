//! The reader of a frame, block by block.

use std::io::Read;

use super::parts::Parts;
use super::walk::Block;
use crate::Refused;
use crate::zstd_blocks::headers::{BlockHeader, COMPRESSED, ONE, RAW};
use crate::zstd_blocks::{Known, MAX_BLOCK, header_sizes, read_bytes};

/// Bytes of the magic number of a frame and of its descriptor.
const START: usize = 5;
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A frame that is read.
pub(super) struct Reader<'e> {
    encoded: &'e mut dyn Read,
    known: Known,
    checksum: usize,
}

impl<'e> Reader<'e> {
    /// Reads the header of a frame, which is returned without its magic number.
    pub(super) fn new(encoded: &'e mut dyn Read) -> Result<(Self, Vec<u8>), Refused> {
        let mut header = read_bytes(encoded, START)?;
        let (size, checksum) = header_sizes(header[4]);
        if header[..4] != MAGIC || header[4] & 3 != 0 {
            return Err(Refused::Unsupported("zstd-dictionary"));
        }
        header.extend(read_bytes(encoded, size - START)?);
        Ok((Self { encoded, known: Known::default(), checksum }, header.split_off(4)))
    }

    pub(super) fn block(&mut self) -> Result<Block, Refused> {
        const BROKEN: Refused = Refused::Unsupported("zstd-block");
        let header = BlockHeader::read(&read_bytes(self.encoded, BlockHeader::SIZE)?).ok_or(BROKEN)?;
        let BlockHeader { is_last, kind, size } = header;
        if size > MAX_BLOCK {
            return Err(BROKEN);
        }
        let content = read_bytes(self.encoded, header.content_size())?;
        let (mut plain_size, mut parts) = (size, None);
        match kind {
            RAW | ONE => {}
            COMPRESSED => {
                let (of_block, literals) = Parts::read(&content, &mut self.known).ok_or(BROKEN)?;
                let made: usize = of_block.sequences.iter().map(|sequence| sequence.size as usize).sum();
                plain_size = literals + made;
                parts = Some(of_block);
            }
            _ => return Err(BROKEN),
        }
        if plain_size > MAX_BLOCK {
            return Err(BROKEN);
        }
        Ok(Block { kind, is_last, content, plain_size, parts })
    }

    /// Reads what follows the last block, which is the checksum.
    pub(super) fn end(self) -> Result<Vec<u8>, Refused> {
        let checksum = read_bytes(self.encoded, self.checksum)?;
        if read_bytes(self.encoded, 1).is_ok() { Err(Refused::NotTheStream) } else { Ok(checksum) }
    }
}
