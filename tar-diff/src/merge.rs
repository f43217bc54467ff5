//! Makes one delta of several that follow each other, without the layers that they make.
//!
//! A delta says of each byte of the layer that it makes where it comes from: from the delta itself, or from a
//! file of the layers that it reads, changed or not. The next delta reads files of that layer. So each of its
//! ops is one that reads the old layers: a copy of a copy is a copy, a copy of a literal is a literal, and
//! differences add up. The headers of a middle tar, which say where its files lie, are literals of the delta
//! that makes it.
//!
//! ```text
//! image v1     image v2              image v3
//! base         base                  base            `base` is in all of them, and is read where it lies
//! app 1  --->  app 2    ------>      app 3           the delta to app 3 reads base and app 2, the one to app 2
//!        delta          delta                        reads base and app 1: so the merged one reads base and app 1
//! ```
//!
//! [`merge`] does so with two deltas, each of which reads the layer before. A [`DeltaMerger`] does so with
//! the layers of images: a middle image has layers of the old one, layers that deltas make, and perhaps some
//! that are at hand.
//!
//! The time is linear in the deltas to middle layers, and in the pieces of these that later deltas read, with a search
//! among them for each op.
//! The result is larger than a delta that is made of the layers: it carries what the middle layer had and the new one
//! changed again.

mod compose;
mod files;
mod made;
mod pieces;

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use delta_format::{OpWriter, Version};
use derive_setters::Setters;
use layer::{Listing, MergeOptions, Spool};

use crate::emit::encoding;
use crate::options::DiffOptions;
use crate::{Error, Result, budget};
use compose::Written;
use files::{Content, Layer, Layers};
use made::LayerInTheMaking;

/// The options for merging deltas.
#[derive(Debug, Clone, Setters)]
#[non_exhaustive]
pub struct DeltaMergeOptions {
    /// The zstd level of the delta.
    pub level: i32,
    /// The threads that compress it.
    pub jobs: NonZeroUsize,
    /// The way in which the layers that a delta reads are merged.
    pub merge: MergeOptions,
    /// The directory for the literals of the middle layers.
    #[setters(into)]
    pub temp_dir: PathBuf,
    /// Most bytes of a middle layer, and of the new one: a delta of some hundred bytes can stand for any
    /// number. So many bytes of all middle layers are kept.
    pub max_size: u64,
    /// Most bytes of memory for the origins of their bytes, as many for their entries, and as many for the compressor,
    /// which takes a lower level or fewer threads if it needs more.
    pub memory: u64,
}

impl Default for DeltaMergeOptions {
    /// Level 19, one thread, layers of at most 64 GiB, and 1 GiB of memory.
    fn default() -> Self {
        let temp_dir = std::env::temp_dir();
        Self {
            level: 19,
            jobs: NonZeroUsize::MIN,
            merge: MergeOptions::default(),
            temp_dir,
            max_size: 64 << 30,
            memory: 1 << 30,
        }
    }
}

/// The figures of a merge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct MergeStats {
    /// Bytes of the middle layers.
    pub middle_size: u64,
    /// Bytes of the new layer.
    pub target_size: u64,
    /// Bytes of it that are copied from the old layers.
    pub copied: u64,
    /// Bytes of it that are differences from the old layers.
    pub added: u64,
    /// Bytes of it that the delta carries.
    pub literal: u64,
}

/// Writes the delta that does what `first` and then `second` do, which reads the layer that `first` makes.
///
/// # Errors
/// [`Error::CannotMerge`] if a delta has ops of tardf2 or tardf3, or the second one reads a file that the
/// first one does not make; [`Error::Delta`], [`Error::Layer`] and [`Error::Store`].
pub fn merge<W: Write>(
    first: impl Read,
    second: impl Read,
    options: &DeltaMergeOptions,
    output: W,
) -> Result<(W, MergeStats)> {
    let mut merger = DeltaMerger::new(options);
    let middle = merger.add_delta(first, &Reads::Old)?;
    merger.write(second, &Reads::Layers(vec![middle]), output)
}

/// A layer of a [`DeltaMerger`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergedLayer(usize);

/// The layers whose files a delta reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// All old layers, which the merged delta reads too.
    Old,
    /// These, the lowest first.
    Layers(Vec<MergedLayer>),
}

