//! What the ops mean: rebuilds the target from the ops and the source files.

use std::io::{self, Read};

use crate::cursor::{Cursor, SourceFiles};
use crate::target::{Sink, Target};
use crate::wire::MAX_WINDOW_LOG;
use crate::{CorruptKind, Error, Op, OpReader, Result};

/// What an apply may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of output.
    pub max_output: u64,
    /// Most bytes that sources of `ZstdDict` ops have, compressed streams decode to and are encoded
    /// from, all together: what a delta may cost in time beside its output.
    pub max_plain: u64,
}

impl Default for Limits {
    /// No bound: the caller bounds its disk and its time.
    fn default() -> Self {
        Self { max_output: u64::MAX, max_plain: u64::MAX }
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
/// [`Error::Reencode`] and [`Error::NoCodecs`] if a stretch cannot be encoded.
pub fn apply<S: SourceFiles>(
    mut delta: OpReader<'_>,
    sources: &mut S,
    limits: Limits,
    output: &mut dyn Sink,
) -> Result<u64> {
    let mut target = Target::new(output, limits);
    let mut source: Option<Cursor<S::File>> = None;
    while let Some(op) = delta.next_op()? {
        match op {
            Op::Data { size } => {
                target.reserve(size)?;
                copy_payload(&mut delta, size, &mut target)?;
            }
            Op::Open(path) => source = Some(Cursor::new(sources.open(&path)?, path)),
            Op::Copy { size } => {
                target.reserve(size)?;
                opened(&mut source, &delta)?.copy(size, &mut target, &delta)?;
            }
            Op::AddData { size } => {
                target.reserve(size)?;
                opened(&mut source, &delta)?.add(size, &mut target, &mut delta)?;
            }
            Op::Seek { offset } => opened(&mut source, &delta)?.position = offset,
            Op::ZstdDict { .. } => {
                let source = opened(&mut source, &delta)?;
                target.count_plain(source.size())?;
                decode_frame(&source.read_whole()?, &mut target, &mut delta)?;
                // The format leaves the position undefined; the end makes a read without a seek an error.
                source.move_to_end();
            }
            Op::OpenView { path, view } => {
                let (file, plain) = sources.open_view(&path, &view, target.plain_left())?;
                target.count_plain(plain)?;
                source = Some(Cursor::new(file, path));
            }
            Op::Reencode(list) => {
                target.expect(list)?.map_err(|kind| delta.corrupt_here(kind))?;
            }
        }
    }
    target.finish()?.map_err(|kind| delta.corrupt_here(kind))
}

fn opened<'s, F>(source: &'s mut Option<Cursor<F>>, delta: &OpReader<'_>) -> Result<&'s mut Cursor<F>> {
    source.as_mut().ok_or_else(|| delta.corrupt_here(CorruptKind::NoSource))
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
