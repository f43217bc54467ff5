//! A container layer: a tar, compressed or not, named by two digests.
//!
//! - [`Spool`] holds the uncompressed tar so that any thread can read it at any offset, whatever the
//!   [`Compression`] of the file that was given.
//! - [`entries`] lists its entries with the exact offsets of their data; [`Members`] walks over them with
//!   all that their headers say, for who extracts them. Both read a tar as container tools do, and tell where
//!   GNU tar reads it differently.
//! - [`Listing`] bounds the memory that the entries of several layers take.
//! - [`MergedTree`] says which files lie where once several layers are extracted in order.
//! - [`DiffId`] names the uncompressed tar, [`BlobDigest`] the bytes as stored;
//!   [`DigestWriter`] computes either on the way.
//!
//! The crate knows no deltas and no network.
//!
//! ```
//! # fn main() -> layer::Result<()> {
//! # let archive: &[u8] = &[0; 1024];
//! let spool = layer::Spool::read("old.tar.gz".into(), archive, &layer::SpoolOptions::default())?;
//! let entries = layer::entries(&spool)?;
//! let tree = layer::MergedTree::merge(&[entries], &layer::MergeOptions::default());
//! println!("{}: {} usable files", spool.diff_id()?, tree.files().len());
//! # Ok(())
//! # }
//! ```

mod ahead;
mod compression;
mod details;
mod digest;
mod disputes;
mod entries;
mod entry;
mod error;
mod file_kind;
mod header;
mod image_archive;
mod listing;
mod members;
mod merged;
mod pax;
mod regular;
mod sequence;
mod sparse;
mod spool;

pub use compression::Compression;
pub use details::{Details, Timestamp};
pub use digest::{BlobDigest, DiffId, Digest, DigestWriter, ParseDigestError};
pub use entries::entries;
pub use entry::{Dispute, Entry, EntryKind};
pub use error::{Error, Result};
pub use file_kind::FileKind;
pub use image_archive::{ImageArchive, check_is_layer};
pub use listing::Listing;
pub use members::{BLOCK_SIZE, Member, Members};
pub use merged::{MergeOptions, MergedFile, MergedTree, clean_path};
pub use regular::{open_regular, open_regular_here};
pub use sparse::SparseMap;
pub use spool::{Spool, SpoolOptions, SpoolReader};
