//! The search for the encoder of a zstd frame.

use super::Search;
use crate::recipe::Encoder;
use crate::zstd_corrections::Nearest;
use crate::{EncodingWork, Refused, klauspost, zstd_corrections, zstd_frame};

/// The slow level of libzstd that is used most.
const USUAL_SLOW_LEVEL: u8 = 19;
/// The part of a frame that few corrections take, so that no slow encoder is tried.
const FEW_SHARE: u64 = 50;

/// An encoder of klauspost/compress that makes a frame, and how many bytes of it are carried.
type Near = Option<(Encoder, u64)>;

/// Returns the one of which fewer bytes are carried.
fn nearer(near: Near, other: Near) -> Near {
    near.into_iter().chain(other).min_by_key(|(_, carried)| *carried)
}

/// Tells whether an encoder of libzstd is tried behind the corrections, unless these say that it comes nearest.
const fn is_late(plan: zstd_frame::Plan) -> bool {
    plan.is_slow() && plan.level() != USUAL_SLOW_LEVEL
}

impl Search<'_> {
    /// `start` is the first bytes of the frame. The encoder of klauspost/compress is tried first at its default level,
    /// since it is fast and usual, and then at the level that makes the first block, if one does. Where it comes near,
    /// but not near enough, libzstd may make the frame without anything that is carried, or it may at another level.
    pub(super) fn zstd(&mut self, start: &[u8]) -> Result<Encoder, Refused> {
        let few = klauspost::FEW_CARRIED + self.source.encoded_size() / 1024;
        let is_few = |near: &Near| near.as_ref().is_some_and(|(_, carried)| *carried <= few);
        let mut near = self.klauspost(klauspost::Levels::Default);
        let is_other = !is_few(&near) && klauspost::makes_start(self.source, self.budget);
        if is_other {
            near = nearer(near, self.klauspost(klauspost::Levels::Others));
        }
        if let Some((encoder, _)) = near.as_ref().filter(|_| is_few(&near)) {
            return Ok(encoder.clone());
        }
        // Corrections take as much as what is tried in vain before them.
        let reserve = self.budget.work() / 2;
        let mut best = 0;
        if let Some(encoder) = self.libzstd(start, reserve, &mut best, |plan| !is_late(plan))? {
            return Ok(encoder);
        }
        // A level of klauspost/compress that comes near is looked for before any corrections.
        let nearest = (near.is_none() && !is_other).then(|| self.nearest_zstd());
        let mut corrected = None;
        if let Some(Ok(nearest)) = &nearest
            && let Some(near) = nearest.libzstd()
        {
            // Slow levels take long to show that they make other bytes, and so do those of klauspost/compress with
            // their large tables. That is much for one of many small frames, as modules of a kernel are: where the
            // level that comes nearest comes near enough, no other is tried.
            if is_late(near)
                && let Some(encoder) =
                    self.libzstd(start, 0, &mut 0, |plan| plan.threaded() == near.threaded())?
            {
                return Ok(encoder);
            }
            if nearest.is_few() {
                let found = self.corrected_zstd(nearest);
                if self.has_few_corrections(&found) {
                    return found;
                }
                corrected = Some((found, self.work));
            }
        }
        if let Some(encoder) = self.libzstd(start, reserve, &mut best, is_late)? {
            return Ok(encoder);
        }
        if !is_other {
            near = nearer(near, self.klauspost(klauspost::Levels::Others));
        }
        match (near, corrected) {
            (Some(near), _) => Ok(self.corrected_klauspost(near)),
            (None, Some((found, work))) => {
                self.work = work;
                found
            }
            (None, None) => {
                let nearest = nearest.unwrap_or_else(|| self.nearest_zstd())?;
                self.corrected_zstd(&nearest)
            }
        }
    }

    /// Tells whether corrections to libzstd are so few that no other encoder is looked for.
    fn has_few_corrections(&self, found: &Result<Encoder, Refused>) -> bool {
        let Ok(Encoder::ZstdCorrections(plan)) = found else { return false };
        plan.corrections_size() as u64 * FEW_SHARE < self.source.encoded_size()
    }

    /// Returns the first encoder of libzstd that makes the frame, of those that are to be tried. None is tried while
    /// the budget has less than `reserve`. `best` is the most bytes of the frame that an encoder made, here and before.
    fn libzstd(
        &mut self,
        start: &[u8],
        reserve: u64,
        best: &mut u64,
        is_tried: impl Fn(zstd_frame::Plan) -> bool,
    ) -> Result<Option<Encoder>, Refused> {
        let (encoded_size, plain_size) = (self.source.encoded_size(), self.source.plain_size());
        let matches = |plan| {
            let is_tried = is_tried(plan) && self.budget.work() >= reserve;
            if is_tried { self.matched(&Encoder::Zstd(plan)) } else { 0 }
        };
        let found = zstd_frame::find(start, encoded_size, plain_size, best, matches)?;
        Ok(found.map(Encoder::Zstd))
    }

    /// Returns the corrections of a frame that an encoder of klauspost/compress makes, but for what is carried, if they
    /// are fewer bytes, and else that encoder.
    fn corrected_klauspost(&mut self, (encoder, carried): (Encoder, u64)) -> Encoder {
        let Encoder::Klauspost(plan) = &encoder else { return encoder };
        let work = self.work;
        let found = zstd_corrections::find_of_klauspost(self.source, self.budget, plan.settings(), carried);
        let corrected = found.ok().filter(|plan| (plan.corrections_size() as u64) < carried);
        if let Some(corrected) = corrected.map(Encoder::ZstdCorrections)
            && self.makes(&corrected)
        {
            return corrected;
        }
        self.work = work;
        encoder
    }

    fn nearest_zstd(&mut self) -> Result<Nearest, Refused> {
        let found = zstd_corrections::nearest(self.source, self.budget);
        if matches!(found, Err(Refused::TooMuchMemory)) {
            self.lacked_memory = true;
            return Err(Refused::NoEncoder);
        }
        found
    }

    /// Returns the corrections of a frame to the encoder that comes nearest.
    fn corrected_zstd(&mut self, nearest: &Nearest) -> Result<Encoder, Refused> {
        let plan = zstd_corrections::find(self.source, self.budget, nearest)?;
        let encoder = Encoder::ZstdCorrections(plan);
        if self.makes(&encoder) { Ok(encoder) } else { Err(Refused::NotTheStream) }
    }

    /// Returns the encoder of klauspost/compress if it makes the frame. Where nothing is carried, the search has made
    /// and compared all blocks, which is the proof.
    fn klauspost(&mut self, levels: klauspost::Levels) -> Near {
        let found = klauspost::find(self.source, self.budget, levels);
        self.lacked_memory |= matches!(found, Err(Refused::TooMuchMemory));
        let (plan, carried) = found.ok()?;
        let EncodingWork { setup, byte } = plan.encoding_work();
        let encoder = Encoder::Klauspost(plan);
        if carried == 0 {
            self.work = setup + byte * (self.source.plain_size() + self.source.encoded_size());
            return Some((encoder, 0));
        }
        self.makes(&encoder).then_some((encoder, carried))
    }
}
