//! The fuzz targets: what each does with an input, and what must hold.
//!
//! A target that returns has proved its law for one input; one that panics, takes over 10 seconds or
//! over 1 GiB has found a bug. README.md says how they are run and what they have found.

#[cfg(feature = "artifacts")]
mod artifacts;
mod codecs;
mod cost;
mod delta;
mod diffs;
mod hostile_layers;
mod input;
mod layers;
mod ops;
mod relocated;
mod tars;
mod views;

#[cfg(feature = "artifacts")]
pub use artifacts::artifacts;
pub use codecs::{decode, recipe, recode, try_compress};
pub use cost::{Heap, cost};
pub use diffs::{diff_apply, explain};
pub use hostile_layers::layers;
pub use input::{Fields, Input};
pub use ops::{apply, differential, op_reader};
pub use relocated::relocated;
pub use tars::tar_walk;
pub use views::views;
