//! Finds the manner that predicts a frame best, and makes the corrections.

use std::ops::ControlFlow;

use super::Plan;
use super::candidates;
use super::manner::{Libzstd, Manner};
use super::reader::Reader;
use super::walk::Walk;
use crate::charge::Charged;
use crate::compare::{Plain, Source};
use crate::deflate::range::Encoder;
use crate::klauspost::Settings;
use crate::{Budget, Refused, zstd_frame};

/// Plain bytes by which the levels are compared: the first block. Those by which one knows whether blocks are split.
const SAMPLE: u64 = 128 << 10;
const SAMPLE_OF_BLOCKS: u64 = 384 << 10;
/// The part of a frame that corrections may take, and bytes that they may take of any frame, up to half of it.
const MAX_SHARE: u64 = 4;
const FEW: u64 = 64;
/// The part of a sample that few corrections take: no other level is looked for. Slow levels do not come as near.
const FEW_SHARE: u64 = 50;
const FEW_SHARE_OF_SLOW: u64 = 10;
/// Corrections of a stretch that tell nothing.
const FEW_OF_STRETCH: u64 = 256;

/// The encoder by which the start of a frame has the fewest corrections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nearest {
    manner: Manner,
    seen: Seen,
}

impl Nearest {
    /// Returns the parameters of libzstd; `None` if the encoder is one of klauspost/compress.
    pub(crate) const fn libzstd(&self) -> Option<zstd_frame::Plan> {
        self.manner.libzstd()
    }

    /// Tells whether the corrections are so few that no other encoder of the same speed comes nearer.
    pub(crate) const fn is_few(&self) -> bool {
        let is_slow = matches!(self.manner.libzstd(), Some(plan) if plan.is_slow());
        let share = if is_slow { FEW_SHARE_OF_SLOW } else { FEW_SHARE };
        self.seen.size * share < self.seen.encoded
    }
}

