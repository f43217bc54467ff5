//! Reads the parameters of an xz stream, and searches those that it does not tell.

use super::block::{self, Chain};
use super::{Block, EXTREME, HEADER_MAGIC, MAX_BLOCKS, Plan, literal_bits, size_byte};
use crate::Refused;
use crate::xz::check::Check;

/// lc=3, lp=0, pb=2: what every preset has.
const USUAL_PROPERTIES: u8 = 0x5d;
/// The presets that differ in more than the dictionary, which the stream tells, the likely first:
/// 7 to 9 are 6 with larger dictionaries.
const PRESETS: [u8; 9] = [6, 6 | EXTREME, 3 | EXTREME, 3, 2, 1, 0, 5, 4];

/// The plans that may make `encoded`, the likely first.
pub(crate) fn find(encoded: &[u8]) -> Result<Vec<Plan>, Refused> {
    let check = match encoded.strip_prefix(&HEADER_MAGIC) {
        Some([0, check, ..]) => *check,
        _ => return Err(Refused::NotTheStream),
    };
    if Check::new(check).is_none() {
        return Err(Refused::Unsupported("xz-check"));
    }
    let records = index(encoded).ok_or(Refused::NotTheStream)?;
    if records.len() as u64 > MAX_BLOCKS {
        return Err(Refused::Unsupported("xz-blocks"));
    }
    let mut at = HEADER_MAGIC.len() + 6;
    let mut properties = None;
    let mut blocks = Vec::new();
    for (unpadded_size, plain_size) in records {
        let size = encoded.get(at).map(|byte| (usize::from(*byte) + 1) * 4).ok_or(Refused::NotTheStream)?;
        let header = encoded.get(at + 1..at + size - 4).ok_or(Refused::NotTheStream)?.to_vec();
        let chain = Chain::parse(&header).ok_or(Refused::Unsupported("xz-filter"))?;
        properties = properties.or_else(|| lzma_properties(encoded.get(at + size..)?));
        debug_assert_eq!(usize::from(size_byte(&header)) * 4 + 4, size);
        blocks.push(Block { header, chain, plain_size });
        let end = usize::try_from(unpadded_size).ok().and_then(|size| at.checked_add(size));
        at = end.and_then(|end| end.checked_next_multiple_of(4)).ok_or(Refused::NotTheStream)?;
    }
    let properties = properties.unwrap_or(USUAL_PROPERTIES);
    if literal_bits(properties).is_none() {
        return Err(Refused::NotTheStream);
    }
    let usual = blocks.first().and_then(|block| match block.chain.dictionary >> 18 {
        1 => Some(0),
        8 => Some(2),
        16 => Some(3),
        _ => None,
    });
    let mut presets: Vec<u8> = usual.into_iter().collect();
    presets.extend(PRESETS.iter().filter(|preset| usual != Some(**preset)));
    Ok(presets.into_iter().map(|preset| Plan { preset, check, properties, blocks: blocks.clone() }).collect())
}

/// The records of the index: size of a block without padding, and of its plain bytes.
fn index(encoded: &[u8]) -> Option<Vec<(u64, u64)>> {
    let footer = encoded.get(encoded.len().checked_sub(12)?..)?;
    let units = u32::from_le_bytes(footer.get(4..8)?.try_into().ok()?);
    let size = (usize::try_from(units).ok()?.checked_add(1)?).checked_mul(4)?;
    let mut rest = encoded.get(encoded.len().checked_sub(12 + size)?..)?.strip_prefix(&[0])?;
    let count = block::number(&mut rest)?;
    let mut records = Vec::new();
    for _ in 0..count {
        records.push((block::number(&mut rest)?, block::number(&mut rest)?));
    }
    Some(records)
}

/// The properties of the first compressed chunk of LZMA2 that has them.
fn lzma_properties(mut chunks: &[u8]) -> Option<u8> {
    loop {
        let size = match *chunks {
            [control @ 0x80..=0xff, _, _, high, low, properties, ..] => {
                if control >= 0xc0 {
                    return Some(properties);
                }
                6 + usize::from(u16::from_be_bytes([high, low]))
            }
            [1 | 2, high, low, ..] => 4 + usize::from(u16::from_be_bytes([high, low])),
            _ => return None,
        };
        chunks = chunks.get(size..)?;
    }
}
