//! Predicts the addresses in a program that moved.
//!
//! When code moves, every address that crosses the move changes, and a delta that sends each change is many times
//! larger than what is new. All of them follow from where the bytes of the old file went, which a delta says anyway:
//!
//! ```text
//! old file --rules--> fields: where an address lies, how it is written, the place that it means
//! blocks   ---------> map: old place -> new place
//! field + map ------> the bytes that the field has in the new file; the delta carries what differs from them
//! ```
//!
//! The applier knows nothing of file formats. The writer tells it [`Rules`]: the address ranges of both
//! files, and which parts of the old one are code of a kind, tables of a stride, or records that a walker
//! reads. A rule that is wrong, or a prediction, costs bytes and never exactness.
//!
//! Everything here is a pure function of byte slices. The crate has three parts:
//!
//! - [`Decoder`] makes the new file of a payload and the old file. Its work and its memory are bounded by the sizes of
//!   both, whatever the payload holds.
//! - [`encode`] makes the payload of two files, blocks and rules.
//! - With the feature `writer`, `Layouts` finds out the rules of two ELF files, and makes the normalised
//!   copies of them in which moved code looks the same, so that better blocks are found.

mod branch;
mod bundle;
mod call_sites;
mod computed;
mod decode;
mod encode;
mod error;
mod form;
mod frame_table;
mod hash_table;
mod kind;
#[cfg(feature = "writer")]
mod layout;
mod learned;
mod map;
mod misses;
mod neighbours;
#[cfg(feature = "writer")]
mod normalise;
mod operands;
#[cfg(feature = "writer")]
mod pack;
mod packed;
mod payload;
mod places;
mod predict;
#[cfg(all(test, feature = "writer"))]
mod reference;
mod rules;
mod runs;
mod scan;
mod seeks;
mod side_by_side;
mod sorted;
mod space;
#[cfg(all(test, feature = "writer"))]
mod tests;
mod varint;
mod wire;

pub use decode::{Decoder, Prepared};
pub use encode::{Encoded, encode};
pub use error::{Error, Result};
pub use frame_table::FrameTable;
pub use hash_table::HashTable;
pub use kind::Kind;
#[cfg(feature = "writer")]
pub use layout::{Draft, Layouts};
#[cfg(feature = "writer")]
pub use pack::pack;
pub use payload::{Block, Payload, Sizes};
pub use predict::Outcome;
pub use rules::{GoFunctions, Rule, Rules, Side, Strided};
pub use space::Segment;

/// Largest old or new file, in bytes.
pub const MAX_SIZE: usize = 1 << 28;
/// Most rules of one payload.
pub const MAX_RULES: usize = 4096;
/// Most segments of one side.
pub const MAX_SEGMENTS: usize = 16;
/// Most ranges of new code.
pub const MAX_CODE: usize = 16;
/// Most bytes of a new file that are held back, for all tables together, until a [`FrameTable`] and a [`HashTable`]
/// among them are computed.
pub const MAX_HELD: u64 = 1 << 25;
/// Most bytes of the old file that the dictionary of packed new bytes is made of.
pub const MAX_DICTIONARY: u64 = 1 << 25;
/// Most bases that are given, and most that are read from a table of sections.
pub const MAX_BASES: usize = 1 << 12;
/// Bytes that the rules may go over together, for each byte of the old file: some lie on others.
pub const MAX_COVERED: u64 = 4;
/// Bytes of the old file for each field that the rules may find in it.
pub const MIN_FIELD_BYTES: usize = 6;
/// Most fields that rules find in any file: a third of a GiB of memory. A program of 117 MB has two million.
pub const MAX_FIELDS: usize = 1 << 23;
/// Fields that the rules may find in any file.
pub const MIN_FIELDS: usize = 1 << 12;
