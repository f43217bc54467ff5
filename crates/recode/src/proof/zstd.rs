//! The search for the encoder of a zstd frame.

use super::Search;
use crate::recipe::Encoder;
use crate::zstd_blocks::MAX_BLOCK;
use crate::{EncodingWork, Refused, klauspost, zstd_corrections, zstd_frame};

/// The slow level of libzstd that is used most.
const USUAL_SLOW_LEVEL: u8 = 19;
/// The part of a small frame that few corrections take, so that no slow encoder is tried.
const FEW_SHARE: u64 = 50;

/// An encoder of klauspost/compress that makes a frame, and how many bytes of it are carried.
type Near = Option<(Encoder, u64)>;

/// Returns the one of which fewer bytes are carried.
fn nearer(near: Near, other: Near) -> Near {
    near.into_iter().chain(other).min_by_key(|(_, carried)| *carried)
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
        let (encoded_size, plain_size) = (self.source.encoded_size(), self.source.plain_size());
        if near.is_none() && plain_size <= MAX_BLOCK as u64 && zstd_frame::has_size(start) {
            return self.small_zstd(start);
        }
        // Corrections take as much as what is tried in vain before them.
        let reserve = self.budget.work() / 2;
        let matches = |plan| {
            if self.budget.work() < reserve { 0 } else { self.matched(&Encoder::Zstd(plan)) }
        };
        let found = zstd_frame::find(start, encoded_size, plain_size, matches).map(Encoder::Zstd);
        found.or_else(|refused| {
            if !is_other {
                near = nearer(near, self.klauspost(klauspost::Levels::Others));
            }
            match near {
                Some(near) => Ok(self.corrected_klauspost(near)),
                None => self.corrected_zstd(refused),
            }
        })
    }

    /// Finds how a frame of one block is made whose header says how many plain bytes it has, as libzstd writes most small
    /// frames, if it is not made at the default level of klauspost/compress.
    ///
    /// Nothing tells before its end that an encoder makes other bytes, and the slow encoders take long for each of many
    /// such frames. All but one are tried behind the corrections to libzstd, and only if these are not few.
    fn small_zstd(&mut self, start: &[u8]) -> Result<Encoder, Refused> {
        let plans = zstd_frame::plans(start, self.source.plain_size())?;
        let is_late = |plan: &zstd_frame::Plan| plan.is_slow() && plan.level() != USUAL_SLOW_LEVEL;
        let (late, early): (Vec<_>, Vec<_>) = plans.into_iter().partition(is_late);
        if let Some(encoder) = self.libzstd(early) {
            return Ok(encoder);
        }
        let corrected = self.corrected_zstd(Refused::NoEncoder);
        let work = self.work;
        if let Ok(Encoder::ZstdCorrections(plan)) = &corrected
            && plan.corrections_size() as u64 * FEW_SHARE < self.source.encoded_size()
        {
            // The version at hand may make the frame at a slow level.
            if let Some(encoder) = self.libzstd(plan.libzstd().filter(is_late)) {
                return Ok(encoder);
            }
            self.work = work;
            return corrected;
        }
        if let Some(encoder) = self.libzstd(late) {
            return Ok(encoder);
        }
        if let Some(near) = self.klauspost(klauspost::Levels::Others) {
            return Ok(self.corrected_klauspost(near));
        }
        self.work = work;
        corrected
    }

    /// Returns the first of the encoders of libzstd that makes the frame.
    fn libzstd(&mut self, plans: impl IntoIterator<Item = zstd_frame::Plan>) -> Option<Encoder> {
        plans.into_iter().map(Encoder::Zstd).find(|encoder| self.makes(encoder))
    }

    /// Returns the corrections of a frame that an encoder of klauspost/compress makes, but for what is carried, if they are
    /// fewer bytes, and else that encoder.
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

    /// Returns the corrections of a frame that no encoder makes, for the reason that is given.
    fn corrected_zstd(&mut self, refused: Refused) -> Result<Encoder, Refused> {
        let found = zstd_corrections::find(self.source, self.budget);
        self.lacked_memory |= matches!(found, Err(Refused::TooMuchMemory));
        let encoder = Encoder::ZstdCorrections(match found {
            Err(Refused::TooMuchMemory) => return Err(refused),
            found => found?,
        });
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
