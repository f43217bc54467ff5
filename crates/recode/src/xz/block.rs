//! The header of an xz block (xz file format 1.2.1, section 3.1): its filters and what it says of
//! sizes.

use liblzma::stream::{Filters, LzmaOptions};

/// Largest dictionary that is encoded with, in bytes: that of `xz -9`. The encoder takes 11.5 times
/// as much.
pub(super) const MAX_DICTIONARY: u32 = 64 << 20;
/// Longest header of a block without its first byte and its CRC, in bytes.
pub(super) const MAX_HEADER_SIZE: usize = 1024 - 1 - 4;
const LZMA2: u8 = 0x21;

/// A filter in front of LZMA2: its number, and its properties as in the header.
type Filter = (u8, Vec<u8>);

/// The part of a header that matters to the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    before: Vec<Filter>,
    /// Bytes.
    pub(super) dictionary: u32,
}

impl Chain {
    /// Reads the header between its first byte and its CRC.
    pub(super) fn parse(header: &[u8]) -> Option<Self> {
        let (flags, mut rest) = header.split_first()?;
        if flags & 0x3c != 0 {
            return None;
        }
        for bit in [0x40, 0x80] {
            if flags & bit != 0 {
                number(&mut rest)?;
            }
        }
        let mut before = Vec::new();
        for _ in 0..flags & 3 {
            let filter = filter(&mut rest)?;
            if !matches!(filter.0, 3..=11) {
                return None;
            }
            before.push(filter);
        }
        let (LZMA2, properties) = filter(&mut rest)? else { return None };
        let [bits @ 0..=39] = *properties else { return None };
        let dictionary = (2 | u32::from(bits & 1)) << (bits / 2 + 11);
        (dictionary <= MAX_DICTIONARY && rest.iter().all(|byte| *byte == 0))
            .then_some(Self { before, dictionary })
    }

    /// The filters for the encoder, LZMA2 with these options last.
    pub(super) fn filters(&self, options: &LzmaOptions) -> Result<Filters, liblzma::stream::Error> {
        let mut filters = Filters::new();
        for (id, properties) in &self.before {
            match id {
                3 => filters.delta_properties(properties)?,
                4 => filters.x86_properties(properties)?,
                5 => filters.powerpc_properties(properties)?,
                6 => filters.ia64_properties(properties)?,
                7 => filters.arm_properties(properties)?,
                8 => filters.arm_thumb_properties(properties)?,
                9 => filters.sparc_properties(properties)?,
                10 => filters.arm64_properties(properties)?,
                _ => filters.riscv_properties(properties)?,
            };
        }
        filters.lzma2(options);
        Ok(filters)
    }
}

fn filter(rest: &mut &[u8]) -> Option<Filter> {
    let id = u8::try_from(number(rest)?).ok()?;
    let size = usize::try_from(number(rest)?).ok()?;
    let (properties, behind) = rest.split_at_checked(size)?;
    *rest = behind;
    Some((id, properties.to_vec()))
}

/// A number of the format: seven bits a byte, the lowest first, as few bytes as it takes.
pub(super) fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return (*byte != 0 || shift == 0).then_some(number);
        }
    }
    None
}
