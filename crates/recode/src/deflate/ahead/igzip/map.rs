//! Level 3: a map of the matches at all places of some bytes, which is made by vectors of places, and parsed then.
//!
//! A vector has 16 places with AVX-512 and 8 with AVX2. All places of a vector are looked up before any is entered.

use super::super::super::token::{MAX_MATCH, MIN_MATCH};
use super::calls::{Extent, LOOKAHEAD};
use super::{Group, Igzip, LONG_SIZE, MIN_SIZE, WINDOW_SIZE, common, entry, four};

/// Bytes that a map is made of. Those at the end of them are not in it.
const MAP_INPUT: usize = 4096;
const MAX_LANES: usize = 16;
const FEWER_LANES: usize = 8;

/// A match at a place. Its size is 0 if the place is a literal.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    size: u16,
    distance: u16,
}

impl Place {
    /// A match of at most 258 bytes over a distance of at most 32,768.
    fn new(size: usize, distance: usize) -> Self {
        let of = |number: usize| u16::try_from(number).unwrap_or(0);
        Self { size: of(size), distance: of(distance) }
    }

    fn size(self) -> usize {
        usize::from(self.size)
    }

    fn distance(self) -> usize {
        usize::from(self.distance)
    }
}

/// The matches at the places from one on.
pub(super) struct Map {
    lanes: usize,
    start: usize,
    places: Vec<Place>,
}

impl Map {
    pub(super) const fn new(lanes: usize) -> Self {
        Self { lanes, start: 0, places: Vec::new() }
    }

    /// Places have moved by so much.
    pub(super) const fn shift(&mut self, gone: usize) {
        self.start = self.start.saturating_sub(gone);
    }

    const fn end(&self) -> usize {
        self.start + self.places.len()
    }

    /// The size of the match at a place, 0 if there is none.
    fn at(&self, at: usize) -> Place {
        at.checked_sub(self.start).and_then(|index| self.places.get(index)).copied().unwrap_or_default()
    }
}

/// Hashes four bytes, as the vector instruction for products of 16 bits does twice.
pub(super) fn hash(value: u32) -> usize {
    let of = |value: u32| {
        let [a, b, c, d] = value.to_le_bytes();
        let low = i32::from(i16::from_le_bytes([a, b]));
        let high = i32::from(i16::from_le_bytes([c, d]));
        // 0xe84b and 0x97b1 as signed numbers.
        (low * -6069).wrapping_add(high * -26703).cast_unsigned()
    };
    of(of(value)) as usize % WINDOW_SIZE
}

impl Igzip {
    /// Makes maps and parses them, as far as the bytes of a call are known.
    pub(super) fn maps(&mut self, mut map: Map, call: Extent, groups: &mut Vec<Group>) -> Map {
        loop {
            self.parse(&map);
            let input = call.end.saturating_sub(self.at).min(MAP_INPUT);
            if self.entries >= self.max_entries {
                self.end_block(false, groups);
            } else if input <= LOOKAHEAD || (input < MAP_INPUT && call.stop.is_none()) {
                return map;
            } else {
                self.make(&mut map, input);
            }
        }
    }

    /// Takes tokens of a map up to its end or that of the block. Two literals are one entry, unless one stands last.
    fn parse(&mut self, map: &Map) {
        let (end, max) = (map.end(), self.max_entries);
        while self.at + 1 < end && self.entries + 1 < max {
            let place = map.at(self.at);
            if place.size > 0 {
                self.push(place.size(), place.distance());
            } else if map.at(self.at + 1).size > 0 {
                self.literals(1);
            } else {
                self.literals(2);
            }
        }
        while self.at < end && self.entries < max {
            let place = map.at(self.at);
            if place.size > 0 {
                self.push(place.size(), place.distance());
            } else {
                self.literals(1);
            }
        }
    }

    /// Makes the map of the next bytes, of which there are `input`.
    fn make(&mut self, map: &mut Map, input: usize) {
        let (start, lanes) = (self.at, map.lanes);
        map.start = start;
        let vectors = (input - LOOKAHEAD).saturating_sub(lanes + 1) / lanes;
        let vectors = if input - LOOKAHEAD < lanes + 1 { 1 } else { vectors + 2 };
        let mut found = Vec::with_capacity(vectors * lanes + 1);
        let of_first = self.map_hash(start);
        let mut first = Place::default();
        if self.has_history {
            let candidate = self.find(start, self.head[of_first]);
            first = if candidate.size() < MIN_MATCH { first } else { candidate };
        }
        self.has_history = true;
        found.push(first);
        self.head[of_first] = entry(start);
        for vector in 0..vectors {
            let at = start + 1 + vector * lanes;
            if lanes == MAX_LANES {
                self.vector::<MAX_LANES>(at, &mut found);
            } else {
                self.vector::<FEWER_LANES>(at, &mut found);
            }
        }
        // The last place is the first of the next map.
        let last = start + vectors * lanes;
        let of_last = found.last().map_or(0, |place| place.distance());
        let hash = self.map_hash(last);
        self.head[hash] = entry(last.wrapping_sub(of_last));
        // A match is left for a longer one at the next place.
        let taken = found.iter().zip(found.get(1..).unwrap_or_default()).map(|(place, next)| {
            // A branch would cost more: places are taken as they come.
            let is_taken = u16::from(place.size() >= MIN_SIZE) & u16::from(next.size <= place.size);
            Place { size: place.size * is_taken, distance: place.distance * is_taken }
        });
        map.places.clear();
        map.places.extend(taken);
        self.extend(map, start + input);
    }

