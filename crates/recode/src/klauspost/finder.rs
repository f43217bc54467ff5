//! The search for matches: what the searches of all levels have in common, and the choice of one.
//!
//! Each keeps the places at which some bytes were last seen in tables, looks for the same bytes from there
//! on, and tries the distances that were used last.

mod best;
mod better;
mod cost;
mod double;
mod earlier_best;
mod repeats;
mod single;

use super::settings::{Search, Settings};

/// The least place from which all places are counted anew.
const MAX_PLACE: u32 = 3 << 30;
/// Fewest bytes of a match that the format knows.
const MIN_MATCH: usize = 3;
/// Matches of a block behind which the last distances are tried. So many fill all last distances with those
/// of this block, so that they lie in the window and need no check.
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

/// The last place at which some bytes were seen, and the one before. It is an array, since those of zeros
/// cost nothing before they are used.
type Pair = [u32; 2];

/// Takes a new last place.
const fn push(pair: &mut Pair, place: u32) {
    *pair = [place, pair[0]];
}

/// The plain bytes of the window.
struct Buffer {
    bytes: Vec<u8>,
    /// The place of the first byte. It begins so that no match goes back to the places of empty entries.
    base: u32,
    /// Bytes that a match may go back. The buffer has twice as many, and what is older is dropped when it is full.
    window: u32,
}

impl Buffer {
    fn new(window: u32, plain_size: u64) -> Self {
        let max = 2 * window as usize;
        // The buffer of frames of any size grows.
        let capacity = usize::try_from(plain_size)
            .ok()
            .filter(|size| *size < usize::MAX)
            .map_or(0, |size| size.min(max));
        Self { bytes: Vec::with_capacity(capacity), base: window, window }
    }

    /// Takes the next block. Returns where it begins, and by how much the places of the tables are to be
    /// lessened before it is searched; places that become none are out of reach.
    fn take(&mut self, block: &[u8]) -> (usize, u32) {
        let window = self.window as usize;
        if self.bytes.len() + block.len() > 2 * window {
            let dropped = self.bytes.len().saturating_sub(window);
            self.bytes.drain(..dropped);
            self.base += small(dropped);
        }
        let less = if self.base > MAX_PLACE { self.base - self.window } else { 0 };
        self.base -= less;
        let start = self.bytes.len();
        if self.bytes.capacity() < start + block.len() {
            // No more than twice the window, unless the block is larger than it.
            let capacity = (2 * self.bytes.capacity()).min(2 * window).max(start + block.len());
            self.bytes.reserve_exact(capacity - start);
        }
        self.bytes.extend_from_slice(block);
        (start, less)
    }
}

