//! The search for matches: two tables of the places at which some bytes were last seen, one of eight bytes and one of
//! five, and the two distances that were used last.

/// Bytes that a match may go back.
const WINDOW: u32 = 8 << 20;
/// Bytes of the buffer; what is older than the window is dropped when it is full.
const BUFFER_SIZE: usize = 2 * WINDOW as usize;
/// The place from which all places are counted anew.
const MAX_PLACE: u32 = 1 << 30;
/// Base-2 logarithms of the numbers of entries of the tables.
const LONG_LOG: u32 = 17;
const SHORT_LOG: u32 = 15;
/// Bytes before the end of a block where no match is looked for.
const MARGIN: usize = 10;
/// A block of fewer bytes has no matches.
const MIN_SIZE: usize = 16;
/// Fewest bytes of a match that the format knows.
const MIN_MATCH: usize = 3;
/// The search takes a step more for each so many bytes without a match, as a base-2 logarithm.
const SKIP_LOG: u32 = 7;
/// Matches of a block behind which the last distances are tried.
const MIN_SEQUENCES: usize = 3;

/// Literals and a match behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// Number of the literals.
    pub(super) literals: u32,
    /// Bytes of the match, less three.
    pub(super) size: u32,
    /// The distance and 3, or 1 for the distance that was used last (before it, if there are no literals).
    pub(super) offset: u32,
}

/// The parts of a block.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) literals: Vec<u8>,
    pub(super) sequences: Vec<Sequence>,
}

/// The place at which some bytes were seen, and the first four of them.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    place: u32,
    bytes: u32,
}

/// The tables, and the plain bytes of the window.
pub(super) struct Finder {
    long: Box<[Entry]>,
    short: Box<[Entry]>,
    buffer: Vec<u8>,
    /// The place of the first byte of the buffer. It begins so that no match goes back to the places of empty entries.
    base: u32,
    /// The whole frame is one block, which is searched a little otherwise.
    is_alone: bool,
}

