//! Chooses which relocated ops a delta has, and if it is a tardf3.
//!
//! A payload that is smaller than steps alone may cost more than they do in a delta of many files: steps of
//! files that changed in the same way are the same bytes, which a compressor finds again. So whole deltas are
//! compared.

use delta_format::{Encoding, OpWriter, Version};

use super::segments::{self, Made};
use crate::counter::Counter;
use crate::edit::Edit;
use crate::meter::Meter;
use crate::{Result, Stats};

/// zstd level of the trials, or that of the delta if it is lower: quick, and it finds what repeats.
pub(super) const TRIAL_LEVEL: i32 = 9;
/// Percent of a delta that every client reads that a tardf3 must be below in the trial: the level of the
/// delta itself finds more repeats, and such a delta is worth something.
const MIN_GAIN: u64 = 97;
/// Bytes that each of many headers in a list saves at least: most save 10 to 20.
const SAVED_BY_HEADER: u64 = 6;
/// Headers that are many. With fewer a delta without a list is tried: the first headers save nothing.
const MANY_HEADERS: u64 = 256;

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
}

/// The form of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) relocations: Relocations,
    /// True if it has ops of tardf3: then its headers stand in lists.
    pub(super) is_tardf3: bool,
}

/// The form that was chosen, and the sizes of its trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) form: Form,
    /// `None` if there was nothing to try.
    pub(super) sizes: Option<Sizes>,
}

/// Sizes of a delta in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// The whole delta.
    pub(super) delta: u64,
    /// Its op stream.
    pub(super) stream: u64,
}

/// The way in which deltas are tried.
pub(super) struct Trials<'m, 'p> {
    pub(super) level: i32,
    pub(super) window_log: u32,
    /// The cost of a trial, and of all that comes after the trials, as the meter counts it.
    pub(super) cost: u64,
    pub(super) later: u64,
    pub(super) meter: &'m Meter<'p>,
    /// True if somebody asks for the sizes, also where there is one form alone.
    pub(super) are_sizes_used: bool,
}

impl Trials<'_, '_> {
    /// Returns the form in which the delta is smallest.
    ///
    /// # Errors
    /// If a layer cannot be read.
    pub(super) fn choose(&self, made: &Made<'_>) -> Result<Chosen> {
        let edits = || made.edits.iter().flatten();
        let has_views = edits().any(|edit| matches!(edit, Edit::Viewed(_)));
        let count = |relocations: Relocations| edits().filter(|edit| relocations.of(edit).is_some()).count();
        let (all, large) = (count(Relocations::All), count(Relocations::Large));
        let mut forms = vec![Relocations::None];
        forms.extend((all > 0).then_some(Relocations::All));
        forms.extend((0 < large && large < all).then_some(Relocations::Large));
        let headers = made.framing.len() as u64;
        let is_tardf3_alone = has_views && !self.are_sizes_used;
        if forms.len() == 1 && (is_tardf3_alone || headers == 0 && !has_views) {
            let form = Form { relocations: Relocations::None, is_tardf3: has_views };
            return Ok(Chosen { form, sizes: None });
        }
        let tries_plain = !has_views && headers < MANY_HEADERS;
        self.meter.start((forms.len() as u64 + u64::from(tries_plain)) * self.cost, self.later);
        let sizes_of = |relocations, is_tardf3| {
            let sizes = self.sizes(made, Form { relocations, is_tardf3 })?;
            self.meter.advance(self.cost);
            Ok::<_, crate::Error>(sizes)
        };
        let mut tried = Vec::new();
        for relocations in forms {
            tried.push((relocations, sizes_of(relocations, true)?));
        }
        let without_list = || tried.first().map_or(0, |(_, sizes)| sizes.delta + headers * SAVED_BY_HEADER);
        let plain = match tries_plain {
            true => sizes_of(Relocations::None, false)?.delta,
            false => without_list(),
        };
        let deltas: Vec<_> = tried.iter().map(|(relocations, sizes)| (*relocations, sizes.delta)).collect();
        let form = smallest(&deltas, (!has_views).then_some(plain));
        let sizes = tried.into_iter().find(|(relocations, _)| *relocations == form.relocations);
        Ok(Chosen { form, sizes: sizes.map(|(_, sizes)| sizes) })
    }

    /// Sizes of the delta in a trial.
    fn sizes(&self, made: &Made<'_>, form: Form) -> Result<Sizes> {
        let encoding = Encoding {
            level: self.level,
            skip_incompressible: true,
            window_log: Some(self.window_log),
            long_distance: true,
            ..Encoding::default()
        };
        let mut writer = OpWriter::new(Counter::default(), Version::V3, encoding)?;
        segments::write(&mut writer, made, form, &mut Stats::default(), |_, _| ())?;
        let (counter, stats) = writer.finish()?;
        Ok(Sizes { delta: counter.bytes(), stream: stats.stream_size })
    }
}

/// Returns the form of the smallest delta of some that were tried. `plain` is the size of the one that has no
/// op of tardf3; `None` if a delta is a tardf3 anyway, so that any gain counts.
fn smallest(sizes: &[(Relocations, u64)], plain: Option<u64>) -> Form {
    let best = sizes.iter().copied().min_by_key(|(_, size)| *size);
    match best.filter(|(_, size)| plain.is_none_or(|plain| size * 100 < plain * MIN_GAIN)) {
        Some((relocations, _)) => Form { relocations, is_tardf3: true },
        None => Form { relocations: Relocations::None, is_tardf3: plain.is_none() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_gain_counts_in_a_tardf3_and_three_percent_elsewhere() {
        let form = |relocations, is_tardf3| Form { relocations, is_tardf3 };
        let sizes = [(Relocations::None, 1000), (Relocations::All, 999), (Relocations::Large, 1001)];
        assert_eq!(smallest(&sizes, None), form(Relocations::All, true));
        assert_eq!(smallest(&sizes, Some(1020)), form(Relocations::None, false));
        let sizes = [(Relocations::None, 1000), (Relocations::All, 980), (Relocations::Large, 969)];
        assert_eq!(smallest(&sizes, Some(1000)), form(Relocations::Large, true));
        let sizes = [(Relocations::None, 1000), (Relocations::All, 1001)];
        assert_eq!(smallest(&sizes, None), form(Relocations::None, true));
        assert_eq!(smallest(&sizes, Some(1240)), form(Relocations::None, true), "headers alone are worth it");
    }
}
