#![doc = include_str!("../FORMAT.md")]

mod apply;
mod budget;
mod compressor;
mod cursor;
mod entries;
mod error;
mod headers;
mod op;
mod pages;
mod reader;
mod relocated;
mod source_path;
mod stream;
mod target;
mod text;
mod view;
pub mod wire;
mod work;
mod writer;
mod zstd_dict;

pub use apply::{Limits, apply};
pub use budget::{Budget, Exhausted, StreamWork};
pub use compressor::{Encoding, LesserEffort};
pub use cursor::{SourceFile, SourceFiles};
pub use error::{CorruptKind, Error, Result};
pub use headers::{Content, EntryDraft, HeaderList, HeaderLists, HeaderReader, TarEntry};
pub use op::{Op, Version};
pub use reader::{FrameHeader, OpReader};
pub use relocated::Relocation;
pub use source_path::{PathError, SourcePath};
pub use target::Sink;
pub use text::{escape, escape_path, is_printable};
pub use view::{Reencoding, View, ViewStream};
pub use work::Work;
pub use writer::{OpWriter, SourceRef, WriterStats};
pub use zstd_dict::zstd_dict_frame;
