//! Finds the blocks of a frame that the encoder did not make.

use std::io::Read;

use super::{CARRIED_WORK, Carried, Encoder, MAX_BLOCK_SIZE, Plan, Settings, header};
use crate::charge::Charged;
use crate::compare::{Plain, Source};
use crate::zstd_blocks::headers::{BlockHeader, COMPRESSED, ONE, RAW};
use crate::zstd_blocks::outline::Outline;
use crate::zstd_blocks::read_bytes;
use crate::zstd_blocks::sequences::Tables;
use crate::{Budget, Refused};

/// Bytes of a recipe that a block takes beside its own, at most.
const CARRIED_SIZE: u64 = 16;
/// Most bytes of the header of a frame.
const MAX_FRAME_HEADER: u64 = 18;
/// The part of the frame that may be carried.
const MAX_SHARE: u64 = 32;
/// Bytes that may be carried of any frame, up to half of it.
pub(crate) const FEW_CARRIED: u64 = 64;
/// Most blocks at the start of a frame that are made in search of a compressed one.
const MAX_START_BLOCKS: usize = 16;

/// The levels that are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Levels {
    Default,
    Others,
}

/// Finds the plan that makes a frame, and returns how many bytes it carries. Of the versions it takes the one
/// that leaves least to be carried.
///
/// # Errors
/// [`Refused`] if each leaves too much, if the header is that of another encoder, if the budget is spent, or
/// if one takes too much memory.
pub(crate) fn find(source: &mut dyn Source, budget: &Budget, levels: Levels) -> Result<(Plan, u64), Refused> {
    let size = source.encoded_size();
    // Versions are alike in most blocks. One of them likely makes all, and the others are left at the first block that
    // they make otherwise. Where each makes a block otherwise, they are compared by what is to be carried.
    if let Some(exact) = least_carried(source, budget, levels, 0)? {
        return Ok(exact);
    }
    let max = (size / MAX_SHARE).max(FEW_CARRIED.min(size / 2));
    least_carried(source, budget, levels, max)?.ok_or(Refused::NoEncoder)
}

/// Finds the plan that carries least, and at most `max` bytes; `None` if each carries more.
///
/// # Errors
/// [`Refused`] as [`find`], but for those that leave too much.
fn least_carried(
    source: &mut dyn Source,
    budget: &Budget,
    levels: Levels,
    mut max: u64,
) -> Result<Option<(Plan, u64)>, Refused> {
    let (start, _) = source.starts(MAX_FRAME_HEADER, 0).map_err(|_| Refused::Unreadable)?;
    let plain_size = source.plain_size();
    let (mut best, mut lacked_memory) = (None, false);
    let is_tried = |settings: &&Settings| settings.is_default() == (levels == Levels::Default);
    for settings in Settings::ALL.iter().filter(is_tried) {
        let Some(manner) = Manner::of(settings, &start, plain_size) else { continue };
        if settings.memory() > budget.memory() {
            lacked_memory = true;
            continue;
        }
        if !budget.charge(settings.work().0) {
            return Err(Refused::OverBudget);
        }
        match plan(settings, manner, source, budget, max) {
            Ok((plan, 0)) => return Ok(Some((plan, 0))),
            Ok((plan, size)) => {
                max = size - 1;
                best = Some((plan, size));
            }
            Err(Refused::NoEncoder) => {}
            Err(refused) => return Err(refused),
        }
    }
    if best.is_none() && lacked_memory && max > 0 { Err(Refused::TooMuchMemory) } else { Ok(best) }
}

/// The parts of a plan that the header of a frame says.
#[derive(Debug, Clone, Copy)]
struct Manner {
    is_whole: bool,
    has_checksum: bool,
}

