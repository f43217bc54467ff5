//! A compressed stream: its plain bytes, and the recipe that makes the same stream from them
//! again, bit for bit.
//!
//! - [`find`] finds the streams of a file by its content: gzip, zip, xz, zstd, bzip2, and images of kernels.
//! - [`decode`] turns one stream into its plain bytes, within bounds.
//! - [`recipe`] says how the stream is made of them, and proves it; a stream that cannot be made
//!   again is [`Refused`] with the reason. [`zip`] and [`gzip_header_size`] read the containers.
//! - [`find_streams`] and [`recipe_of_stream`] do the same for files as large as layers, which are not held in memory.
//! - Searching costs what a [`Budget`] grants, also where nothing is found.
//! - [`encode`] makes the stream of a [`Recipe`] and the plain bytes.
//!
//! The crate knows no tars, no deltas and no files. Whatever bytes come in, from a file or as a
//! recipe, give a result or an error: no panic, and no memory beyond what is stated.
//!
//! ```
//! # fn main() -> recode::Result<()> {
//! # use std::io::Write;
//! # let mut file = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
//! # file.write_all(b"some text, some text, some text").expect("a vector takes all");
//! # let file = file.finish().expect("a vector takes all");
//! for found in recode::find(&file, 1 << 20) {
//!     let encoded = &file[found.encoded.clone()];
//!     match recode::recipe(found.codec, encoded, &found.plain) {
//!         Ok(recipe) => {
//!             let mut again = Vec::new();
//!             let size = found.plain.len() as u64;
//!             recode::encode(&recipe, &mut found.plain.as_slice(), size, &mut again)?;
//!             assert_eq!(again, encoded);
//!         }
//!         Err(refused) => println!("{}: {refused}", refused.name()),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
#![doc = include_str!("../RECIPES.md")]

mod budget;
mod bzip2_stream;
mod charge;
mod checksum;
mod chunked;
mod codec;
mod compare;
mod decode;
mod deflate;
mod encode;
mod error;
mod find;
mod klauspost;
mod proof;
mod read_at;
mod recipe;
mod shared_members;
mod successive;
mod wire;
mod xz;
pub mod zip;
mod zstd_blocks;
mod zstd_corrections;
mod zstd_frame;

pub use budget::Budget;
pub use charge::{Charge, DecodingWork, EncodingWork};
pub use codec::{Codec, HEAD_SIZE, is_compressed};
pub use decode::{Decoded, decode, decode_charged};
pub use encode::{encode, encode_charged};
pub use error::{Error, Refused, Result};
pub use find::{
    Found, Stream, find, find_frames, find_streams, find_unshared, find_within, gzip_header_size,
};
pub use proof::{MeasuredRecipe, measured_recipe_within, recipe, recipe_of_stream, recipe_within};
pub use read_at::{Part, ReadAt};
pub use recipe::{ENCODERS, MAX_RECIPE_SIZE, Recipe};
pub use shared_members::SharedMembers;
