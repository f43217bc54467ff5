//! Chooses whether the op stream of a tardf3 becomes an xz stream in place of a zstd frame.
//!
//! LZMA makes a delta 2 to 9% smaller than zstd at its high levels, in the time that these take in one thread. An
//! applier takes longer to read it, by some 70 ns for each byte of the delta. So it is for deltas that are small beside
//! their layer, of which that time is a part.

use super::MIN_LONG_LEVEL;
use super::relocations::{Chosen, Sizes};
use crate::budget;
use crate::options::DiffOptions;

/// Most bytes of an op stream: no thread but one compresses it.
const MAX_STREAM: u64 = 64 << 20;
/// Most bytes of a delta. At what an applier charges for each, they are less than it grants before anything is made.
const MAX_DELTA: u64 = 16 << 20;
/// A delta is at most this part of its layer. A byte of a layer takes some 8 ns, to which half is added at
/// most. What an applier charges is 50 units for each byte of the layer: with the shares that views and relocated ops
/// have of them (`Work::reading_of_file`, `Work::relocating`) it is what an applier grants for a layer.
const MIN_LAYER_RATIO: u64 = 18;
/// A delta that is read in a few milliseconds is small beside any layer.
const SMALL: u64 = 64 << 10;
/// The largest and the smallest dictionary of LZMA, as base-2 logarithms of bytes. The largest is the window of zstd,
/// so that an applier takes no more memory.
const MAX_DICTIONARY_LOG: u32 = super::LONG_WINDOW_LOG;
const MIN_DICTIONARY_LOG: u32 = 16;
/// Percent of its size in the trial that a delta is at most if it is surely smaller than that of zstd at its high
/// levels.
const SURELY_SMALLER: u64 = 89;

/// Returns the bytes of the dictionary of LZMA for a delta of a layer of `layer_size` bytes that is to be compressed at
/// a level of zstd; `None` if it is to be compressed by zstd.
pub(super) fn dictionary(chosen: &Chosen, level: i32, layer_size: u64, options: &DiffOptions) -> Option<u32> {
    let Sizes { delta, stream } = chosen.sizes.filter(|_| chosen.form.is_tardf3)?;
    let is_small = delta <= SMALL || delta.saturating_mul(MIN_LAYER_RATIO) <= layer_size;
    if level < MIN_LONG_LEVEL || stream > MAX_STREAM || delta > MAX_DELTA || !is_small {
        return None;
    }
    let log = stream.next_power_of_two().trailing_zeros().clamp(MIN_DICTIONARY_LOG, MAX_DICTIONARY_LOG);
    // With little memory, a smaller dictionary is still better than none, mostly.
    let mut logs = (MIN_DICTIONARY_LOG..=log).rev();
    logs.find(|log| budget::xz_memory(*log, delta) <= options.memory).map(|log| 1 << log)
}

/// Returns true if a delta of `size` bytes need not be compared with that of zstd.
pub(super) const fn is_surely_smaller(size: usize, chosen: &Chosen) -> bool {
    match chosen.sizes {
        Some(sizes) => size as u64 * 100 <= sizes.delta * SURELY_SMALLER,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::relocations::{Form, Relocations};

    fn chosen(is_tardf3: bool, delta: u64, stream: u64) -> Chosen {
        let form = Form { relocations: Relocations::None, is_tardf3 };
        Chosen { form, sizes: Some(Sizes { delta, stream }) }
    }

    #[test]
    fn deltas_that_are_small_beside_their_layer_become_xz_streams() {
        let options = DiffOptions::default().memory(1 << 30);
        let of = |chosen, level| dictionary(&chosen, level, 1 << 30, &options);
        assert_eq!(of(chosen(true, 1 << 20, 3 << 20), 19), Some(4 << 20));
        assert_eq!(of(chosen(true, 1 << 20, 60 << 20), 19), Some(32 << 20));
        assert_eq!(of(chosen(true, 1 << 10, 3 << 10), 19), Some(64 << 10));
        assert_eq!(of(chosen(true, 1 << 20, 3 << 20), 15), None, "a quick level");
        assert_eq!(of(chosen(true, 1 << 20, 65 << 20), 19), None, "a long stream");
        assert_eq!(of(chosen(true, 17 << 20, 50 << 20), 19), None, "a large delta");
        assert_eq!(of(chosen(true, 16 << 20, 50 << 20), 19), Some(32 << 20));
        assert_eq!(
            dictionary(&chosen(true, 2 << 20, 3 << 20), 19, 31 << 20, &options),
            None,
            "a small layer"
        );
        assert_eq!(of(chosen(false, 1 << 20, 3 << 20), 19), None, "every client reads it");
        let little = DiffOptions::default().memory(64 << 20);
        assert_eq!(dictionary(&chosen(true, 1 << 20, 60 << 20), 19, 1 << 30, &little), Some(4 << 20));
        let none = DiffOptions::default().memory(4 << 20);
        assert_eq!(dictionary(&chosen(true, 1 << 20, 60 << 20), 19, 1 << 30, &none), None);
    }

    #[test]
    fn a_delta_that_hardly_gains_is_compared() {
        assert!(is_surely_smaller(89, &chosen(true, 100, 1000)));
        assert!(!is_surely_smaller(90, &chosen(true, 100, 1000)));
        assert!(!is_surely_smaller(0, &Chosen { sizes: None, ..chosen(true, 100, 1000) }));
    }
}
