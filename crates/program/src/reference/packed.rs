//! New bytes that are packed, by another implementation of LZMA2. Operands are taken out as the writer does.

use std::io::Read;

use lzma_rust2::Lzma2Reader;

use crate::call_sites::{CallSites, Rows};
use crate::operands::{Code, Taken};
use crate::payload::Payload;
use crate::space::Space;
use crate::{Error, Result, Rule, Rules};

/// The new bytes of a payload; `None` if they are not packed.
pub(super) fn new_bytes(payload: &Payload<'_>, old: &[u8], rules: &Rules) -> Result<Option<Vec<u8>>> {
    let Some(size) = rules.packed.map(|size| size as usize) else { return Ok(None) };
    if size > payload.size {
        return Err(Error::Packed);
    }
    let mut read = vec![false; old.len()];
    for block in &payload.blocks {
        read[block.source as usize..(block.source + block.add) as usize].fill(true);
    }
    // A byte counts if one of the 16 on either side of it, or itself, is not read.
    let mut counts = vec![false; old.len()];
    for place in (0..old.len()).filter(|place| !read[*place]) {
        counts[place.saturating_sub(16)..old.len().min(place + 17)].fill(true);
    }
    if counts.iter().filter(|counts| **counts).count() > 1 << 25 {
        return Err(Error::Packed);
    }
    let ranges = rules.rules.iter().filter_map(|rule| match rule {
        Rule::X86_64(range) | Rule::Aarch64(range) => Some(range.clone()),
        _ => None,
    });
    let ranges: Vec<_> = ranges.take(16).collect();
    let code = Code { machine: rules.machine(), ranges: &ranges, space: Space(&rules.old.segments) };
    let mut dictionary = Vec::new();
    let mut place = 0;
    while place < old.len() {
        let size = counts[place..].iter().take_while(|counts| **counts).count();
        let mut taken = Taken::default();
        taken.pass(&old[place.saturating_sub(24)..place]);
        let start = u32::try_from(place).unwrap();
        taken.literal(
            &old[place..place + size],
            start,
            code,
            &mut CallSites::new(0..0),
            &mut Rows::default(),
        );
        dictionary.extend(taken.new);
        place += size.max(1);
    }
    let window = u32::try_from((dictionary.len() + size).max(4096)).unwrap();
    let mut packed = payload.new.new;
    let mut new = Vec::new();
    let mut reader = Lzma2Reader::new(&mut packed, window, Some(&dictionary));
    reader.by_ref().take(size as u64 + 1).read_to_end(&mut new).map_err(|_| Error::Packed)?;
    if new.len() != size || !packed.is_empty() {
        return Err(Error::Packed);
    }
    Ok(Some(new))
}