impl Manner {
    /// Returns the manner in which the encoder makes the start of a frame.
    fn of(settings: &Settings, start: &[u8], plain_size: u64) -> Option<Self> {
        let all = [(false, true), (true, true), (false, false), (true, false)];
        let mut all = all.map(|(is_whole, has_checksum)| Self { is_whole, has_checksum }).into_iter();
        all.find(|manner| start.starts_with(&manner.header(settings, plain_size)))
    }

    fn header(self, settings: &Settings, plain_size: u64) -> Vec<u8> {
        header(settings.window_log(), self.is_whole, self.has_checksum, plain_size)
    }
}

/// Tells whether the library makes the first compressed block of a frame, at a level other than the default, and all
/// before it. Stored blocks and blocks of one byte tell nothing, since each encoder makes them, and so does a frame of
/// one block. The last version of a level stands for the others, but for those that search otherwise in the window that
/// the frame has.
pub(crate) fn makes_start(source: &mut dyn Source, budget: &Budget) -> bool {
    if source.plain_size() <= MAX_BLOCK_SIZE as u64 {
        return false;
    }
    let Ok((start, _)) = source.starts(MAX_FRAME_HEADER, 0) else { return false };
    let mut tried: Vec<&Settings> = Vec::new();
    for settings in Settings::ALL.iter().filter(|settings| !settings.is_default()) {
        let Some(manner) = Manner::of(settings, &start, source.plain_size()) else { continue };
        // A frame whose plain bytes came at once may have no window.
        let is_told = manner.is_whole || tried.iter().any(|tried| tried.searches_as(settings));
        if settings.version > 0 && is_told {
            continue;
        }
        tried.push(settings);
        let (mut is_made, mut left) = (false, MAX_START_BLOCKS);
        if settings.memory() <= budget.memory() && budget.charge(settings.work().0) {
            let _ = walk(settings, manner, source, budget, &mut |block| {
                let is_telling =
                    BlockHeader::read(&block.bytes).is_some_and(|header| header.kind == COMPRESSED);
                is_made = block.is_made && is_telling;
                left -= 1;
                if is_telling || !block.is_made || left == 0 { Err(Refused::NoEncoder) } else { Ok(()) }
            });
        }
        if is_made {
            return true;
        }
    }
    false
}

/// Makes the plan for a version that carries at most `max` bytes, and returns how many they are.
fn plan(
    settings: &'static Settings,
    manner: Manner,
    source: &mut dyn Source,
    budget: &Budget,
    max: u64,
) -> Result<(Plan, u64), Refused> {
    let (mut carried, mut size_of_carried, mut before) = (Vec::new(), 0, 0);
    let checksum = walk(settings, manner, source, budget, &mut |Block { bytes, plain_size, is_made }| {
        if is_made {
            before += 1;
            return Ok(());
        }
        size_of_carried += bytes.len() as u64 + CARRIED_SIZE;
        if size_of_carried > max {
            return Err(Refused::NoEncoder);
        }
        carried.push(Carried { before, plain_size, bytes });
        before = 0;
        Ok(())
    })?;
    Ok((Plan { settings, is_whole: manner.is_whole, checksum, carried }, size_of_carried))
}

/// A block of the frame.
struct Block {
    bytes: Vec<u8>,
    plain_size: usize,
    /// The encoder makes it.
    is_made: bool,
}