/// The four or eight bytes at a place; zeros behind the end.
fn four(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn eight(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn long_hash(bytes: u64) -> usize {
    (bytes.wrapping_mul(0xcf1b_bcdc_b7a5_6463) >> (64 - LONG_LOG)) as usize
}

fn short_hash(bytes: u64) -> usize {
    ((bytes << 24).wrapping_mul(889_523_592_379) >> (64 - SHORT_LOG)) as usize
}

/// The first four bytes of eight.
#[expect(clippy::cast_possible_truncation, reason = "the rest is not wanted")]
const fn low(bytes: u64) -> u32 {
    bytes as u32
}

/// Numbers of bytes in the buffer, which has 16 MiB.
#[expect(clippy::cast_possible_truncation, reason = "the buffer has 16 MiB")]
const fn small(number: usize) -> u32 {
    number as u32
}

/// Returns how many bytes are the same from `at` and from `before` on.
fn common(bytes: &[u8], at: usize, before: usize) -> usize {
    let (Some(ahead), Some(behind)) = (bytes.get(at..), bytes.get(before..)) else { return 0 };
    let mut size = 0;
    for (a, b) in ahead.chunks_exact(8).zip(behind.chunks_exact(8)) {
        let differing = eight(a, 0) ^ eight(b, 0);
        if differing != 0 {
            return size + differing.trailing_zeros() as usize / 8;
        }
        size += 8;
    }
    size + ahead[size..].iter().zip(&behind[size..]).take_while(|(a, b)| a == b).count()
}

impl Finder {
    /// The search through a frame of so many plain bytes.
    pub(super) fn new(is_alone: bool, plain_size: u64) -> Self {
        let capacity = usize::try_from(plain_size).unwrap_or(BUFFER_SIZE).min(BUFFER_SIZE);
        Self {
            long: vec![Entry::default(); 1 << LONG_LOG].into_boxed_slice(),
            short: vec![Entry::default(); 1 << SHORT_LOG].into_boxed_slice(),
            buffer: Vec::with_capacity(capacity),
            base: WINDOW,
            is_alone,
        }
    }

    /// Takes the next block into the buffer. Returns where it begins.
    fn take(&mut self, block: &[u8]) -> usize {
        if self.buffer.len() + block.len() > BUFFER_SIZE {
            let dropped = self.buffer.len().saturating_sub(WINDOW as usize);
            self.buffer.drain(..dropped);
            self.base += small(dropped);
        }
        if self.base > MAX_PLACE {
            let less = self.base - WINDOW;
            for entry in self.long.iter_mut().chain(&mut self.short) {
                entry.place = entry.place.saturating_sub(less);
            }
            self.base = WINDOW;
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(block);
        start
    }

    /// Finds the matches of the next block, of at most 128 KiB.
    pub(super) fn find(&mut self, block: &[u8], found: &mut Found) {
        found.literals.clear();
        found.sequences.clear();
        let start = self.take(block);
        if block.len() < MIN_SIZE {
            found.literals.extend_from_slice(block);
            return;
        }
        let mut search = Search {
            long: (&mut *self.long).try_into().expect("it was made with as many entries"),
            short: (&mut *self.short).try_into().expect("it was made with as many entries"),
            bytes: &self.buffer,
            base: self.base,
            limit: self.buffer.len() - MARGIN,
            told: start,
            distances: [0; 2],
            found,
        };
        search.run(start, self.is_alone);
        let told = search.told;
        found.literals.extend_from_slice(self.buffer.get(told..).unwrap_or(&[]));
    }
}

/// The search through one block.
struct Search<'f> {
    long: &'f mut [Entry; 1 << LONG_LOG],
    short: &'f mut [Entry; 1 << SHORT_LOG],
    bytes: &'f [u8],
    base: u32,
    /// The place at which the search ends.
    limit: usize,
    /// The end of the last match: the literals from here on belong to no sequence yet.
    told: usize,
    /// The distances of the last matches. A match at a distance of this block lies in the window, so that they do not need
    /// to be checked.
    distances: [usize; 2],
    found: &'f mut Found,
}

impl Search<'_> {
    fn run(&mut self, start: usize, is_alone: bool) {
        let mut at = start;
        loop {
            let may_repeat = self.found.sequences.len() >= MIN_SEQUENCES;
            let Some((place, before)) = self.next(&mut at, may_repeat) else { return };
            let size = self.put_match(place, before);
            at = self.told;
            if at >= self.limit {
                return;
            }
            let last = self.remember(at - size, at);
            let may_repeat = if is_alone { self.found.sequences.len() >= MIN_SEQUENCES } else { may_repeat };
            if may_repeat {
                at = self.repeat_older(at, is_alone.then_some(last));
                if at >= self.limit {
                    return;
                }
            }
        }
    }

    fn entry(&self, at: usize, bytes: u64) -> Entry {
        Entry { place: self.base + small(at), bytes: low(bytes) }
    }

    /// Returns where a match is for `bytes`, which lie at `at`, if the entry has one.
    fn reached(&self, entry: Entry, at: usize, bytes: u64) -> Option<usize> {
        let distance = (self.base + small(at)).wrapping_sub(entry.place);
        (distance < WINDOW && entry.bytes == low(bytes)).then(|| at - distance as usize)
    }

    /// Looks for the next match from `at` on. Returns where it is, and where the bytes were before.
    fn next(&mut self, at: &mut usize, may_repeat: bool) -> Option<(usize, usize)> {
        let mut bytes = eight(self.bytes, *at);
        loop {
            let (long_hash_here, short_hash_here) = (long_hash(bytes), short_hash(bytes));
            let entry = self.entry(*at, bytes);
            let of_long = std::mem::replace(&mut self.long[long_hash_here], entry);
            let of_short = std::mem::replace(&mut self.short[short_hash_here], entry);
            // The last distance is tried from the next byte on.
            let repeated = *at + 1 - self.distances[0];
            if may_repeat && four(self.bytes, repeated) == low(bytes >> 8) {
                *at = self.repeat_last(*at + 1, repeated);
                if *at >= self.limit {
                    return None;
                }
                bytes = eight(self.bytes, *at);
                continue;
            }
            if let Some(before) = self.reached(of_long, *at, bytes) {
                return Some((*at, before));
            }
            if let Some(before) = self.reached(of_short, *at, bytes) {
                // Eight bytes may be the same from the next byte on.
                let bytes = eight(self.bytes, *at + 1);
                let entry = self.entry(*at + 1, bytes);
                let of_long = std::mem::replace(&mut self.long[long_hash(bytes)], entry);
                let next = self.reached(of_long, *at + 1, bytes).map(|before| (*at + 1, before));
                return next.or(Some((*at, before)));
            }
            *at += 1 + ((*at - self.told) >> SKIP_LOG);
            if *at >= self.limit {
                return None;
            }
            bytes = eight(self.bytes, *at);
        }
    }

    /// Puts a match at the last distance, of which four bytes are known, with a literal before it at least. Returns its
    /// end.
    fn repeat_last(&mut self, mut at: usize, mut before: usize) -> usize {
        let end = at + 4 + common(self.bytes, at + 4, before + 4);
        let first = (at - 1).saturating_sub(WINDOW as usize);
        while before > first && at > self.told + 1 && self.bytes[before - 1] == self.bytes[at - 1] {
            before -= 1;
            at -= 1;
        }
        self.put(at, end, 1);
        end
    }

    /// Puts a match of which four bytes are known. Returns its size.
    fn put_match(&mut self, mut at: usize, mut before: usize) -> usize {
        self.distances = [at - before, self.distances[0]];
        let end = at + 4 + common(self.bytes, at + 4, before + 4);
        let first = at.saturating_sub(WINDOW as usize);
        while before > first && at > self.told && self.bytes[before - 1] == self.bytes[at - 1] {
            before -= 1;
            at -= 1;
        }
        self.put(at, end, small(at - before) + 3);
        end - at
    }

    fn put(&mut self, at: usize, end: usize, offset: u32) {
        self.found.literals.extend_from_slice(&self.bytes[self.told..at]);
        self.found.sequences.push(Sequence {
            literals: small(at - self.told),
            size: small(end - at - MIN_MATCH),
            offset,
        });
        self.told = end;
    }

    /// Keeps two places of a match in the tables: near its start, and near its end. Returns the bytes of the last one.
    fn remember(&mut self, start: usize, end: usize) -> u64 {
        let mut last = 0;
        for at in [start + 1, end - 2] {
            let bytes = eight(self.bytes, at);
            self.long[long_hash(bytes)] = self.entry(at, bytes);
            last = bytes >> 8;
        }
        // The short table is another one, so that the order of both does not matter.
        for at in [start + 1, end - 2] {
            let bytes = eight(self.bytes, at) >> 8;
            self.short[short_hash(bytes)] = self.entry(at + 1, bytes);
        }
        last
    }

    /// Puts matches at the distance before the last for as long as there are some. Returns where the last one ends.
    ///
    /// In a block that is alone each is kept in the short table by the bytes behind `last`.
    fn repeat_older(&mut self, mut at: usize, last: Option<u64>) -> usize {
        loop {
            let bytes = eight(self.bytes, at);
            let before = at - self.distances[1];
            if four(self.bytes, before) != low(bytes) {
                return at;
            }
            let entry = self.entry(at, bytes);
            self.long[long_hash(bytes)] = entry;
            self.short[short_hash(last.map_or(bytes, |last| last >> 8))] = entry;
            let end = at + 4 + common(self.bytes, at + 4, before + 4);
            self.put(at, end, 1);
            self.distances.swap(0, 1);
            at = end;
            if at >= self.limit {
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 GiB of plain bytes would be needed otherwise.
    #[test]
    fn places_that_are_counted_anew_change_nothing() {
        let mut random = fastrand::Rng::with_seed(8);
        let mut plain: Vec<u8> = Vec::new();
        while plain.len() < 26 << 20 {
            plain.extend((0..random.usize(..2000)).map(|_| random.u8(..16)));
            let far = random.usize(..9 << 20).min(plain.len());
            let start = plain.len() - far;
            plain.extend_from_within(start..start + far.min(random.usize(..20_000)));
        }
        let mut finders = [WINDOW, MAX_PLACE - WINDOW].map(|base| Finder { base, ..Finder::new(false, 0) });
        let mut founds = [(); 2].map(|()| Found::default());
        let mut was_anew = false;
        for block in plain.chunks(128 << 10) {
            let before = finders[1].base;
            for (finder, found) in finders.iter_mut().zip(&mut founds) {
                finder.find(block, found);
            }
            assert!(founds[0].sequences == founds[1].sequences && founds[0].literals == founds[1].literals);
            was_anew |= finders[1].base < before;
        }
        assert!(was_anew);
    }
}