/// Finds the plan of a frame by the corrections to the encoder that comes nearest.
///
/// # Errors
/// [`Refused`] if the corrections are too large, if the budget is spent, or if the encoder takes too much memory.
pub(crate) fn find(source: &mut dyn Source, budget: &Budget, nearest: &Nearest) -> Result<Plan, Refused> {
    let (encoded_size, plain_size) = (source.encoded_size(), source.plain_size());
    let max = (encoded_size / MAX_SHARE).max(FEW.min(encoded_size / 2));
    let libzstd = match nearest.manner {
        Manner::Libzstd(manner) => manner,
        manner @ Manner::Klauspost(_) => return all(manner, source, budget, max),
    };
    let manner = Manner::Libzstd(libzstd);
    let Some(stretch) = Stretch::of_second_job(libzstd, plain_size) else {
        return all(manner, source, budget, max);
    };
    // Threads show behind the place at which they begin the second job.
    let mut single = Watched::default();
    let made = corrections(manner, source, budget, &mut |seen| {
        single.take(&stretch, seen);
        if single.is_unusual() { Ok(ControlFlow::Break(())) } else { within(seen, max) }
    })?;
    if let Some(plan) = made {
        return Ok(plan);
    }
    let threaded = Manner::Libzstd(Libzstd { plan: libzstd.plan.threaded(), ..libzstd });
    let mut watched = Watched::default();
    if threaded.memory() <= budget.memory() {
        corrections(threaded, source, budget, &mut |seen| {
            watched.take(&stretch, seen);
            Ok(if watched.of_stretch.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
    }
    let is_threaded =
        watched.of_stretch.is_some_and(|of| single.of_stretch.is_some_and(|single| of < single));
    all(if is_threaded { threaded } else { manner }, source, budget, max)
}

/// Finds the plan of a frame that klauspost/compress made nearly as it does with these settings, with corrections of at
/// most so many bytes.
///
/// # Errors
/// As [`find`].
pub(crate) fn find_of_klauspost(
    source: &mut dyn Source,
    budget: &Budget,
    settings: &'static Settings,
    max: u64,
) -> Result<Plan, Refused> {
    let (start, _) = source.starts(32, 0).map_err(|_| Refused::Unreadable)?;
    let manner = candidates::of_settings(settings, &start).ok_or(Refused::NoEncoder)?;
    if manner.memory() > budget.memory() {
        return Err(Refused::TooMuchMemory);
    }
    all(manner, source, budget, max)
}

/// Makes the corrections of all of a frame, at most so many bytes.
fn all(manner: Manner, source: &mut dyn Source, budget: &Budget, max: u64) -> Result<Plan, Refused> {
    let made = corrections(manner, source, budget, &mut |seen| within(seen, max))?;
    made.ok_or(Refused::NoEncoder)
}

/// Finds the encoder by which the start of a frame has the fewest corrections.
///
/// # Errors
/// [`Refused`] if there is none, if the budget is spent, or if each takes too much memory.
pub(crate) fn nearest(source: &mut dyn Source, budget: &Budget) -> Result<Nearest, Refused> {
    let (start, _) = source.starts(32, 0).map_err(|_| Refused::Unreadable)?;
    let plain_size = source.plain_size();
    let plans = zstd_frame::plans(&start, plain_size)?;
    let mut best: Option<Nearest> = None;
    let mut refused = Refused::NoEncoder;
    for manner in candidates::in_order(plans, &start, plain_size) {
        if manner.memory() > budget.memory() {
            refused = Refused::TooMuchMemory;
            continue;
        }
        let most = best.map_or(u64::MAX, |best| best.seen.size);
        if let Some(best) = best
            && budget.work() < cost(manner, source, SAMPLE) + cost_of_all(best.manner, source)
        {
            break;
        }
        let next = Nearest { manner, seen: sample(manner, source, budget, SAMPLE, most)? };
        if next.seen.size < most {
            best = Some(next);
        }
        if next.is_few() {
            break;
        }
    }
    let nearest = best.ok_or(refused)?;
    let manner = nearest.manner;
    let others = match manner {
        // The sample was the whole frame, and a block that is shorter than others is not split.
        Manner::Libzstd(_) if plain_size < SAMPLE => return Ok(nearest),
        Manner::Libzstd(libzstd) => vec![Manner::Libzstd(Libzstd { is_split: true, ..libzstd })],
        Manner::Klauspost(klauspost) => candidates::of_level(klauspost, &start),
    };
    if budget.work() < 2 * cost(manner, source, SAMPLE_OF_BLOCKS) + cost_of_all(manner, source) {
        return Ok(nearest);
    }
    let mut best = Nearest { manner, seen: sample(manner, source, budget, SAMPLE_OF_BLOCKS, u64::MAX)? };
    for manner in others {
        if budget.work() < cost(manner, source, SAMPLE_OF_BLOCKS) + cost_of_all(best.manner, source) {
            break;
        }
        let seen = sample(manner, source, budget, SAMPLE_OF_BLOCKS, best.seen.size)?;
        if seen.size < best.seen.size {
            best = Nearest { manner, seen };
        }
    }
    Ok(best)
}

/// Returns about what the corrections of so many plain bytes cost.
fn cost(manner: Manner, source: &dyn Source, size: u64) -> u64 {
    let work = manner.work(source.plain_size());
    work.setup + work.byte * size.min(source.plain_size())
}

/// Returns about what all corrections and their proof cost.
fn cost_of_all(manner: Manner, source: &dyn Source) -> u64 {
    2 * cost(manner, source, u64::MAX) + manner.work(0).byte * source.encoded_size()
}

/// Makes the corrections of the start of a frame, until they are as many as `most`.
fn sample(
    manner: Manner,
    source: &mut dyn Source,
    budget: &Budget,
    size: u64,
    most: u64,
) -> Result<Seen, Refused> {
    let mut sample = Seen::default();
    corrections(manner, source, budget, &mut |seen| {
        sample = seen;
        let is_end = seen.at >= size || seen.size >= most;
        Ok(if is_end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(sample)
}

fn within(seen: Seen, max: u64) -> Result<ControlFlow<()>, Refused> {
    let size = seen.size;
    if size > max { Err(Refused::CorrectionsTooLarge { size, max }) } else { Ok(ControlFlow::Continue(())) }
}

/// The part of a frame whose corrections were made.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Plain bytes of it.
    at: u64,
    /// Its bytes, and those of its corrections.
    encoded: u64,
    size: u64,
}

/// The start of the job that threads would begin second.
struct Stretch {
    start: u64,
    end: u64,
}

impl Stretch {
    /// Returns the stretch, if there are so many plain bytes.
    fn of_second_job(manner: Libzstd, plain_size: u64) -> Option<Self> {
        let start = manner.plan.job();
        Some(Self { start, end: start + start / 8 }).filter(|stretch| stretch.end <= plain_size)
    }
}

/// The corrections before a stretch and of it.
#[derive(Debug, Default)]
struct Watched {
    before: Seen,
    of_stretch: Option<u64>,
    encoded: u64,
}

impl Watched {
    fn take(&mut self, stretch: &Stretch, seen: Seen) {
        if seen.at < stretch.start {
            self.before = seen;
        }
        if seen.at >= stretch.end && self.of_stretch.is_none() {
            self.of_stretch = Some(seen.size - self.before.size);
            self.encoded = seen.encoded - self.before.encoded;
        }
    }

    /// Tells whether the stretch has more corrections than there were before.
    fn is_unusual(&self) -> bool {
        let usual = self.before.size.saturating_mul(self.encoded) / self.before.encoded.max(1);
        self.of_stretch.is_some_and(|size| size > usual + usual / 4 + FEW_OF_STRETCH)
    }
}

/// Makes the corrections of a frame. `watch` sees those so far behind each block; where it breaks, there is no plan.
fn corrections(
    manner: Manner,
    source: &mut dyn Source,
    budget: &Budget,
    watch: &mut dyn FnMut(Seen) -> Result<ControlFlow<()>, Refused>,
) -> Result<Option<Plan>, Refused> {
    let (encoded_size, plain_size) = (source.encoded_size(), source.plain_size());
    let charge = |units| budget.take(units);
    let work = manner.work(plain_size);
    if !budget.charge(work.setup) {
        return Err(Refused::OverBudget);
    }
    let (mut encoded, plain) = source.readers().map_err(|_| Refused::Unreadable)?;
    let mut plain = Charged::new(plain, work.byte, &charge);
    let mut plain = Plain::new(&mut plain, plain_size).charged(&charge);
    let refused = |_| if budget.is_spent() { Refused::OverBudget } else { Refused::NotTheStream };
    let (mut reader, header) = Reader::new(&mut encoded)?;
    let mut walk = Walk::new(Encoder::new(), manner, plain_size).map_err(refused)?;
    let mut seen = Seen::default();
    loop {
        let mut block = reader.block()?;
        walk.check(&mut plain, &mut block).map_err(refused)?;
        walk.block(&mut plain, Some(&block)).map_err(refused)?;
        let encoded = seen.encoded + 3 + block.content.len() as u64;
        seen = Seen { at: walk.at(), encoded, size: walk.coder.size() as u64 };
        if watch(seen)?.is_break() {
            return Ok(None);
        }
        if block.is_last {
            break;
        }
    }
    if walk.at() != plain_size {
        return Err(Refused::NotTheStream);
    }
    let checksum = reader.end()?;
    let corrections = walk.coder.finish();
    Ok(Some(Plan { manner, encoded_size, header, checksum, corrections }))
}
