//! The places at which the blocks of a file read the old one.
//!
//! ```text
//! old file   ..aaaaa..bbbb.....................xxxx......
//! blocks     a, x, b        b goes on near to the end of a, from which x led away
//! ```
//!
//! A block that goes on near to one of two ends is written as the distance from it: the end of the block before, and
//! the end that the last jump led away from. Any other is a jump. It is written as a position, since a distance
//! between two far places tells no more, and blocks that read the same have the same bytes then.

use crate::varint::{Reader, of_zigzag, put, zigzag};
use crate::{Error, Result};

/// The largest distance from an end that is no jump.
const MAX_DISTANCE: u64 = 1 << 13;
/// Bytes of a position.
const POSITION_SIZE: usize = 4;
/// The number that stands for a jump.
const JUMP: u64 = 0;

/// The two ends that a block may go on from.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    /// The end of the block before.
    last: u64,
    /// The end of the last block before one that did not go on from there.
    other: u64,
}

impl Ends {
    /// Goes on to the end of a block, which went on from the end of the one before or not.
    const fn advance(&mut self, end: u64, went_on: bool) {
        if !went_on {
            self.other = self.last;
        }
        self.last = end;
    }
}

/// The positions that are written.
#[derive(Debug, Default)]
pub(crate) struct Seeks {
    ends: Ends,
    distances: Vec<u8>,
    jumps: Vec<u8>,
}

impl Seeks {
    /// Adds a block.
    pub(crate) fn put(&mut self, source: u32, add: u32) {
        let position = u64::from(source);
        let is_near = |end: &u64| position.abs_diff(*end) <= MAX_DISTANCE;
        let ends = [self.ends.last, self.ends.other];
        let near = ends.iter().position(is_near);
        match near {
            Some(index) => {
                // A distance to a near end has few bits.
                put(&mut self.distances, 1 + (zigzag(position, ends[index]) << 1 | index as u64));
            }
            None => {
                put(&mut self.distances, JUMP);
                self.jumps.extend(source.to_be_bytes());
            }
        }
        self.ends.advance(position + u64::from(add), near == Some(0));
    }

    /// The distances, and the positions of jumps.
    pub(crate) fn into_parts(self) -> [Vec<u8>; 2] {
        [self.distances, self.jumps]
    }
}

/// The positions that are read.
#[derive(Debug)]
pub(crate) struct SeekReader<'p> {
    ends: Ends,
    distances: Reader<'p>,
    jumps: Reader<'p>,
}

impl<'p> SeekReader<'p> {
    pub(crate) const fn new([distances, jumps]: [&'p [u8]; 2]) -> Self {
        Self {
            ends: Ends { last: 0, other: 0 },
            distances: Reader::new(distances, "the seeks"),
            jumps: Reader::new(jumps, "the jumps of seeks"),
        }
    }

    /// Returns the position of the next block, which has `add` bytes along the old file of at most `max` bytes.
    pub(crate) fn next(&mut self, add: u64, max: u64) -> Result<u32> {
        let number = self.distances.next()?;
        let (position, went_on) = match number.checked_sub(1) {
            None => (
                self.jumps.take(POSITION_SIZE)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
                false,
            ),
            Some(number) => {
                let went_on = number & 1 == 0;
                let end = if went_on { self.ends.last } else { self.ends.other };
                (of_zigzag(number >> 1, end), went_on)
            }
        };
        let outside = || Error::Block("it reaches past the old file");
        let end = position.checked_add(add).filter(|end| *end <= max).ok_or_else(outside)?;
        self.ends.advance(end, went_on);
        u32::try_from(position).map_err(|_| outside())
    }

    /// Fails if something is left.
    pub(crate) fn end(&self) -> Result<()> {
        self.distances.end()?;
        self.jumps.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(blocks: &[(u32, u32)]) -> [Vec<u8>; 2] {
        let mut seeks = Seeks::default();
        blocks.iter().for_each(|(source, add)| seeks.put(*source, *add));
        seeks.into_parts()
    }

    #[test]
    fn a_block_goes_on_from_one_of_two_ends_or_jumps() {
        let blocks = [
            (0, 100),     // where the file starts
            (103, 20),    // 3 after the end
            (90_000, 10), // a jump
            (122, 50),    // 1 before the end that the jump led from
            (90_010, 5),  // the other end again
            (98_207, 1),  // 8192 after the end
            (106_401, 0), // 8193: a jump
            (98_208, 4),  // back to the other end
        ];
        let [distances, jumps] = written(&blocks);
        let far = [1 + (16_384 << 1)]
            .map(|number: u64| [number & 127 | 128, number >> 7 & 127 | 128, number >> 14]);
        let far = far.concat().into_iter().map(|byte| u8::try_from(byte).expect("7 bits and a mark"));
        let expected = [1, 1 + (6 << 1), 0, 1 + (1 << 1 | 1), 1 + 1].into_iter().chain(far).chain([0, 2]);
        assert_eq!(distances, expected.collect::<Vec<u8>>());
        assert_eq!(jumps, [90_000u32.to_be_bytes(), 106_401u32.to_be_bytes()].concat());
    }

    #[test]
    fn positions_come_out_the_same() {
        let mut random = fastrand::Rng::with_seed(8);
        for _ in 0..200 {
            let size = [300, 30_000, 1 << 28][random.usize(..3)];
            let block = |random: &mut fastrand::Rng| {
                let source = random.u32(..size);
                (source, random.u32(..=(size - source).min(5000)))
            };
            let blocks: Vec<(u32, u32)> = (0..random.usize(..60)).map(|_| block(&mut random)).collect();
            let [distances, jumps] = written(&blocks);
            let mut reader = SeekReader::new([&distances, &jumps]);
            for (source, add) in blocks {
                assert_eq!(reader.next(add.into(), size.into()), Ok(source));
            }
            assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn positions_outside_of_the_file_are_refused() {
        let next = |distances: &[u8], jumps: &[u8]| SeekReader::new([distances, jumps]).next(10, 100);
        let outside = Err(Error::Block("it reaches past the old file"));
        assert_eq!(next(&[0xe9, 2], &[]), Ok(90));
        assert_eq!(next(&[0xed, 2], &[]), outside, "after the file");
        assert_eq!(next(&[0xe9], &[]), Err(Error::Truncated("the seeks")));
        assert_eq!(next(&[1 + 4], &[]), Ok(1));
        assert_eq!(next(&[1 + 2], &[]), outside, "before the file");
        assert_eq!(next(&[0], &[0, 0, 0, 90]), Ok(90));
        assert_eq!(next(&[0], &[0, 0, 0, 91]), outside);
        assert_eq!(next(&[0], &[0xff; 4]), outside);
        assert_eq!(next(&[0], &[0; 3]), Err(Error::Truncated("the jumps of seeks")));
        assert_eq!(SeekReader::new([&[], &[0; 4]]).end(), Err(Error::Left("the jumps of seeks")));
    }
}
