//! The places at which the same bytes were before, the last one first.

use super::history::History;

/// Base-2 logarithm of the number of hashes, and of the distances that are known.
const HASH_LOG: u32 = 16;
const DISTANCE_LOG: u32 = 21;
const MAX_DISTANCE: u32 = 1 << DISTANCE_LOG;
/// Bytes that are the same at all places of a chain.
const SAME: usize = 5;
/// Most places of a chain that are looked at.
pub(super) const MAX_LOOKED_AT: u32 = 64;

/// Units of work that a place takes which is looked at: it lies anywhere in memory.
const PLACE_WORK: u64 = 80;

/// Chains of places with equal hashes. They are made when they are asked for.
#[derive(Debug, Default)]
pub(super) struct Chains {
    /// The last place of each hash, and the place before each place. Places are counted by their low 32 bits.
    last: Vec<u32>,
    before: Vec<u32>,
    /// The place up to which all are in the chains.
    end: u64,
    /// Units of work that were not taken yet.
    work: u64,
}

impl Chains {
    /// Returns the number of the place that is a distance before another one, among those with the same bytes.
    pub(super) fn rank(&mut self, history: &History, place: u64, distance: u32) -> Option<u32> {
        self.find(history, place, |_, found| found == distance).map(|(rank, _)| rank)
    }

    /// Returns the distance of the place that has a number.
    pub(super) fn distance(&mut self, history: &History, place: u64, rank: u32) -> Option<u32> {
        self.find(history, place, |number, _| number == rank).map(|(_, distance)| distance)
    }

    /// Returns the work since the last call.
    pub(super) const fn take_work(&mut self) -> u64 {
        std::mem::replace(&mut self.work, 0)
    }

    fn find(
        &mut self,
        history: &History,
        place: u64,
        is_it: impl Fn(u32, u32) -> bool,
    ) -> Option<(u32, u32)> {
        self.fill(history, place);
        let here = history.known_bytes(place, place + SAME as u64);
        let mut next = *self.last.get(hash(here)?)?;
        let (mut rank, mut distance) = (0, 0);
        for _ in 0..MAX_LOOKED_AT {
            self.work += PLACE_WORK;
            let found = low(place).wrapping_sub(next);
            if found <= distance || found > MAX_DISTANCE || u64::from(found) > place {
                return None;
            }
            distance = found;
            let before = place - u64::from(distance);
            if history.is_kept(before) && history.bytes(before, before + SAME as u64) == here {
                if is_it(rank, distance) {
                    return Some((rank, distance));
                }
                rank += 1;
            }
            next = *self.before.get(index(before))?;
        }
        None
    }

    /// Puts all places before one into the chains.
    fn fill(&mut self, history: &History, to: u64) {
        if self.last.is_empty() {
            self.last = vec![0; 1 << HASH_LOG];
            self.before = vec![0; MAX_DISTANCE as usize];
        }
        let from = self.end.max(to.saturating_sub(MAX_DISTANCE.into()));
        self.end = from;
        let bytes = history.known_bytes(from, to + SAME as u64 - 1);
        // A place behind which too few bytes are known follows at a later call.
        for (place, bytes) in (from..to).zip(bytes.windows(SAME)) {
            let Some(last) = hash(bytes).and_then(|hash| self.last.get_mut(hash)) else { break };
            self.before[index(place)] = *last;
            *last = low(place);
            self.end = place + 1;
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
const fn low(place: u64) -> u32 {
    place as u32
}

const fn index(place: u64) -> usize {
    (low(place) & (MAX_DISTANCE - 1)) as usize
}

fn hash(bytes: &[u8]) -> Option<usize> {
    let [a, b, c, d, e] = *bytes.first_chunk::<SAME>()?;
    let word = u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]);
    usize::try_from((word << 24).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - HASH_LOG)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Plain;

    /// The same six bytes again and again, of which so many are read and the first ones known in any case.
    fn history(read: usize, known: u64) -> History {
        let bytes = b"abcdef".repeat(100);
        let mut reader = &bytes[..];
        let mut history = History::default();
        let mut plain = Plain::new(&mut reader, 600);
        assert_eq!(history.read(&mut plain, read).expect("they are there"), read);
        history.pass(0, known);
        history
    }

    #[test]
    fn bytes_that_are_read_ahead_do_not_matter() {
        for read in [64, 66, 600] {
            let mut chains = Chains::default();
            let history = history(read, 64);
            assert_eq!(chains.rank(&history, 59, 12), Some(1), "{read}");
            assert_eq!(chains.rank(&history, 61, 12), None, "{read}");
        }
    }

    #[test]
    fn places_that_were_asked_for_too_early_follow() {
        let mut chains = Chains::default();
        let mut history = history(600, 64);
        assert_eq!(chains.rank(&history, 63, 6), None);
        history.pass(0, 600);
        // The places 60 to 63 were not known then.
        for place in 66..70 {
            assert_eq!(chains.rank(&history, place, 6), Some(0), "{place}");
        }
    }

    #[test]
    fn each_place_that_is_looked_at_costs() {
        let (mut chains, history) = (Chains::default(), history(600, 600));
        assert_eq!(chains.distance(&history, 500, 59), Some(360));
        assert_eq!(chains.take_work(), 60 * PLACE_WORK);
        assert_eq!(chains.take_work(), 0);
    }
}
