//! The levels of the encoder, and the versions of the library that make different frames.

use crate::wire::Fields;
use crate::{Error, Result};

/// The forms of blocks: versions that choose the form of a block alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// 1.15.0 to 1.16.3.
    LargeMargin,
    /// 1.16.4 to 1.16.7.
    SmallMargin,
    /// 1.17.0 to 1.17.7.
    ShortLiterals,
    /// 1.17.8 and later.
    OneByte,
}

/// The searches for matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// One table.
    Single(Single),
    /// A table of long and one of short matches.
    Double,
    /// The same with two places for long matches.
    Better(Better),
    /// Two places for long and short matches, of which the cheapest match is taken.
    Best(Best),
    /// The same up to 1.16.3.
    EarlierBest(EarlierBest),
}

impl Search {
    /// Returns the fewest bytes of a block that is searched, and the bytes before its end where no match is looked for.
    pub(super) const fn edges(self) -> (usize, usize) {
        match self {
            Self::Single(_) => (10, 8),
            Self::Double | Self::Better(_) => (16, 10),
            Self::Best(_) | Self::EarlierBest(_) => (16, 12),
        }
    }
}

/// By how much the steps of the search of the fastest level grow with the bytes since the last match, as base-2
/// logarithms: in a frame of several blocks, and in one of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Single {
    pub(super) skip_log: u8,
    pub(super) skip_log_alone: u8,
}

/// Ways of the search of the best level up to 1.16.3 to compare matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EarlierBest {
    /// 1.13 to 1.15.12: literals between them count twice, and the last one of equal ones is taken.
    TwiceTheLiterals,
    /// 1.15.13 to 1.16.0: they count once, and the last one of equal ones is taken.
    LastOfEqual,
    /// 1.16.1 to 1.16.3: they count once, and the first one of equal ones is taken.
    FirstOfEqual,
}

impl EarlierBest {
    /// Bytes at the start of a match that may differ where another one is looked for by its end.
    pub(super) fn skipped(self) -> u8 {
        if self == Self::TwiceTheLiterals { 0 } else { 2 }
    }
}

/// Ways of the search of the better level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Better {
    /// Bytes at the start of a match that may differ where another one is looked for by its end.
    pub(super) skipped: u8,
    /// All places of a match are kept, also those before the one at which it begins.
    pub(super) remembers_all: bool,
}

/// The matches that begin as early as they can in the search of the best level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Best {
    /// 1.16.4 to 1.17.2: those at a distance of their own.
    DistancesAlone,
    /// 1.17.3 to 1.17.5: all.
    All,
    /// 1.17.6 and later: those that are compared with one at a distance of its own.
    BesideDistances,
}

/// The parameters of a level in some versions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// 1 to 4, by the constants of the library.
    pub(super) level: u8,
    /// The number of the versions in recipes, for each level from 0.
    pub(super) version: u8,
    pub(super) form: Form,
    /// Base-2 logarithm of the window.
    window_log: u8,
    pub(super) search: Search,
}

/// The level whose recipes do not name it.
pub(super) const DEFAULT_LEVEL: u8 = 2;
const FASTEST: u8 = 1;
const BETTER: u8 = 3;
const BEST: u8 = 4;

const fn row(level: u8, version: u8, form: Form, window_log: u8, search: Search) -> Settings {
    Settings { level, version, form, window_log, search }
}

const fn better(skipped: u8, remembers_all: bool) -> Search {
    Search::Better(Better { skipped, remembers_all })
}

const fn single(skip_log: u8, skip_log_alone: u8) -> Search {
    Search::Single(Single { skip_log, skip_log_alone })
}

impl Settings {
    /// All of them, those first that are likely. RECIPES.md has the versions of the library.
    pub(crate) const ALL: &[Self] = &[
        row(DEFAULT_LEVEL, 0, Form::OneByte, 23, Search::Double),
        row(DEFAULT_LEVEL, 1, Form::ShortLiterals, 23, Search::Double),
        row(DEFAULT_LEVEL, 2, Form::SmallMargin, 23, Search::Double),
        row(DEFAULT_LEVEL, 3, Form::LargeMargin, 23, Search::Double),
        row(BEST, 0, Form::OneByte, 23, Search::Best(Best::BesideDistances)),
        row(BEST, 1, Form::ShortLiterals, 23, Search::Best(Best::BesideDistances)),
        row(BEST, 2, Form::ShortLiterals, 23, Search::Best(Best::All)),
        row(BEST, 3, Form::ShortLiterals, 25, Search::Best(Best::All)),
        row(BEST, 4, Form::ShortLiterals, 25, Search::Best(Best::DistancesAlone)),
        row(BEST, 5, Form::SmallMargin, 25, Search::Best(Best::DistancesAlone)),
        row(BEST, 6, Form::LargeMargin, 25, Search::EarlierBest(EarlierBest::TwiceTheLiterals)),
        row(BEST, 7, Form::LargeMargin, 25, Search::EarlierBest(EarlierBest::LastOfEqual)),
        row(BEST, 8, Form::LargeMargin, 25, Search::EarlierBest(EarlierBest::FirstOfEqual)),
        row(BETTER, 0, Form::OneByte, 23, better(3, true)),
        row(BETTER, 1, Form::ShortLiterals, 23, better(3, true)),
        row(BETTER, 2, Form::ShortLiterals, 24, better(3, true)),
        row(BETTER, 3, Form::ShortLiterals, 24, better(3, false)),
        row(BETTER, 4, Form::SmallMargin, 24, better(3, false)),
        row(BETTER, 5, Form::LargeMargin, 24, better(3, false)),
        row(BETTER, 6, Form::LargeMargin, 24, better(0, false)),
        row(FASTEST, 0, Form::OneByte, 22, single(5, 5)),
        row(FASTEST, 1, Form::ShortLiterals, 22, single(5, 5)),
        row(FASTEST, 2, Form::SmallMargin, 22, single(5, 5)),
        row(FASTEST, 3, Form::LargeMargin, 22, single(5, 5)),
        row(FASTEST, 4, Form::LargeMargin, 22, single(6, 7)),
    ];

