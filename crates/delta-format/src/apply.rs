//! The meaning of the ops: rebuilds the target from the ops and the source files.

use std::io::{self, Read};

use crate::budget::{Budget, cost};
use crate::cursor::{Cursor, SourceFiles};
use crate::entries::{Entries, Sides};
use crate::relocated::relocate;
use crate::target::{Sink, Target};
use crate::wire::{MAX_DICT_SIZE, MAX_WINDOW_LOG};
use crate::{CorruptKind, Error, Op, OpReader, Result, SourcePath};

/// The limits of an application.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'b> {
    /// Most bytes of output.
    pub max_output: u64,
    /// The work that may be done.
    pub budget: &'b Budget,
}

/// For those who bound nothing.
static UNLIMITED: Budget = Budget::unlimited();

impl Default for Limits<'_> {
    /// No bound: the caller bounds its disk and its time.
    fn default() -> Self {
        Self { max_output: u64::MAX, budget: &UNLIMITED }
    }
}

/// Applies every op of `delta` in order and writes the target to `output`. Gives its size in bytes.
///
/// Memory is constant, save for the source of a `ZstdDict` op (at most 2^29 bytes), a stretch that
/// is encoded (at most 2^26) and zstd's windows. The result is not checked against any digest: give
/// an `output` that hashes.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Stream`] or [`Error::TooLarge`] for a bad delta,
/// the `Source…` variants for a base that does not match, [`Error::Output`] if `output` fails,
/// [`Error::Reencode`] and [`Error::NoCodecs`] if a stretch cannot be encoded,
/// [`Error::OverBudget`] if the work is more than the budget has.
pub fn apply<S: SourceFiles>(
    mut delta: OpReader<'_>,
    sources: &mut S,
    limits: Limits<'_>,
    output: &mut dyn Sink,
) -> Result<u64> {
    let mut target = Target::new(output, limits);
    let mut source = Cursor::<S::File>::default();
    let mut entries = Entries::default();
    let mut work = 0;
    while let Some(op) = delta.next_op()? {
        target.meter().charge(cost::OP + delta.work() - work)?;
        work = delta.work();
        match op {
            Op::Data { size } => {
                target.reserve(size)?;
                copy_payload(&mut delta, size, &mut target)?;
            }
            Op::Open(path) => {
                target.meter().charge(open_work(&path))?;
                source.open(sources.open(&path, limits.budget)?, path);
            }
            Op::Copy { size } => {
                target.reserve(size)?;
                source.copy(size, &mut target, &delta)?;
            }
            Op::AddData { size } => {
                target.reserve(size)?;
                source.add(size, &mut target, &mut delta)?;
            }
            Op::Seek { offset } => source.seek(offset, &delta)?,
            Op::ZstdDict { size } => {
                let dictionary = source.size(&delta)?;
                target.meter().charge(cost::FRAME + cost::FRAME_BYTE * size + dictionary)?;
                let what = "the source of a zstd_dict op";
                decode_frame(&source.read_whole(&delta, what, MAX_DICT_SIZE)?, &mut target, &mut delta)?;
                // The format leaves the position undefined; the end makes a read without a seek an error.
                source.move_to_end();
            }
            Op::Relocated { size } => {
                relocate(&source, size, &mut target, &mut delta)?;
                source.move_to_end();
            }
            Op::Headers { size } => {
                target.meter().charge(cost::HEADERS_BYTE * size)?;
                let list = delta.read_whole_payload(size)?;
                entries.list.start(list).map_err(|kind| delta.corrupt_here(kind))?;
            }
            Op::Entries { count } => {
                let (source, target) = (&mut source, &mut target);
                entries.emit(count, &mut Sides { sources, source, target, budget: limits.budget }, &delta)?;
            }
            Op::OpenView { path, view } => {
                target.meter().charge(open_work(&path))?;
                source.open(sources.open_view(&path, &view, limits.budget)?, path);
            }
            Op::Reencode(list) => {
                target.expect(list)?.map_err(|kind| delta.corrupt_here(kind))?;
            }
        }
    }
    limits.budget.spare(delta.spare_work());
    entries.list.end().map_err(|kind| delta.corrupt_here(kind))?;
    target.finish()?.map_err(|kind| delta.corrupt_here(kind))
}

pub(crate) fn open_work(path: &SourcePath) -> u64 {
    cost::OPEN + cost::PATH_BYTE * path.as_bytes().len() as u64
}

fn copy_payload(delta: &mut OpReader<'_>, size: u64, target: &mut Target<'_>) -> Result<()> {
    let mut left = size;
    while left > 0 {
        let room = target.room(left)?;
        delta.read_payload(room)?;
        left -= room.len() as u64;
    }
    Ok(())
}

/// Decodes the frame that is the payload of the last op, with `dictionary` as its prefix. The
/// output is bounded as it grows.
fn decode_frame(dictionary: &[u8], target: &mut Target<'_>, delta: &mut OpReader<'_>) -> Result<()> {
    let broken =
        |op_index, error: io::Error| Error::Corrupt { op_index, kind: CorruptKind::Frame(error.to_string()) };
    let op_index = delta.op_index();
    let header = delta.read_frame_header().map_err(|error| broken(op_index, error))?;
    // libzstd looks closer at a frame that it gets in one piece. With the magic on its own it never does,
    // so that what is refused does not depend on how the delta is buffered.
    let (magic, rest) = header.bytes.split_at(header.bytes.len().min(4));
    let frame = magic.chain(rest).chain(delta.payload());
    let mut decoder = zstd::Decoder::with_ref_prefix(frame, dictionary)
        .map_err(|error| broken(op_index, error))?
        .single_frame();
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(|error| broken(op_index, error))?;
    let mut decoded = vec![0; zstd::Decoder::<&[u8]>::recommended_output_size()];
    let mut size = 0;
    loop {
        let read = decoder.read(&mut decoded).map_err(|error| broken(op_index, error))?;
        if read == 0 {
            break;
        }
        size += read as u64;
        target.reserve(read as u64)?;
        target.write(&decoded[..read])?;
    }
    // libzstd compares the two only if the last block is not empty.
    match header.content_size {
        Some(declared) if declared != size => {
            Err(Error::Corrupt { op_index, kind: CorruptKind::FrameSize { declared, size } })
        }
        _ => Ok(()),
    }
}
