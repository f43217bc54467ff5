//! Makes a small delta of two container layers.
//!
//! [`diff()`] is five steps, each in a file of its own:
//!
//! 1. list the entries of both sides and merge the old layers as they will lie on disk (crate
//!    [`layer`]);
//! 2. fingerprint every file (`fingerprint.rs`, `sketch.rs`);
//! 3. find the most similar source of each new file (`matching.rs`) and cut the new tar into
//!    segments (`plan.rs`);
//! 4. make the edit of each file that is similar to its source (`bsdiff.rs` over
//!    `gram_index.rs` and `anchors.rs`, `rollsum.rs` for huge files, frames of zstd for tardf2, `views/`
//!    to see through compression for tardf3), source by source and in parallel (`edits.rs`); those of programs
//!    once more, with what moved written alike on both sides (`realign.rs`);
//! 5. write the ops in target order (`emit.rs`), leaving out steps that cost more than they save
//!    (`weigh.rs`).
//!
//! `budget.rs` bounds what that takes of memory, and `meter.rs` tells how far it is.
//!
//! [`verify`] applies the finished delta to the old layers, so that a wrong one is never published.
//! [`merge()`] makes one delta of two that follow each other, without the layers.
//! The crate `explain` tells which files the bytes of a delta go to, and why.
//!
//! ```
//! use layer::{Spool, SpoolOptions};
//! use tar_diff::{DiffOptions, diff, verify};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (old, new) = (&[0u8; 1024][..], &[0u8; 1024][..]);
//! let old = [Spool::read("old.tar".into(), old, &SpoolOptions::default())?];
//! let new = Spool::read("new.tar".into(), new, &SpoolOptions::default())?;
//! let options = DiffOptions::default();
//! let (delta, stats) = diff(&old, &new, &options, Vec::new(), &|_| ())?;
//! verify(delta.as_slice(), &old, &new, &options.merge)?;
//! assert_eq!(stats.target_size, 1024);
//! # Ok(())
//! # }
//! ```

mod anchors;
mod bsdiff;
mod budget;
mod counter;
#[cfg(feature = "clap")]
mod diff_args;
mod edit;
mod edits;
mod emit;
mod error;
mod fingerprint;
mod gear;
mod gram_index;
mod matching;
mod merge;
mod meter;
mod options;
mod plan;
mod realign;
mod relocate;
mod rollsum;
mod sides;
mod sketch;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod stages;
mod stats;
mod steps;
mod verify;
mod views;
mod weigh;
mod workers;

use std::io::Write;

use layer::{Listing, MergedTree, Spool};
use meter::Meter;

#[cfg(feature = "clap")]
pub use diff_args::DiffArgs;
pub use error::{Error, Result};
pub use merge::{DeltaMergeOptions, DeltaMerger, MergeStats, MergedLayer, Reads, merge};
pub use options::{DiffOptions, Method, Preset};
pub use stats::{Count, Reduced, Stats};
pub use verify::{verify, verify_watched};

/// Writes the delta that makes `new` of the files of the `old` layers, lowest layer first.
///
/// `progress` is called from any thread with the bytes of the new tar that are done since the call
/// before; they add up to its size, and are told at the pace of the whole diff, compression included. The
/// delta depends on the layers and the options alone, not on the number of jobs.
///
/// # Errors
/// [`Error::Layer`] if a layer is broken or cannot be read, [`Error::Delta`] if the output fails.
pub fn diff<W: Write>(
    old: &[Spool],
    new: &Spool,
    options: &DiffOptions,
    output: W,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(W, Stats)> {
    let meter = Meter::new(new.size(), progress);
    let mut listing = Listing::of(old.iter().chain([new]));
    let of_old = old.iter().map(|layer| listing.entries(layer)).collect::<layer::Result<Vec<_>>>()?;
    let of_new = listing.entries(new)?;
    let over_budget = Some(listing.memory()).filter(|memory| *memory > options.memory);
    let options = &budget::beside(options, listing.memory());
    let tree = MergedTree::merge(&of_old, &options.merge);
    let plan = plan::Plan::new(&tree, old, new, &of_new, options, &meter)?;
    let layers = sides::Layers { old, new };
    let matching = edits::expected_cost(&plan);
    meter.start(matching, emit::expected_cost(&plan, options));
    let edits = edits::edits(&plan, layers, options, &meter)?;
    let (output, mut stats) = emit::write((&plan, &of_new), edits, layers, options, output, &meter)?;
    stats.reduced.entries = over_budget;
    if stats.reduced.is_any() {
        stats.reduced.wanted_memory += listing.memory();
    }
    Ok((output, stats))
}
