//! Measures the costs of the tools of this workspace, beside those of their peers.
//!
//! `benches measure` is four steps:
//!
//! 1. take layer pairs: given ones or a generated one (`pair.rs`);
//! 2. let every tool that is there (`tools.rs`) make a delta and apply it, in a process of its own
//!    whose time and memory the kernel counts (`launch.rs`), and check the result (`measure.rs`);
//! 3. find out which kinds of files the bytes of our deltas go to (`kinds.rs`);
//! 4. show it: the report (`report.rs`) as text (`table.rs`), JSON, a page (`html/`), and the picture of the
//!    README (`picture.rs`).
//!
//! `benches apply` shows what applying costs beside its parts (`applying.rs`), and `benches growth` that
//! time per byte does not grow with a layer (`growth/`). `benches merge` compares merged deltas with made ones
//! (`merging.rs`). All three run our commands in one way (`ours.rs`). `guard.rs` has the two figures that
//! must not change unseen: sizes and instructions.

pub mod applying;
mod chart;
mod error;
mod figures;
pub mod fleet;
pub mod growth;
pub mod guard;
pub mod html;
pub mod kinds;
pub mod launch;
mod measure;
pub mod merging;
mod ours;
mod pair;
pub mod picture;
pub mod pull_times;
pub mod reference;
pub mod report;
pub mod table;
pub mod tools;

pub use error::{Error, Result};
pub use figures::quoted_runs;
pub use measure::{Measurement, measure};
pub use ours::Ours;
pub use pair::{Pair, find_pairs, generated_pair};
