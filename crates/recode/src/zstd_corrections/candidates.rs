//! The encoders, levels and versions that may predict a frame.

use super::MIN_WINDOW_LOG;
use super::manner::{Klauspost, Libzstd, Manner};
use super::strategy::Strategy;
use crate::klauspost::Settings;
use crate::klauspost::prediction::MAX_WINDOW_LOG;
use crate::zstd_frame;

/// The least work for a byte of a search of klauspost/compress that takes long.
const SLOW_WORK: u64 = 64;
/// The plain bytes of a frame from which such searches are tried. Their tables of up to 32 MiB take as long to set up as to
/// search this many bytes.
const MIN_SLOW_SIZE: u64 = 1 << 17;

/// The parts of the header of a frame that the encoder depends on.
struct Header {
    /// Base-2 logarithm of the window; none if the frame is one segment.
    window_log: Option<u8>,
    has_size: bool,
}

impl Header {
    /// Reads the header; `None` if klauspost/compress does not make such a one, or with a window that is too large.
    fn read(start: &[u8]) -> Option<Self> {
        let [_, _, _, _, descriptor, window, ..] = *start else { return None };
        let is_single = descriptor & 0x20 != 0;
        let log = MIN_WINDOW_LOG + (window >> 3);
        // A window is a power of two, and there is no dictionary.
        let is_possible = descriptor & 3 == 0 && (is_single || window & 7 == 0 && log <= MAX_WINDOW_LOG);
        let has_size = is_single || descriptor >> 6 != 0;
        is_possible.then_some(Self { window_log: (!is_single).then_some(log), has_size })
    }

    fn manner(&self, settings: &'static Settings) -> Klauspost {
        let window_log = self.window_log.unwrap_or(settings.window_log());
        Klauspost { settings, window_log, is_whole: self.has_size }
    }
}

/// Returns the manner of the settings for a frame that begins like this, if there is one.
pub(super) fn of_settings(settings: &'static Settings, start: &[u8]) -> Option<Manner> {
    Some(Manner::Klauspost(Header::read(start)?.manner(settings)))
}

/// Returns the manners of libzstd and one for each search of klauspost/compress, the likely and the fast ones first.
pub(super) fn in_order(plans: Vec<zstd_frame::Plan>, start: &[u8], plain_size: u64) -> Vec<Manner> {
    let has_size = plans.first().is_none_or(|plan| plan.has_size());
    let is_fast = |klauspost: &Klauspost| klauspost.settings.work().1 < SLOW_WORK;
    let searches = searches(start).into_iter().filter(|it| is_fast(it) || plain_size >= MIN_SLOW_SIZE);
    let searches = searches.map(|klauspost| {
        // libzstd is mostly told the size, and klauspost/compress is not.
        let place = match (is_fast(&klauspost), has_size) {
            (true, true) => 1,
            (true, false) => 0,
            (false, true) => 4,
            (false, false) => 3,
        };
        (place, Manner::Klauspost(klauspost))
    });
    let plans = plans.into_iter().enumerate().map(|(index, plan)| {
        let place = match (index, has_size) {
            (0, true) if !plan.is_slow() => 0,
            (_, false) if plan.is_slow() => 4,
            _ => 2,
        };
        let strategy = Strategy::of(plan, plain_size);
        (place, Manner::Libzstd(Libzstd { plan, strategy, is_split: false }))
    });
    let mut manners: Vec<_> = searches.chain(plans).collect();
    manners.sort_by_key(|(place, _)| *place);
    manners.into_iter().map(|(_, manner)| manner).collect()
}

/// Returns a manner for each search, the fast ones first.
fn searches(start: &[u8]) -> Vec<Klauspost> {
    let Some(header) = Header::read(start) else { return Vec::new() };
    let mut searches: Vec<&Settings> = Vec::new();
    for settings in Settings::ALL {
        if !searches.iter().any(|other| other.searches_as(settings)) {
            searches.push(settings);
        }
    }
    searches.sort_by_key(|settings| settings.work().1);
    searches.into_iter().map(|settings| header.manner(settings)).collect()
}

/// Returns the other manners of the same level.
pub(super) fn of_level(manner: Klauspost, start: &[u8]) -> Vec<Manner> {
    let Some(header) = Header::read(start) else { return Vec::new() };
    let mut others: Vec<&Settings> = vec![manner.settings];
    for settings in Settings::ALL.iter().filter(|settings| settings.is_of_level_of(manner.settings)) {
        if !others.iter().any(|other| other.is_but_for_window(settings)) {
            others.push(settings);
        }
    }
    others.into_iter().skip(1).map(|settings| Manner::Klauspost(header.manner(settings))).collect()
}
