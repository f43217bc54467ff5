//! Rebuilds a container layer, bit for bit, from a delta and the files of an old layer.
//!
//! # What is trusted
//! Two things, which the caller gets from where it trusts: the [`DiffId`] that the layer must have
//! and the most bytes of output that it accepts ([`ApplyOptions`]). The DiffId comes from the
//! config of an image whose manifest was verified.
//!
//! # What is not
//! - **The delta.** Whatever its bytes, [`apply`] gives a layer with the expected DiffId or an
//!   [`Error`]. It writes at most [`ApplyOptions::max_output`] bytes and keeps its memory within a
//!   few buffers, the delta's zstd window and, for tardf2, one source file (each at most 512 MiB). For
//!   tardf3 it decodes and encodes at most 64 times the bytes of the output, and holds 64 MiB of them
//!   in memory for each thread that encodes; an encoder takes at most 256 MiB, all at once 1 GiB. A
//!   relocated op holds its source and its payload (at most 256 MiB each), and what it knows of
//!   addresses in the source: most often less than the source again. The source and the payload of the next one are
//!   read before it is made if it holds at most 64 MiB.
//! - **The source tree.** [`DirSource`] resolves every path as if the tree were the root of the
//!   file system, so that no symlink leads out of it, and opens regular files only.
//!   [`LayerSource`] reads the tarballs of the old layers and touches no tree at all.
//!
//! The output is written before it is known to be right: publish it only after `apply` gave `Ok`.
//!
//! ```no_run
//! use std::{fs::File, path::Path};
//! use tar_patch::{ApplyOptions, DiffId, DirSource, apply};
//!
//! let mut sources = DirSource::open(Path::new("/srv/old"))?;
//! let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse::<DiffId>()?;
//! let options = ApplyOptions::default().expected(expected).max_output(1 << 30);
//! let applied = apply(File::open("layer.tardiff")?, &mut sources, options, &mut File::create("layer.tar.part")?)?;
//! std::fs::rename("layer.tar.part", "layer.tar")?;
//! println!("{} bytes", applied.size);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
mod error;
mod file_kind;
mod reencode;
mod source;
mod tarballs;
mod views;

pub use apply::{Applied, ApplyOptions, apply, rebuild};
pub use delta_format::{Budget, Exhausted, SourceFile, SourceFiles, SourcePath, Work};
pub use error::{Error, Fault, Result};
pub use file_kind::FileKind;
pub use layer::DiffId;
pub use source::{DirFile, DirSource, PathResolution};
pub use tarballs::{LayerFile, LayerSource};
