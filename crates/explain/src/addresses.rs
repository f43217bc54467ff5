//! The addresses in programs: how many a delta predicts, by the way in which they are written.

use delta_format::{SourcePath, Work};
use program::{Kind, Outcome, Prepared};

use crate::Result;
use crate::old::Old;

/// The addresses of one form that the relocated ops of a delta predict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AddressGroup {
    /// The form, as `crates/program/RELOCATED.md` names it: `relative`, `absolute`, …
    pub form: &'static str,
    /// Addresses that lie along the old files.
    pub addresses: u64,
    /// Of those, addresses whose bytes are not those of the old file.
    pub changed: u64,
    /// Addresses that are not as predicted: the delta carries them, or the differences of their bytes.
    pub missed: u64,
}

/// The outcomes of the predictions of all relocated ops so far.
#[derive(Debug)]
pub(crate) struct Predictions<'o> {
    old: &'o Old<'o>,
    outcomes: Vec<(Kind, Outcome)>,
    /// Units of work that may still be done: as many as an applier grants for a layer.
    left: u64,
}

impl<'o> Predictions<'o> {
    pub(crate) fn new(old: &'o Old<'o>, layer_size: u64) -> Self {
        Self { old, outcomes: Vec::new(), left: Work::of_layer(layer_size).reading }
    }

    /// Makes the file of a payload once more, to see what is predicted. A source that the old layers lack, or a payload
    /// that does not fit it or takes too long, counts nothing: whether it can be applied is not asked here.
    ///
    /// # Errors
    /// If the old layer cannot be read.
    pub(crate) fn add(&mut self, payload: &[u8], source: &SourcePath) -> Result<()> {
        let Some(old) = self.old.content(source, program::MAX_SIZE as u64)? else { return Ok(()) };
        let Ok(prepared) = Prepared::new(payload, &old) else { return Ok(()) };
        let Some(left) = self.left.checked_sub(prepared.work()) else { return Ok(()) };
        self.left = left;
        let Ok(mut decoder) = prepared.start() else { return Ok(()) };
        loop {
            match decoder.next_piece() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return Ok(()),
            }
        }
        for (kind, outcome) in decoder.outcomes() {
            match self.outcomes.iter_mut().find(|(other, _)| *other == kind) {
                Some((_, sum)) => {
                    sum.fields += outcome.fields;
                    sum.changed += outcome.changed;
                    sum.missed += outcome.missed;
                }
                None => self.outcomes.push((kind, outcome)),
            }
        }
        Ok(())
    }

    /// The groups, that with the most misses first.
    pub(crate) fn groups(&self) -> Vec<AddressGroup> {
        let group = |&(kind, Outcome { fields, changed, missed }): &(Kind, Outcome)| AddressGroup {
            form: kind.name(),
            addresses: fields,
            changed,
            missed,
        };
        let mut groups: Vec<_> = self.outcomes.iter().map(group).collect();
        groups.sort_by_key(|group| std::cmp::Reverse((group.missed, group.addresses)));
        groups
    }
}