/// The merging of deltas between the layers of images.
///
/// ```no_run
/// # fn main() -> tar_diff::Result<()> {
/// use tar_diff::{DeltaMergeOptions, DeltaMerger, Reads};
/// # let (base, app): (layer::Spool, layer::Spool) = unimplemented!();
/// # let (to_app_2, to_app_3): (&[u8], &[u8]) = unimplemented!();
/// // The layers of v1, and the delta to a layer of v2, which has `base`, too.
/// let mut merger = DeltaMerger::of_layers(vec![base, app], &DeltaMergeOptions::default())?;
/// let app_2 = merger.add_delta(to_app_2, &Reads::Old)?;
/// let v2 = Reads::Layers(vec![merger.old(0), app_2]);
/// let (delta, _) = merger.write(to_app_3, &v2, Vec::new())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DeltaMerger {
    options: DeltaMergeOptions,
    layers: Layers,
    listing: Listing,
    written: Written,
}

impl DeltaMerger {
    /// Prepares to merge deltas of which only the first ones read old layers, all of them.
    pub fn new(options: &DeltaMergeOptions) -> Self {
        let listing = Listing::within(options.memory);
        let layers = Layers::new(options.merge.clone());
        Self { options: options.clone(), layers, listing, written: Written::default() }
    }

    /// Prepares to merge deltas that may read some of the old layers and some of others. `old` are those that
    /// the merged deltas read, the lowest first.
    ///
    /// # Errors
    /// [`Error::Layer`] if one of them is no tar.
    pub fn of_layers(old: Vec<Spool>, options: &DeltaMergeOptions) -> Result<Self> {
        let mut merger = Self::new(options);
        for spool in old {
            merger.add_tar(spool)?;
        }
        merger.layers.set_old();
        Ok(merger)
    }

    /// Returns one of the old layers, by its index.
    pub const fn old(&self, index: usize) -> MergedLayer {
        MergedLayer(index)
    }

    /// Adds a layer that is at hand, and that the old layers do not have: the merged delta carries what it reads of it.
    ///
    /// # Errors
    /// [`Error::Layer`] if it is no tar.
    pub fn add_tar(&mut self, spool: Spool) -> Result<MergedLayer> {
        let entries = self.listing.entries(&spool)?.into();
        Ok(MergedLayer(self.layers.add(Layer { spool, entries, content: Content::Tar })))
    }

    /// Adds the layer that a delta makes of others.
    ///
    /// # Errors
    /// [`Error::CannotMerge`], [`Error::Delta`], [`Error::Layer`] and [`Error::Store`].
    pub fn add_delta(&mut self, delta: impl Read, reads: &Reads) -> Result<MergedLayer> {
        let mut making = LayerInTheMaking::new(&self.options)?;
        self.compose("first", delta, reads, &mut making)?;
        let (spool, pieces) = making.finish()?;
        let entries = self.listing.entries(&spool)?;
        // Where files lie is known only if all that is no content of a file is.
        let mut end = 0;
        for entry in &entries {
            pieces.check_literals(end..entry.data.start)?;
            end = entry.data.end.max(end);
        }
        pieces.check_literals(end..pieces.size())?;
        let layer = Layer { spool, entries: entries.into(), content: Content::Made(pieces) };
        Ok(MergedLayer(self.layers.add(layer)))
    }

    /// Writes the delta that makes of the old layers what `delta` makes of the layers that it reads.
    ///
    /// # Errors
    /// As [`add_delta`](Self::add_delta).
    pub fn write<W: Write>(&mut self, delta: impl Read, reads: &Reads, output: W) -> Result<(W, MergeStats)> {
        // The new layer is about as large as those before together, or smaller.
        let limits = DiffOptions::default()
            .level(self.options.level)
            .jobs(self.options.jobs)
            .memory(self.options.memory);
        let (level, threads) = budget::compression(&limits);
        let encoding = encoding(level, threads, self.layers.size());
        let mut writer = OpWriter::new(output, Version::V1, encoding)?;
        let target_size = self.compose("second", delta, reads, &mut writer)?;
        let (output, written) = writer.finish()?;
        let (copied, added) = (written.copy_size, written.add_size);
        let literal = target_size.saturating_sub(copied + added);
        Ok((output, MergeStats { middle_size: self.layers.made_size(), target_size, copied, added, literal }))
    }
}

fn stored(error: io::Error, action: &str) -> Error {
    Error::Store(io::Error::new(error.kind(), format!("cannot {action} a temporary file: {error}")))
}
