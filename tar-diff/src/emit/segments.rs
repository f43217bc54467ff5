//! Writes the segments of a plan, each by its edit.

use std::io::Write;
use std::num::NonZeroUsize;

use delta_format::{OpWriter, SourceRef};
use layer::Spool;

use super::framing::{Frames, Framing, Piece};
use super::relocations::Form;
use crate::edit::{Edit, Step, Viewed};
use crate::plan::{Plan, SegmentKind};
use crate::sides::{Layers, Pair};
use crate::steps::{write_literal, write_steps};
use crate::weigh::{SKIMMED_LITERALS, Weigher};
use crate::{Result, Stats};

/// The reason why there are decoded files.
const DECODED: &str = "edits through views come with the decoded files";

/// A plan whose edits are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made<'m> {
    pub(super) plan: &'m Plan,
    /// The edit of each segment that has one.
    pub(super) edits: &'m [Option<Edit>],
    /// The files that edits through views lie in, if any was looked for.
    pub(super) decoded: Option<&'m Spool>,
    /// The entries whose headers lists can hold.
    pub(super) framing: &'m Framing,
    pub(super) layers: Layers<'m>,
    /// True if not all literals are remembered.
    pub(super) skims: bool,
}

/// Writes all segments in order. `advance` is told the size of each in bytes once it is written.
pub(super) fn write<W: Write>(
    writer: &mut OpWriter<W>,
    made: &Made<'_>,
    form: Form,
    stats: &mut Stats,
    mut advance: impl FnMut(&OpWriter<W>, u64),
) -> Result<()> {
    let Made { plan, edits, layers, .. } = *made;
    let no_headers = Framing::default();
    let mut frames = Frames::new(if form.is_tardf3 { made.framing } else { &no_headers });
    let mut weigher = Weigher::new(if made.skims { SKIMMED_LITERALS } else { NonZeroUsize::MIN });
    for (segment, edit) in plan.segments.iter().zip(edits) {
        let size = segment.target.end - segment.target.start;
        let payload = edit.as_ref().and_then(|edit| form.relocations.of(edit));
        let start = segment.target.start;
        match (&segment.kind, edit) {
            (SegmentKind::Similar(source), Some(Edit::ZstdFrame(frame))) => {
                frames.flush(writer, start)?;
                writer.zstd_dict(&source.path, frame)?;
                stats.similar.count(size);
                stats.zstd_dict_files += 1;
            }
            (SegmentKind::Similar(source), Some(Edit::Steps(steps) | Edit::Relocated(steps, _))) => {
                let pair = Pair::of(segment, source, layers);
                frames.flush(writer, start)?;
                write_edit(writer, &mut weigher, payload, steps, pair, stats)?;
                stats.similar.count(size);
            }
            (SegmentKind::Similar(source), Some(Edit::Viewed(viewed))) => {
                let decoded = made.decoded.expect(DECODED);
                let Viewed { steps, source: from, view, target, stretches, .. } = viewed;
                let name = SourceRef { path: &source.path, view: view.as_ref() };
                let pair = Pair { name, source: (decoded, from), target: (decoded, target) };
                frames.flush(writer, start)?;
                writer.reencode(stretches)?;
                write_edit(writer, &mut weigher, payload, steps, pair, stats)?;
                stats.similar.count(size);
                stats.seen_through.count(size);
                stats.streams += stretches.len() as u64;
            }
            (SegmentKind::Same(source), _) => {
                if !frames.has_content(start) {
                    frames.flush(writer, start)?;
                    writer.copy(&source.path, 0, size)?;
                }
                stats.same.count(size);
            }
            (SegmentKind::Compressed, Some(Edit::Viewed(viewed))) => {
                let decoded = made.decoded.expect(DECODED);
                frames.flush(writer, start)?;
                writer.reencode(&viewed.stretches)?;
                write_literal(writer, Some(&mut weigher), decoded, viewed.target.clone())?;
                stats.literal.count(size);
                stats.seen_through.count(size);
                stats.streams += viewed.stretches.len() as u64;
            }
            _ => {
                let mut rest = segment.target.clone();
                while !rest.is_empty() {
                    rest.start = match frames.piece(rest.clone()) {
                        Piece::Framed(end) => end,
                        Piece::Literal(piece) => {
                            frames.flush(writer, piece.start)?;
                            write_literal(writer, Some(&mut weigher), layers.new, piece.clone())?;
                            piece.end
                        }
                    };
                }
                stats.literal.count(size);
            }
        }
        if payload.is_some() {
            stats.relocated.count(size);
        }
        advance(writer, size);
    }
    frames.flush(writer, layers.new.size())
}

/// Writes one file: by the payload of a relocated op, or else by steps.
fn write_edit<W: Write>(
    writer: &mut OpWriter<W>,
    weigher: &mut Weigher,
    payload: Option<&[u8]>,
    steps: &[Step],
    pair: Pair<'_>,
    stats: &mut Stats,
) -> Result<()> {
    match payload {
        Some(payload) => Ok(writer.relocated(pair.name, payload)?),
        None => write_steps(writer, Some(weigher), steps, pair, stats),
    }
}
