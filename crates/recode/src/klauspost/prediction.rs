//! The parts of the encoder by which frames of its other versions are predicted: the matches of a block, and the code and
//! the tables that it chooses for literals and sequences.

use super::block::{Choice, choose, own_log};
use super::finder::{Finder, Found};
use super::literals;
use super::settings::Settings;
use crate::zstd_blocks::frequencies::{byte_counts, frequencies};
use crate::zstd_blocks::fse::{Frequencies, Table};
use crate::zstd_blocks::headers::{LiteralsHeader, OWN_CODE};
use crate::zstd_blocks::huffman::Code;
use crate::zstd_blocks::sequences::{Kind, Sequence, Source};

/// Fewest bytes of a match, by which its size is less in the sequences of the search.
const MIN_MATCH: u32 = 3;
/// Base-2 logarithm of the largest window, of which the buffer of the search has two.
pub(crate) const MAX_WINDOW_LOG: u8 = 25;

/// The search for matches, block by block.
pub(crate) struct Matches {
    finder: Finder,
    found: Found,
}

impl Matches {
    /// The search with the settings in another window. `is_whole` is true if the plain bytes come at once.
    pub(crate) fn new(settings: &'static Settings, window_log: u8, is_whole: bool, plain_size: u64) -> Self {
        let window = 1 << window_log.min(MAX_WINDOW_LOG);
        Self { finder: Finder::new(settings, window, is_whole, plain_size), found: Found::default() }
    }

    /// Finds the sequences of the next block.
    pub(crate) fn find(&mut self, block: &[u8]) -> impl Iterator<Item = Sequence> {
        self.finder.find(block, &mut self.found);
        self.found.sequences.iter().map(|found| Sequence {
            literals: found.literals,
            size: found.size + MIN_MATCH,
            offset: found.offset,
        })
    }
}

/// Returns the low four bits of the header of these literals, and the description of a code of their own, also where
/// another form is chosen. `before` is the code of the blocks before.
pub(crate) fn literals(settings: &Settings, literals: &[u8], before: Option<&Code>) -> (u8, Option<Vec<u8>>) {
    let mut written = Vec::new();
    let _ = literals::Coder::behind(settings.form, before).write(literals, &mut written);
    let header = LiteralsHeader::read(&written);
    let form = header.map_or(0, LiteralsHeader::own_form);
    if let Some(header) = header.filter(|header| header.kind() == OWN_CODE) {
        let description = written.get(header.size..).and_then(|streams| {
            let (_, size) = Code::read(streams)?;
            Some(streams[..size].to_vec())
        });
        return (form, description);
    }
    let counts = byte_counts(literals);
    let symbols = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    let several = counts.iter().filter(|count| **count > 0).nth(1);
    let own = several.and_then(|_| super::code::code(&counts[..symbols])?.description());
    (form, own)
}

/// Returns the table for `count` sequences whose codes of one kind have these counts, and the frequencies of a table of
/// its own, also where another one is chosen. `before` is the table of the blocks before.
pub(crate) fn table(
    kind: Kind,
    counts: &[u32; 64],
    count: usize,
    before: Option<&Table>,
) -> Option<(Source, Option<Frequencies>)> {
    let last = counts.iter().rposition(|count| *count > 0)?;
    let used = &counts[..=last];
    let own = || frequencies(used, own_log(used, count));
    Some(match choose(counts, count, &Table::new(&kind.fixed()), before)? {
        Choice::One(symbol, _) => (Source::One(symbol), None),
        Choice::Own(frequencies, _) => (Source::Own(frequencies.clone()), Some(frequencies)),
        Choice::Fixed => (Source::Fixed, own()),
        Choice::Before => (Source::Before, own()),
    })
}