    fn map_hash(&self, at: usize) -> usize {
        hash(four(&self.bytes, at)) & self.mask
    }

    /// The match that an entry gives for a place, of at most eight bytes.
    fn find(&self, at: usize, last: u16) -> Place {
        let distance = usize::from(entry(at).wrapping_sub(1).wrapping_sub(last)) % WINDOW_SIZE + 1;
        let size = at.checked_sub(distance).map_or(0, |source| common(&self.bytes, source, at, LONG_SIZE));
        Place::new(size, distance)
    }

    /// Looks up the places of a vector, then enters them. Entering one writes the entry behind it as it was.
    fn vector<const LANES: usize>(&mut self, at: usize, found: &mut Vec<Place>) {
        let hashes: [usize; LANES] = std::array::from_fn(|lane| self.map_hash(at + lane));
        let looked_up = hashes.map(|hash| (self.head[hash], self.head[hash + 1]));
        for (lane, (hash, (_, behind))) in hashes.into_iter().zip(looked_up).enumerate() {
            self.head[hash] = entry(at + lane);
            self.head[hash + 1] = behind;
        }
        let places: [Place; LANES] = std::array::from_fn(|lane| self.find(at + lane, looked_up[lane].0));
        found.extend_from_slice(&places);
    }

    /// Makes the matches of a map as long as they get, vector by vector; the first long one of a vector is followed to
    /// its end, and the places in it are passed. With AVX-512, all long ones are made longer by a string first.
    fn extend(&self, map: &mut Map, input_end: usize) {
        let (lanes, count) = (map.lanes, map.places.len());
        let limit = (map.end() + MAX_MATCH).min(input_end);
        let load = |places: &[Place], at: usize| -> [Place; MAX_LANES] {
            let behind = places.get(at..).unwrap_or_default();
            behind
                .first_chunk()
                .copied()
                .unwrap_or_else(|| std::array::from_fn(|lane| behind.get(lane).copied().unwrap_or_default()))
        };
        let mut end = (count + 1).saturating_sub(lanes);
        let (mut at, mut next) = (0, load(&map.places, 0));
        loop {
            if at >= end {
                end = count;
                if at >= end {
                    return;
                }
            }
            let (first, current) = (at, next);
            at += lanes;
            next = load(&map.places, at);
            let mut long_lanes = long_lanes(&current, lanes.min(count - first));
            let mut lanes_of_long = std::iter::from_fn(|| {
                let lane = (long_lanes != 0).then(|| long_lanes.trailing_zeros() as usize);
                long_lanes &= long_lanes.wrapping_sub(1);
                lane
            });
            let long = if lanes == MAX_LANES {
                self.lengthen(map, first, &current, lanes_of_long)
            } else {
                lanes_of_long.next().map(|lane| (first + lane, map.places[first + lane].distance()))
            };
            let Some((index, distance)) = long else { continue };
            let begin = map.start + index;
            let size = common(&self.bytes, begin - distance, begin, limit - begin);
            at = (index + size).min(end);
            next = load(&map.places, at);
            follow(&mut map.places[index..], size, distance, lanes);
        }
    }

    /// Makes long matches of a vector up to eight bytes longer; returns the first that may be still longer.
    fn lengthen(
        &self,
        map: &mut Map,
        first: usize,
        current: &[Place],
        lanes: impl Iterator<Item = usize>,
    ) -> Option<(usize, usize)> {
        let mut long = None;
        for lane in lanes {
            let (place, begin) = (current[lane], map.start + first + lane + LONG_SIZE);
            let more = common(&self.bytes, begin - place.distance(), begin, LONG_SIZE);
            map.places[first + lane] = Place::new(LONG_SIZE + more, place.distance());
            if more == LONG_SIZE && long.is_none() {
                long = Some((first + lane, place.distance()));
            }
        }
        long
    }
}

/// The lanes of a vector that have a long match, of the first `count`, as a bit each.
fn long_lanes(vector: &[Place; MAX_LANES], count: usize) -> u32 {
    let bit = |(lane, place): (u32, &Place)| u32::from(place.size() >= LONG_SIZE) << lane;
    (0..).zip(vector).map(bit).fold(0, |bits, bit| bits | bit) & ((1 << count) - 1)
}

/// Writes a match to the places that it covers and that have none as long, up to a vector of which one has; with AVX2,
/// of which all have.
fn follow(places: &mut [Place], size: usize, distance: usize, lanes: usize) {
    for (vector, places) in places.chunks_mut(lanes).enumerate() {
        let mut count = 0;
        for (lane, place) in places.iter_mut().enumerate() {
            let left = size.saturating_sub(vector * lanes + lane);
            if left >= MIN_MATCH && left > place.size() {
                *place = Place::new(left.min(MAX_MATCH), distance);
                count += 1;
            }
        }
        if count == 0 || (lanes == MAX_LANES && count < lanes) {
            return;
        }
    }
}
