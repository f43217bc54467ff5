//! The bytes along the old file that are not as predicted, and their differences.
//!
//! ```text
//! run  = byte      bits 0-5: bytes that are as predicted, at most 63; bits 6-7: those after them that are not, less 1
//! rest = uvarint   if bits 0-5 are 63, how many more there are; then the same if bits 6-7 are 3
//! ```
//!
//! Half of the runs are of less than 16 bytes with one that differs. With both numbers in one byte, and what is long
//! apart, a compressor needs a tenth less for them than for two numbers.

use crate::varint::{Reader, put};
use crate::{Error, Result};

/// The most equal bytes, and the most others, that the byte of a run says.
const MAX_EQUAL: u64 = 63;
const MAX_OTHERS: u64 = 4;
/// The bits of the equal bytes.
const EQUAL_BITS: u32 = 6;

/// The runs and differences that are written.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: Vec<u8>,
    rests: Vec<u8>,
    differences: Vec<u8>,
    equal: u64,
    others: u64,
}

impl Runs {
    /// Adds the next bytes along the old file.
    pub(crate) fn along(&mut self, predicted: &[u8], bytes: &[u8]) {
        let mut start = 0;
        while start < bytes.len() {
            let (rest, expected) = (&bytes[start..], &predicted[start..]);
            let equal = rest.iter().zip(expected).take_while(|(byte, expected)| byte == expected).count();
            if equal > 0 {
                self.end_run();
                self.equal += equal as u64;
            }
            let (rest, expected) = (&rest[equal..], &expected[equal..]);
            let other = rest.iter().zip(expected).take_while(|(byte, expected)| byte != expected).count();
            let pairs = rest.iter().zip(expected).take(other);
            self.differences.extend(pairs.map(|(byte, expected)| byte.wrapping_sub(*expected)));
            self.others += other as u64;
            start += equal + other;
        }
    }

    /// Writes the run, if it has bytes that differ.
    #[expect(clippy::cast_possible_truncation, reason = "both numbers have few bits")]
    fn end_run(&mut self) {
        if self.others == 0 {
            return;
        }
        let (equal, others) = (self.equal.min(MAX_EQUAL), self.others.min(MAX_OTHERS));
        self.runs.push((equal | (others - 1) << EQUAL_BITS) as u8);
        if equal == MAX_EQUAL {
            put(&mut self.rests, self.equal - equal);
        }
        if others == MAX_OTHERS {
            put(&mut self.rests, self.others - others);
        }
        (self.equal, self.others) = (0, 0);
    }

    /// Bytes that differ.
    pub(crate) fn differing(&self) -> usize {
        self.differences.len()
    }

    /// The runs, the rests, and the differences.
    pub(crate) fn into_parts(mut self) -> [Vec<u8>; 3] {
        self.end_run();
        [self.runs, self.rests, self.differences]
    }
}

/// Reads runs and differences.
#[derive(Debug)]
pub(crate) struct Differences<'p> {
    runs: &'p [u8],
    rests: Reader<'p>,
    bytes: &'p [u8],
    equal: u64,
    others: u64,
}

impl<'p> Differences<'p> {
    pub(crate) const fn new([runs, rests]: [&'p [u8]; 2], bytes: &'p [u8]) -> Self {
        Self { runs, rests: Reader::new(rests, "the rests of runs"), bytes, equal: 0, others: 0 }
    }

    /// Fills `out` with the next differences.
    pub(crate) fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        let mut start = 0;
        let fits = |count: u64, room: usize| usize::try_from(count).map_or(room, |count| count.min(room));
        while start < out.len() {
            let room = out.len() - start;
            if self.equal > 0 {
                let size = fits(self.equal, room);
                out[start..start + size].fill(0);
                self.equal -= size as u64;
                start += size;
            } else if self.others > 0 {
                let size = fits(self.others, room);
                let (bytes, rest) =
                    self.bytes.split_at_checked(size).ok_or(Error::Truncated("the differences"))?;
                out[start..start + size].copy_from_slice(bytes);
                self.bytes = rest;
                self.others -= size as u64;
                start += size;
            } else if let Some((run, rest)) = self.runs.split_first() {
                self.runs = rest;
                (self.equal, self.others) = self.read(u64::from(*run))?;
            } else {
                // What follows the last run is as predicted.
                self.equal = u64::MAX;
            }
        }
        Ok(())
    }

    /// The bytes of a run. Each has one that differs, so that it takes as long as it has bytes.
    fn read(&mut self, run: u64) -> Result<(u64, u64)> {
        let mut with_rest = |count: u64, max: u64| {
            let rest = if count == max { self.rests.next()? } else { 0 };
            Ok(count.saturating_add(rest))
        };
        let equal = with_rest(run & MAX_EQUAL, MAX_EQUAL)?;
        Ok((equal, with_rest((run >> EQUAL_BITS) + 1, MAX_OTHERS)?))
    }

    /// Fails if something is left.
    pub(crate) const fn end(&self) -> Result<()> {
        if !self.bytes.is_empty() || self.others > 0 {
            Err(Error::Left("the last run"))
        } else if !self.runs.is_empty() {
            Err(Error::Left("the runs"))
        } else {
            self.rests.end()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_are_a_byte_and_long_ones_have_a_rest() {
        let runs = [(0, 1), (1, 3), (62, 4), (63, 1), (64, 5), (700, 700), (2, 2)];
        let mut written = Runs::default();
        let mut differences = Vec::new();
        for (equal, others) in runs {
            differences.extend([vec![0; equal], vec![7; others]].concat());
        }
        differences.extend([0; 90]);
        // In pieces, across which runs go on.
        for piece in differences.chunks(50) {
            written.along(&vec![1; piece.len()], &piece.iter().map(|byte| byte + 1).collect::<Vec<_>>());
        }
        let [runs, rests, bytes] = written.into_parts();
        assert_eq!(runs, [0, 1 | 2 << 6, 62 | 3 << 6, 63, 63 | 3 << 6, 63 | 3 << 6, 2 | 1 << 6]);
        assert_eq!(rests, [0, 0, 1, 1, 0xfd, 4, 0xb8, 5]);
        let mut read = Differences::new([&runs, &rests], &bytes);
        let mut found = vec![9; differences.len()];
        found.chunks_mut(33).for_each(|piece| read.fill(piece).expect("all parts are whole"));
        assert_eq!((found, read.end()), (differences, Ok(())));
        let fails = |runs: &[u8], rests: &[u8], bytes: &[u8]| {
            let mut read = Differences::new([runs, rests], bytes);
            read.fill(&mut [0; 4]).and_then(|()| read.end()).err()
        };
        assert_eq!(fails(&[1], &[], &[5]), None);
        assert_eq!(fails(&[63], &[], &[5]), Some(Error::Truncated("the rests of runs")));
        assert_eq!(fails(&[1], &[0], &[5]), Some(Error::Left("the rests of runs")));
        assert_eq!(fails(&[1, 9], &[], &[5]), Some(Error::Left("the last run")));
        assert_eq!(fails(&[1, 1, 1], &[], &[5, 5]), Some(Error::Left("the runs")));
        assert_eq!(fails(&[1], &[], &[]), Some(Error::Truncated("the differences")));
    }
}
