//! The new places of what lies near to a field: the parts of a function stay together.
//!
//! The map has one new place for each old one. A function that several new ones are like is read by blocks at several
//! places, and a jump within it leads to what lies around it, whichever of them the map has.

use crate::payload::Block;

/// Blocks before a block, and after it, that are looked at.
const REACH: usize = 16;
/// Most bytes between a field and what is near to it: functions are hardly larger.
const MAX_DISTANCE: u32 = 1 << 16;

/// A block among those of its file. The blocks were checked: they lie in files of at most [`crate::MAX_SIZE`] bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neighbours<'b> {
    /// All blocks, in the order of the new file.
    pub(crate) blocks: &'b [Block],
    /// The index of the block.
    pub(crate) index: usize,
    /// Its position in the new file.
    pub(crate) start: u32,
}

impl Neighbours<'_> {
    /// Returns the new place of an old one that is near to the field at `position`, which the block reads. Of
    /// the blocks around it that read the place, the nearest counts, and of two as near the one before.
    pub(crate) fn place(self, position: u32, place: u32) -> Option<u32> {
        if place.abs_diff(position) > MAX_DISTANCE {
            return None;
        }
        let (before, after) = self.blocks.split_at_checked(self.index)?;
        let (block, after) = after.split_first()?;
        let found = |block: &Block, start: u32| {
            let offset = place.wrapping_sub(block.source);
            (offset < block.add).then(|| start.wrapping_add(offset))
        };
        if let Some(place) = found(block, self.start) {
            return Some(place);
        }
        let (mut start, mut end) = (self.start, self.start.wrapping_add(size(block)));
        let (mut before, mut after) = (before.iter().rev(), after.iter());
        (0..REACH).find_map(|_| {
            let earlier = before.next().and_then(|block| {
                start = start.wrapping_sub(size(block));
                found(block, start)
            });
            earlier.or_else(|| {
                let block = after.next()?;
                let place = found(block, end);
                end = end.wrapping_add(size(block));
                place
            })
        })
    }
}

/// Bytes of a block in the new file.
const fn size(block: &Block) -> u32 {
    block.add.wrapping_add(block.literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn block(source: u32, add: u32, literal: u32) -> Block {
        Block { source, add, literal }
    }

    /// The place of the block with an index for a field at 12.
    fn found(blocks: &[Block], index: usize, place: u32) -> Option<u32> {
        let start = blocks[..index].iter().map(size).sum();
        Neighbours { blocks, index, start }.place(12, place)
    }

    #[test]
    fn the_nearest_block_counts() {
        // The same bytes are read three times, first by the largest block.
        let mut blocks = vec![block(0, 100, 5), block(10, 20, 0), block(500, 3, 7), block(10, 30, 0)];
        assert_eq!(found(&blocks, 0, 15), Some(15));
        assert_eq!(found(&blocks, 1, 15), Some(110));
        assert_eq!(found(&blocks, 2, 15), Some(110), "the one before");
        assert_eq!(found(&blocks, 2, 35), Some(160), "the one after");
        assert_eq!(found(&blocks, 3, 15), Some(140));
        assert_eq!(found(&blocks, 3, 99), Some(99));
        assert_eq!(found(&blocks, 3, 100), None, "none reads it");
        assert_eq!(found(&blocks, 4, 15), None, "there is no such block");
        blocks.splice(1..1, std::iter::repeat_n(block(900, 1, 0), REACH));
        assert_eq!(found(&blocks, REACH, 99), Some(99));
        assert_eq!(found(&blocks, REACH + 1, 99), None, "too many blocks lie between");
    }

    #[test]
    fn what_is_far_away_has_no_place() {
        let blocks = [block(0, 1 << 20, 0)];
        let place = |place| Neighbours { blocks: &blocks, index: 0, start: 0 }.place(0, place);
        assert_eq!(place(MAX_DISTANCE), Some(MAX_DISTANCE));
        assert_eq!(place(MAX_DISTANCE + 1), None);
    }
}
