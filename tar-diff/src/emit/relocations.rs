//! Chooses which relocated ops a delta has.
//!
//! A payload that is smaller than steps alone may cost more than they do in a delta of many files: steps of files that changed
//! in the same way are the same bytes, which a compressor finds again. So whole deltas are compared.

use delta_format::{Encoding, OpWriter, Version};

use super::segments::{self, Made};
use crate::counter::Counter;
use crate::edit::Edit;
use crate::{Result, Stats};

/// zstd level of the trial: quick, and it finds what repeats.
const TRIAL_LEVEL: i32 = 9;
/// Percent of the delta without relocated ops that the trial must be below: the level of the delta itself finds more
/// repeats, and a delta that every client reads is worth something.
const MIN_GAIN: u64 = 97;

/// The relocated ops that a delta has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relocations {
    /// All that are smaller than steps.
    All,
    /// Those that are smaller by far.
    Large,
    /// None.
    None,
}

impl Relocations {
    /// Returns the payload of an edit that is written as a relocated op.
    pub(super) fn of(self, edit: &Edit) -> Option<&[u8]> {
        let payload = match edit {
            Edit::Relocated(_, payload) => Some(payload),
            Edit::Viewed(viewed) => viewed.payload.as_ref(),
            Edit::Steps(_) | Edit::ZstdFrame(_) => None,
        };
        let is_taken = |saves_much| match self {
            Self::All => true,
            Self::Large => saves_much,
            Self::None => false,
        };
        payload.filter(|payload| is_taken(payload.saves_much)).map(|payload| payload.bytes.as_slice())
    }

    /// Returns true if only a tardf3 can hold the edit.
    pub(super) fn is_tardf3(self, edit: &Edit) -> bool {
        matches!(edit, Edit::Viewed(_)) || self.of(edit).is_some()
    }
}

/// Returns the relocated ops by which the delta is smallest. The trial takes the level of the delta, if that is quicker, and
/// its window.
///
/// # Errors
/// If a layer cannot be read.
pub(super) fn choose(made: &Made<'_>, level: i32, window_log: u32) -> Result<Relocations> {
    let count = |relocations: Relocations| {
        made.edits.iter().flatten().filter(|edit| relocations.of(edit).is_some()).count()
    };
    let (all, large) = (count(Relocations::All), count(Relocations::Large));
    if all == 0 {
        return Ok(Relocations::None);
    }
    let size = |relocations| trial_size(made, relocations, level.min(TRIAL_LEVEL), window_log);
    let (mut best, mut least) = (Relocations::None, size(Relocations::None)? * MIN_GAIN / 100);
    let some = (0 < large && large < all).then_some(Relocations::Large);
    for relocations in [Relocations::All].into_iter().chain(some) {
        let size = size(relocations)?;
        if size < least {
            (best, least) = (relocations, size);
        }
    }
    Ok(best)
}

/// Bytes of the delta in the trial.
fn trial_size(made: &Made<'_>, relocations: Relocations, level: i32, window_log: u32) -> Result<u64> {
    let encoding = Encoding {
        level,
        skip_incompressible: true,
        window_log: Some(window_log),
        long_distance: true,
        ..Encoding::default()
    };
    let mut writer = OpWriter::new(Counter::default(), Version::V3, encoding)?;
    segments::write(&mut writer, made, relocations, &mut Stats::default(), |_, _| ())?;
    Ok(writer.finish()?.0.bytes())
}