/// The four or eight bytes at a place; zeros behind the end.
fn four(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn eight(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The hashes of the first bytes of eight, of so many bits.
#[expect(clippy::cast_possible_truncation, reason = "a hash has at most 22 bits")]
const fn hash_of_eight(bytes: u64, log: u32) -> usize {
    (bytes.wrapping_mul(0xcf1b_bcdc_b7a5_6463) >> (64 - log)) as usize
}

#[expect(clippy::cast_possible_truncation, reason = "a hash has at most 22 bits")]
const fn hash_of_six(bytes: u64, log: u32) -> usize {
    ((bytes << 16).wrapping_mul(227_718_039_650_203) >> (64 - log)) as usize
}

#[expect(clippy::cast_possible_truncation, reason = "a hash has at most 22 bits")]
const fn hash_of_five(bytes: u64, log: u32) -> usize {
    ((bytes << 24).wrapping_mul(889_523_592_379) >> (64 - log)) as usize
}

const fn hash_of_four(bytes: u64, log: u32) -> usize {
    (low(bytes).wrapping_mul(2_654_435_761) >> (32 - log)) as usize
}

/// The first four bytes of eight.
#[expect(clippy::cast_possible_truncation, reason = "the rest is not wanted")]
const fn low(bytes: u64) -> u32 {
    bytes as u32
}

/// Numbers of bytes in the buffer, which has 64 MiB at most.
#[expect(clippy::cast_possible_truncation, reason = "the buffer has 64 MiB")]
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

/// A match that is being put together: where it begins, where its bytes were before, and where it ends.
#[derive(Debug, Clone, Copy)]
struct Match {
    at: usize,
    before: usize,
    end: usize,
}

/// One block that is searched, and what was found in it.
struct Block<'f> {
    bytes: &'f [u8],
    base: u32,
    window: u32,
    /// The place at which the search ends.
    limit: usize,
    /// The end of the last match: the literals from here on belong to no sequence yet.
    told: usize,
    found: &'f mut Found,
}

impl<'f> Block<'f> {
    /// The block that begins at `start`, of which the last `margin` bytes are not searched.
    fn new(buffer: &'f Buffer, start: usize, margin: usize, found: &'f mut Found) -> Self {
        let limit = buffer.bytes.len().saturating_sub(margin);
        let Buffer { bytes, base, window } = buffer;
        Self { bytes, base: *base, window: *window, limit, told: start, found }
    }

    fn may_repeat(&self) -> bool {
        self.found.sequences.len() >= MIN_SEQUENCES
    }

    fn eight(&self, at: usize) -> u64 {
        eight(self.bytes, at)
    }

    fn place(&self, at: usize) -> u32 {
        self.base + small(at)
    }

    fn entry(&self, at: usize, bytes: u64) -> Entry {
        Entry { place: self.place(at), bytes: low(bytes) }
    }

    /// Returns where a place is, if it is in the window of `at`.
    fn within(&self, place: u32, at: usize) -> Option<usize> {
        let distance = self.place(at).wrapping_sub(place);
        (distance < self.window).then(|| at - distance as usize)
    }

    /// Returns where the place is that is `more` bytes behind another one and `less` bytes before it, if the
    /// buffer has it.
    fn index(&self, place: u32, more: u8, less: usize) -> Option<usize> {
        let place = u64::from(place) + u64::from(more);
        usize::try_from(place.checked_sub(u64::from(self.base))?).ok()?.checked_sub(less)
    }

    /// Returns where a match is for `bytes`, which lie at `at`, if the entry has one.
    fn reached(&self, entry: Entry, at: usize, bytes: u64) -> Option<usize> {
        self.within(entry.place, at).filter(|_| entry.bytes == low(bytes))
    }

    /// Returns the end of a match of which `known` bytes are the same.
    fn end(&self, at: usize, before: usize, known: usize) -> usize {
        at + known + common(self.bytes, at + known, before + known)
    }

    /// Returns whether four bytes are the same at `at` and `distance` before.
    fn repeats(&self, at: usize, distance: usize) -> bool {
        four(self.bytes, at) == four(self.bytes, at - distance)
    }

    /// Lets a match begin earlier, down to `least`, where the bytes before it are the same. `of` is the place
    /// from which the window reaches back.
    fn extend(&self, found: Match, least: usize, of: usize) -> Match {
        let Match { mut at, mut before, end } = found;
        let first = of.saturating_sub(self.window as usize);
        while before > first && at > least && self.bytes[before - 1] == self.bytes[at - 1] {
            before -= 1;
            at -= 1;
        }
        Match { at, before, end }
    }

    /// Puts a match at the last distance, of which four bytes are known, with a literal before it at least.
    /// `of` is the place from which the window reaches back. Returns its end.
    fn put_repeated(&mut self, at: usize, distance: usize, of: usize) -> usize {
        let before = at - distance;
        let end = self.end(at, before, 4);
        let extended = self.extend(Match { at, before, end }, self.told + 1, of);
        self.put(extended.at, end, 1);
        end
    }

    /// Puts a match at a distance of its own.
    fn put_match(&mut self, found: Match) {
        let extended = self.extend(found, self.told, found.at);
        self.put(extended.at, found.end, small(extended.at - extended.before) + 3);
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

    /// Puts the literals behind the last match.
    fn finish(self) {
        self.found.literals.extend_from_slice(self.bytes.get(self.told..).unwrap_or(&[]));
    }
}

/// The tables of a search.
enum Tables {
    Single(single::Tables),
    Double(double::Tables),
    Better(better::Tables),
    Best(best::Tables),
}

/// The search through one frame, or through several that follow one another.
pub(super) struct Finder {
    settings: &'static Settings,
    buffer: Buffer,
    tables: Tables,
    /// The whole frame is one block, which is searched a little otherwise at the faster levels.
    is_alone: bool,
}

impl Finder {
    /// The search through a frame of so many plain bytes, in a window of so many. `is_whole` is true if the plain bytes
    /// come at once.
    pub(super) fn new(settings: &'static Settings, window: u32, is_whole: bool, plain_size: u64) -> Self {
        let tables = match settings.search {
            Search::Single(_) => Tables::Single(single::Tables::new()),
            Search::Double => Tables::Double(double::Tables::new()),
            Search::Better { .. } => Tables::Better(better::Tables::new()),
            Search::Best(_) | Search::EarlierBest(_) => Tables::Best(best::Tables::new()),
        };
        let is_alone = settings.is_alone(is_whole, plain_size);
        Self { settings, buffer: Buffer::new(window, plain_size), tables, is_alone }
    }

    /// Begins another frame, from which all places are out of reach. Returns the settings.
    pub(super) fn restart(&mut self, is_whole: bool, plain_size: u64) -> &'static Settings {
        self.buffer.base += small(self.buffer.bytes.len()) + self.buffer.window;
        self.buffer.bytes.clear();
        self.is_alone = self.settings.is_alone(is_whole, plain_size);
        self.settings
    }

    /// Finds the matches of the next block.
    pub(super) fn find(&mut self, block: &[u8], found: &mut Found) {
        found.literals.clear();
        found.sequences.clear();
        let (start, less) = self.buffer.take(block);
        if less > 0 {
            match &mut self.tables {
                Tables::Single(tables) => tables.lessen(less),
                Tables::Double(tables) => tables.lessen(less),
                Tables::Better(tables) => tables.lessen(less),
                Tables::Best(tables) => tables.lessen(less),
            }
        }
        let is_one_byte = || block.len() > MIN_MATCH && block.iter().all(|byte| *byte == block[0]);
        if self.settings.looks_for_one_byte() && is_one_byte() {
            found.literals.push(block[0]);
            found.sequences.push(Sequence {
                literals: 1,
                size: small(block.len() - 1 - MIN_MATCH),
                offset: 4,
            });
            return;
        }
        let (min_size, margin) = self.settings.search.edges();
        if block.len() < min_size {
            found.literals.extend_from_slice(block);
            return;
        }
        let mut block = Block::new(&self.buffer, start, margin, found);
        match (&mut self.tables, self.settings.search) {
            (Tables::Single(tables), Search::Single(steps)) => {
                let skip_log = if self.is_alone { steps.skip_log_alone } else { steps.skip_log };
                single::search(tables, &mut block, self.is_alone, skip_log);
            }
            (Tables::Double(tables), _) => double::search(tables, &mut block, self.is_alone),
            (Tables::Better(tables), Search::Better(manner)) => better::search(tables, &mut block, manner),
            (Tables::Best(tables), Search::Best(manner)) => best::search(tables, &mut block, manner),
            (Tables::Best(tables), Search::EarlierBest(manner)) => {
                earlier_best::search(tables, &mut block, manner);
            }
            (Tables::Single(_) | Tables::Better(_) | Tables::Best(_), _) => {}
        }
        block.finish();
    }
}

/// Lessens places, of which those that become none are out of reach.
fn lessen<'e>(places: impl Iterator<Item = &'e mut u32>, less: u32) {
    places.for_each(|place| *place = place.saturating_sub(less));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 GiB of plain bytes would be needed otherwise, and many with the windows that the levels have.
    #[test]
    fn places_that_are_counted_anew_change_nothing() {
        const WINDOW: u32 = 1 << 18;
        for settings in Settings::ALL {
            let mut random = fastrand::Rng::with_seed(8);
            let mut plain: Vec<u8> = Vec::new();
            while plain.len() < 4 * WINDOW as usize {
                plain.extend((0..random.usize(..2000)).map(|_| random.u8(..16)));
                let far = random.usize(..5 << 16).min(plain.len());
                let start = plain.len() - far;
                plain.extend_from_within(start..start + far.min(random.usize(..20_000)));
            }
            let mut finders = [WINDOW, MAX_PLACE - WINDOW].map(|base| {
                let buffer = Buffer { base, window: WINDOW, ..Buffer::new(WINDOW, 0) };
                Finder { buffer, ..Finder::new(settings, WINDOW, false, 0) }
            });
            let mut founds = [(); 2].map(|()| Found::default());
            let mut was_anew = false;
            for block in plain.chunks(settings.block_size()) {
                let before = finders[1].buffer.base;
                for (finder, found) in finders.iter_mut().zip(&mut founds) {
                    finder.find(block, found);
                }
                assert!(
                    founds[0].sequences == founds[1].sequences && founds[0].literals == founds[1].literals
                );
                was_anew |= finders[1].buffer.base < before;
            }
            assert!(was_anew, "{settings:?}");
        }
    }
}
