//! The levels and versions of klauspost/compress that may predict a frame.

use super::MIN_WINDOW_LOG;
use super::manner::{Klauspost, Manner};
use crate::klauspost::Settings;
use crate::klauspost::prediction::MAX_WINDOW_LOG;

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

/// Returns a manner for each search, the likely and the fast ones first.
pub(super) fn searches(start: &[u8]) -> Vec<Manner> {
    let Some(header) = Header::read(start) else { return Vec::new() };
    let mut searches: Vec<&Settings> = Vec::new();
    for settings in Settings::ALL {
        if !searches.iter().any(|other| other.searches_as(settings)) {
            searches.push(settings);
        }
    }
    searches.sort_by_key(|settings| settings.work().1);
    searches.into_iter().map(|settings| Manner::Klauspost(header.manner(settings))).collect()
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
