//! The encoder whose matches are the prediction, and its parameters.

use super::rules::Rules;
use super::strategy::Strategy;
use super::{BYTE_WORK, OWN_MEMORY};
use crate::klauspost::Settings;
use crate::{EncodingWork, zstd_frame};

/// The way in which the frame is made whose matches are the prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Libzstd(Libzstd),
    Klauspost(Klauspost),
}

/// The parameters of libzstd 1.5.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Libzstd {
    pub(super) plan: zstd_frame::Plan,
    /// The strategy whose rules for codes and tables are expected.
    pub(super) strategy: Strategy,
    /// True if blocks are split before matches are looked for, as 1.5.7 does and earlier versions do not.
    pub(super) is_split: bool,
}

/// The parameters of klauspost/compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Klauspost {
    pub(super) settings: &'static Settings,
    /// Base-2 logarithm of the window.
    pub(super) window_log: u8,
    /// True if the plain bytes were there at once, so that the header says their number.
    pub(super) is_whole: bool,
}

impl Manner {
    pub(super) const fn rules(self) -> Rules {
        match self {
            Self::Libzstd(Libzstd { strategy, .. }) => Rules::Libzstd(strategy),
            Self::Klauspost(Klauspost { settings, .. }) => Rules::Klauspost(settings),
        }
    }

    /// Returns the parameters of libzstd, if the encoder is that.
    pub(super) const fn libzstd(self) -> Option<zstd_frame::Plan> {
        match self {
            Self::Libzstd(Libzstd { plan, .. }) => Some(plan),
            Self::Klauspost(_) => None,
        }
    }

    /// Most memory that the encoder takes, in bytes.
    pub(super) fn memory(self) -> u64 {
        OWN_MEMORY
            + match self {
                Self::Libzstd(Libzstd { plan, .. }) => {
                    // The plain bytes of the job that is made and of the next one are held.
                    plan.memory() + if plan.is_threaded() { plan.job() * 2 } else { 0 }
                }
                Self::Klauspost(Klauspost { settings, window_log, .. }) => {
                    settings.memory_of_window(window_log)
                }
            }
    }

    /// Returns the cost of encoding, in units of about a nanosecond.
    pub(super) fn work(self, plain_size: u64) -> EncodingWork {
        let (setup, byte) = match self {
            Self::Libzstd(Libzstd { plan, .. }) => {
                let EncodingWork { setup, byte } = plan.encoding_work(plain_size);
                (setup, byte)
            }
            Self::Klauspost(Klauspost { settings, .. }) => settings.work(),
        };
        EncodingWork { setup: setup + (64 << 10), byte: byte + BYTE_WORK }
    }
}