    /// Returns those of a recipe.
    pub(super) fn of(level: u8, version: u8) -> Option<&'static Self> {
        Self::ALL.iter().find(|settings| (settings.level, settings.version) == (level, version))
    }

    /// Reads a level and a version.
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Result<&'static Self> {
        let (level, version) = (fields.byte()?, fields.byte()?);
        Self::of(level, version)
            .ok_or(Error::BadRecipe { reason: "no such level or version of klauspost's zstd" })
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend([self.level, self.version]);
    }

    pub(super) const fn is_default(&self) -> bool {
        self.level == DEFAULT_LEVEL
    }

    /// Tells whether the search is that of other settings, whatever the window and the form of blocks.
    pub(crate) fn searches_as(&self, other: &Self) -> bool {
        self.search == other.search
    }

    /// Tells whether all but the window is that of other settings.
    pub(crate) fn is_but_for_window(&self, other: &Self) -> bool {
        self.level == other.level && self.form == other.form && self.search == other.search
    }

    pub(crate) const fn is_of_level_of(&self, other: &Self) -> bool {
        self.level == other.level
    }

    /// Plain bytes of a block.
    pub(crate) const fn block_size(&self) -> usize {
        if self.level == FASTEST { 64 << 10 } else { 128 << 10 }
    }

    /// Tells whether a frame of so many plain bytes is one block that is alone. `is_whole` is true if they come at once.
    pub(super) const fn is_alone(&self, is_whole: bool, plain_size: u64) -> bool {
        is_whole && plain_size <= self.block_size() as u64
    }

    /// Bytes that a match may go back.
    pub(super) const fn window(&self) -> u32 {
        1 << self.window_log
    }

    pub(crate) const fn window_log(&self) -> u8 {
        self.window_log
    }

    /// Most bytes that an encoder takes: the buffer, the tables, and the parts of a block.
    pub(crate) const fn memory(&self) -> u64 {
        self.memory_of_window(self.window_log)
    }

    /// Most bytes that an encoder takes with another window, which is told by its base-2 logarithm.
    pub(crate) const fn memory_of_window(&self, window_log: u8) -> u64 {
        let tables = match self.search {
            Search::Single(_) | Search::Double => 2 << 20,
            Search::Better(_) => 5 << 20,
            Search::Best(_) | Search::EarlierBest(_) => 35 << 20,
        };
        tables + (2 << window_log) + (6 << 20)
    }

    /// Returns the units of work that setting up takes, and that a byte takes.
    pub(crate) const fn work(&self) -> (u64, u64) {
        match self.search {
            Search::Single(_) | Search::Double => (256 << 10, 8),
            Search::Better(_) => (1 << 20, 16),
            Search::Best(_) | Search::EarlierBest(_) => (8 << 20, 64),
        }
    }

    /// Tells whether a block of one byte is seen before it is searched.
    pub(super) fn looks_for_one_byte(&self) -> bool {
        self.form == Form::OneByte && self.level > DEFAULT_LEVEL
    }

    /// Tells whether literals are coded where matches do not save enough.
    pub(super) fn codes_literals_alone(&self) -> bool {
        match self.level {
            FASTEST => false,
            DEFAULT_LEVEL => self.form == Form::LargeMargin,
            _ => true,
        }
    }
}

impl Best {
    /// Tells whether a match may begin earlier, that tells its distance in one way, and is compared with one
    /// that does so in another.
    pub(super) const fn extends(self, is_repeated: bool, is_best_repeated: bool) -> bool {
        match self {
            Self::DistancesAlone => !is_repeated,
            Self::All => true,
            Self::BesideDistances => !is_best_repeated,
        }
    }

    /// Tells whether the places of a match are kept that ends behind the last place that is searched.
    pub(super) fn remembers_ends(self) -> bool {
        self > Self::DistancesAlone
    }

    /// Tells whether repeated distances without literals cost what the others do.
    pub(super) fn masks_numbers(self) -> bool {
        self > Self::DistancesAlone
    }
}

impl Form {
    /// Tells whether a block of one match at distance 1 becomes one byte.
    pub(super) fn knows_one_byte(self) -> bool {
        self >= Self::OneByte
    }

    /// Most literals that are never coded.
    pub(super) fn most_plain_literals(self) -> usize {
        if self >= Self::ShortLiterals { 16 } else { 32 }
    }

    /// Most literals that are never coded in a block without matches.
    pub(super) fn most_plain_alone(self) -> usize {
        if self >= Self::ShortLiterals { 31 } else { 32 }
    }

    /// Tells whether coded literals without matches have to be smaller with their header than plain ones.
    pub(super) fn counts_headers(self) -> bool {
        self >= Self::ShortLiterals
    }

    /// The part of a block that matches have to save, as a base-2 logarithm.
    pub(super) fn margin_log(self) -> u32 {
        if self >= Self::SmallMargin { 6 } else { 5 }
    }
}