/// Compares each block of a frame with what the encoder makes, and gives it to `take`. Returns the checksum.
fn walk(
    settings: &'static Settings,
    manner: Manner,
    source: &mut dyn Source,
    budget: &Budget,
    take: &mut dyn FnMut(Block) -> Result<(), Refused>,
) -> Result<Option<[u8; 4]>, Refused> {
    let Manner { is_whole, has_checksum } = manner;
    let plain_size = source.plain_size();
    let charge = |units| budget.take(units);
    let (mut encoded, plain) = source.readers().map_err(|_| Refused::Unreadable)?;
    let mut plain = Charged::new(plain, settings.work().1 * 2, &charge);
    let mut plain = Plain::new(&mut plain, plain_size);

    read_bytes(&mut encoded, manner.header(settings, plain_size).len())?;
    let mut encoder = Encoder::new(settings, is_whole, plain_size);
    let mut tables = Tables::default();
    let (mut buffer, mut made) = (vec![0; MAX_BLOCK_SIZE], Vec::new());
    loop {
        if !budget.charge(CARRIED_WORK) {
            return Err(Refused::OverBudget);
        }
        let block = next_block(&mut encoded)?;
        let size = plain_size_of(&block, &mut tables).ok_or(Refused::NoEncoder)?;
        let buffer = &mut buffer[..size];
        if plain.read(buffer).map_err(|_| Refused::Unreadable)? < size {
            return Err(Refused::NotTheStream);
        }
        let is_last = encoder.is_last(size, plain.left());
        made.clear();
        if size == settings.block_size() || is_last {
            let coder = encoder.coder.clone();
            encoder.make(buffer, is_last, &mut made);
            if made != block {
                encoder.coder = coder;
                encoder.learn(&block);
            }
        } else {
            encoder.carry(buffer, &block);
        }
        let (is_end, is_made) = (block[0] & 1 != 0, made == block);
        take(Block { bytes: block, plain_size: size, is_made })?;
        if is_end {
            break;
        }
    }
    let checksum = read_bytes(&mut encoded, if has_checksum { 4 } else { 0 })?.first_chunk().copied();
    if plain.left() > 0 || read_bytes(&mut encoded, 1).is_ok() {
        return Err(Refused::NotTheStream);
    }
    Ok(checksum)
}

/// Reads a block with its header.
fn next_block(encoded: &mut dyn Read) -> Result<Vec<u8>, Refused> {
    let mut block = read_bytes(encoded, BlockHeader::SIZE)?;
    let size = BlockHeader::read(&block).ok_or(Refused::NotTheStream)?.content_size();
    if size > MAX_BLOCK_SIZE {
        return Err(Refused::NoEncoder);
    }
    block.extend(read_bytes(encoded, size)?);
    Ok(block)
}

/// Returns how many plain bytes a block has; `None` if that is not known.
fn plain_size_of(block: &[u8], tables: &mut Tables) -> Option<usize> {
    let BlockHeader { kind, size, .. } = BlockHeader::read(block)?;
    match kind {
        RAW | ONE => Some(size).filter(|size| *size <= MAX_BLOCK_SIZE),
        COMPRESSED => {
            let content = block.get(BlockHeader::SIZE..)?;
            Outline::read(content)?.plain_size(content, tables)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Slices;

    #[test]
    fn stored_blocks_at_the_start_do_not_tell_the_encoder() {
        let mut rng = fixtures::Rng::new(1);
        let noise = rng.bytes(2 * MAX_BLOCK_SIZE);
        let text = fixtures::contents::text(&mut rng, 1000);
        let plain = [noise, text].concat();
        let budget = Budget::new(u64::MAX, u64::MAX);
        let settings = Settings::of(1, 0).unwrap();
        let manner = Manner { is_whole: false, has_checksum: false };
        let mut stored = manner.header(settings, plain.len() as u64);
        for (index, block) in plain.chunks(settings.block_size()).enumerate() {
            let is_last = (index + 1) * settings.block_size() >= plain.len();
            stored.extend(BlockHeader { is_last, kind: RAW, size: block.len() }.bytes());
            stored.extend_from_slice(block);
        }
        assert!(!makes_start(&mut Slices { encoded: &stored, plain: &plain }, &budget));

        let plan = Plan { settings, is_whole: false, checksum: None, carried: Vec::new() };
        let mut made = Vec::new();
        plan.encode(&mut Plain::new(&mut &*plain, plain.len() as u64), &mut made).unwrap();
        assert!(makes_start(&mut Slices { encoded: &made, plain: &plain }, &budget));
    }
}
