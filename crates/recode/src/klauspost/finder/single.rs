//! The search of the fastest level: one table of the places at which six bytes were last seen, and the two
//! distances that were used last.

use super::{Block, Entry, Match, hash_of_six, lessen};

/// Base-2 logarithm of the number of entries.
const LOG: u32 = 15;
/// The least step.
const STEP: usize = 2;

pub(super) struct Tables {
    six: Box<[Entry]>,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self { six: vec![Entry::default(); 1 << LOG].into_boxed_slice() }
    }

    pub(super) fn lessen(&mut self, less: u32) {
        lessen(self.six.iter_mut().map(|entry| &mut entry.place), less);
    }
}

/// Searches one block. In a frame of one block the last distances are tried as soon as there are enough matches, and
/// otherwise from the next match on that is found in the table. `skip_log` is the base-2 logarithm of the bytes since the
/// last match by which a step grows by one.
pub(super) fn search(tables: &mut Tables, block: &mut Block<'_>, is_alone: bool, skip_log: u8) {
    let table: &mut [Entry; 1 << LOG] =
        (&mut *tables.six).try_into().expect("it was made with as many entries");
    let mut distances = [0; 2];
    let mut at = block.told;
    loop {
        let may_repeat = block.may_repeat();
        let (place, before) = loop {
            let bytes = block.eight(at);
            let next = bytes >> 8;
            let hashes = [hash_of_six(bytes, LOG), hash_of_six(next, LOG)];
            let [here, behind] = hashes.map(|hash| table[hash]);
            table[hashes[0]] = block.entry(at, bytes);
            table[hashes[1]] = block.entry(at + 1, next);
            // The last distance is tried two bytes ahead.
            if may_repeat && block.repeats(at + 2, distances[0]) {
                at = block.put_repeated(at + 2, distances[0], at);
                if at >= block.limit {
                    return;
                }
                continue;
            }
            if let Some(before) = block.reached(here, at, bytes) {
                break (at, before);
            }
            if let Some(before) = block.reached(behind, at + 1, next) {
                break (at + 1, before);
            }
            at += STEP + ((at - block.told) >> skip_log);
            if at >= block.limit {
                return;
            }
        };
        distances = [place - before, distances[0]];
        let end = block.end(place, before, 4);
        block.put_match(Match { at: place, before, end });
        at = end;
        if at >= block.limit {
            return;
        }
        if (may_repeat || is_alone && block.may_repeat()) && block.repeats(at, distances[1]) {
            let bytes = block.eight(at);
            table[hash_of_six(bytes, LOG)] = block.entry(at, bytes);
            let end = block.end(at, at - distances[1], 4);
            block.put(at, end, 1);
            distances.swap(0, 1);
            at = end;
            if at >= block.limit {
                return;
            }
        }
    }
}
