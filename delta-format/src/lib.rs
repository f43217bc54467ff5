#![doc = include_str!("../FORMAT.md")]

mod apply;
mod compressor;
mod error;
mod op;
mod reader;
mod source_path;
pub mod wire;
mod writer;

pub use apply::{Limits, SourceFile, SourceFiles, apply};
pub use compressor::Encoding;
pub use error::{CorruptKind, Error, Result};
pub use op::{Op, Version};
pub use reader::OpReader;
pub use source_path::{PathError, SourcePath, escape_path};
pub use writer::{OpWriter, WriterStats};
