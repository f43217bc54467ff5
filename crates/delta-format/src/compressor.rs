//! Compresses the op stream.

use std::io::{self, Write};

use zstd::zstd_safe::{self, CCtx, CParameter, InBuffer, OutBuffer};

use crate::wire::MAX_WRITTEN_WINDOW_LOG;

mod tables;
mod xz;

use tables::Tables;
use xz::XzStream;

/// The compression of the op stream. It is always one frame, or one xz stream, with a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// zstd level, 1 to 22.
    pub level: i32,
    /// Base-2 logarithm of the window in bytes; `None` lets zstd choose by level. Values over 27
    /// are lowered to 27, the most that flatpak accepts.
    pub window_log: Option<u32>,
    /// True if zstd looks for long matches all over the window.
    pub long_distance: bool,
    /// Threads that compress. 0 compresses in the calling thread; the bytes differ between 0 and
    /// more than 0, not between 1 and N.
    pub workers: u32,
    /// Bytes of the op stream that one thread compresses at a time; `None` lets zstd choose by
    /// window. Every thread holds a few times as much. Changes the bytes.
    pub job_size: Option<u32>,
    /// The part of the window that a thread looks back to beyond its own bytes: 9 is all of it, each
    /// less is half as much, down to 1 for nothing; `None` lets zstd choose by level.
    pub overlap_log: Option<u32>,
    /// Bytes that the op stream has at most, about. zstd's tables of strings are then no larger than such a stream
    /// can fill; one that is longer after all is compressed less well. `None` takes the tables of the level.
    pub stream_size: Option<u64>,
    /// Spends no effort on stretches of several MiB where it gains nothing: the content of
    /// compressed files. Only where there are workers.
    pub skip_incompressible: bool,
    /// Spends less effort on what comes after the first bytes of a long stream. Only where
    /// [`skip_incompressible`](Self::skip_incompressible) has an effect.
    pub lesser: Option<LesserEffort>,
    /// Bytes of the dictionary of LZMA2. With one, the op stream becomes an xz stream in place of a zstd frame, and no
    /// other field counts. That is smaller, takes one thread, and an applier takes longer to read it. For tardf3 alone.
    pub xz_dictionary: Option<u32>,
}

/// The effort for the rest of a long stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LesserEffort {
    /// Bytes of the op stream before it, rounded up to whole stretches of 4 MiB.
    pub after: u64,
    /// zstd level.
    pub level: i32,
    /// Base-2 logarithm of the links in zstd's tables of strings. Smaller tables stay nearer to the processor
    /// and remember less; long-distance matching has a table of its own.
    pub table_log: u32,
}

impl Default for Encoding {
    fn default() -> Self {
        Self {
            level: 3,
            window_log: None,
            long_distance: false,
            workers: 0,
            job_size: None,
            overlap_log: None,
            stream_size: None,
            skip_incompressible: false,
            lesser: None,
            xz_dictionary: None,
        }
    }
}

/// Bytes of the op stream that get one level.
const STRETCH_SIZE: usize = 4 << 20;
/// The trial compresses one piece in so many bytes of a stretch.
const TRIAL_DISTANCE: usize = 1 << 20;
/// Bytes of such a piece.
const TRIAL_SIZE: usize = 256 << 10;
/// zstd levels of the trial. Stretches where the second gains next to nothing over the first are
/// compressed with the second, as more effort gains nothing either.
const TRIAL_LEVELS: [i32; 2] = [1, 6];
/// The gain is next to nothing below one byte of this many.
const MIN_GAIN: usize = 100;

/// Compressed bytes that are given to the output at once, in bytes.
const OUTPUT_SIZE: usize = 128 << 10;

/// Compresses to one frame, or to one xz stream.
pub(crate) enum Compressor<W: Write> {
    Zstd { frame: Frame<W>, trial: Option<Box<Trial>> },
    Xz(XzStream<W>),
}

/// The frame that is being written.
pub(crate) struct Frame<W: Write> {
    context: CCtx<'static>,
    /// Bytes that zstd looks back to at any time, at most, if that is known.
    reach: Option<u64>,
    buffer: Vec<u8>,
    output: W,
}

/// Chooses the level of each stretch.
pub(crate) struct Trial {
    compressors: [zstd::bulk::Compressor<'static>; 2],
    /// The bytes that are not given to the encoder yet.
    stretch: Vec<u8>,
    effort: Effort,
    lesser: Option<LesserEffort>,
    /// The effort that the encoder has.
    current: Effort,
    /// Bytes that were given to the encoder, and those of them with the effort that was asked for.
    given: u64,
    full_effort: u64,
}

/// A level of zstd, and the size of its tables if it is not that of the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Effort {
    level: i32,
    table_log: Option<u32>,
}

impl Effort {
    const fn of_level(level: i32) -> Self {
        Self { level, table_log: None }
    }
}

impl<W: Write> Compressor<W> {
    /// # Errors
    /// If zstd or liblzma refuses the parameters.
    pub(crate) fn new(output: W, encoding: Encoding) -> io::Result<Self> {
        if let Some(dictionary) = encoding.xz_dictionary {
            return XzStream::new(output, dictionary).map(Self::Xz);
        }
        let level = encoding.level;
        let trial = if encoding.skip_incompressible && encoding.workers > 0 && level > TRIAL_LEVELS[1] {
            let [fast, better] = TRIAL_LEVELS.map(zstd::bulk::Compressor::new);
            let stretch = Vec::with_capacity(STRETCH_SIZE);
            let effort = Effort::of_level(level);
            let lesser = encoding.lesser;
            let compressors = [fast?, better?];
            let current = effort;
            Some(Box::new(Trial { compressors, stretch, effort, lesser, current, given: 0, full_effort: 0 }))
        } else {
            None
        };
        Ok(Self::Zstd { frame: Frame::new(output, encoding)?, trial })
    }

    pub(crate) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let (frame, trial) = match self {
            Self::Zstd { frame, trial: Some(trial) } => (frame, trial),
            Self::Zstd { frame, trial: None } => return frame.write_all(bytes),
            Self::Xz(stream) => return stream.write_all(bytes),
        };
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(bytes.len().min(STRETCH_SIZE - trial.stretch.len()));
            trial.stretch.extend_from_slice(fits);
            bytes = rest;
            if trial.stretch.len() == STRETCH_SIZE {
                trial.end_stretch(frame)?;
            }
        }
        Ok(())
    }

    /// Bytes that are compressed: those that wait for a thread are not.
    pub(crate) fn compressed(&self) -> u64 {
        match self {
            Self::Zstd { frame, .. } => frame.compressed(),
            Self::Xz(stream) => stream.compressed(),
        }
    }

    /// Gives all that was written to the threads.
    pub(crate) fn end_stretch(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd { frame, trial: Some(trial) } => trial.end_stretch(frame),
            Self::Zstd { trial: None, .. } | Self::Xz(_) => Ok(()),
        }
    }

    /// Bytes that were given to the threads with the effort that was asked for, where there is a choice.
    pub(crate) fn full_effort(&self) -> u64 {
        match self {
            Self::Zstd { trial, .. } => trial.as_ref().map_or(0, |trial| trial.full_effort),
            Self::Xz(stream) => stream.compressed(),
        }
    }

    /// Ends the frame and gives back the output. `progress` is told the bytes that are compressed so
    /// far, again and again.
    pub(crate) fn finish(mut self, progress: &dyn Fn(u64)) -> io::Result<W> {
        self.end_stretch()?;
        match self {
            Self::Zstd { frame, .. } => frame.finish(progress),
            Self::Xz(stream) => stream.finish(),
        }
    }
}

impl Trial {
    fn end_stretch<W: Write>(&mut self, frame: &mut Frame<W>) -> io::Result<()> {
        if self.stretch.is_empty() {
            return Ok(());
        }
        let pays = self.effort_pays()?;
        let effort = match self.lesser {
            _ if !pays => Effort::of_level(TRIAL_LEVELS[1]),
            Some(LesserEffort { after, level, table_log }) if self.given >= after => {
                Effort { level, table_log: Some(table_log) }
            }
            _ => self.effort,
        };
        if effort != self.current {
            // What came before keeps its effort: zstd takes the new one from the next job on.
            frame.flush()?;
            frame.set_effort(effort)?;
            self.current = effort;
        }
        frame.write_all(&self.stretch)?;
        self.given += self.stretch.len() as u64;
        if effort == self.effort {
            self.full_effort += self.stretch.len() as u64;
        }
        self.stretch.clear();
        Ok(())
    }

    fn effort_pays(&mut self) -> io::Result<bool> {
        let mut sizes = [0; 2];
        for piece in self.stretch.chunks(TRIAL_DISTANCE) {
            let piece = &piece[..piece.len().min(TRIAL_SIZE)];
            for (size, compressor) in sizes.iter_mut().zip(&mut self.compressors) {
                *size += compressor.compress(piece)?.len();
            }
        }
        let [fast, better] = sizes;
        Ok(better + fast / MIN_GAIN < fast)
    }
}

impl<W: Write> Frame<W> {
    fn new(output: W, encoding: Encoding) -> io::Result<Self> {
        let context = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        let reach = tables::reach(&encoding);
        let mut frame = Self { context, reach, buffer: Vec::with_capacity(OUTPUT_SIZE), output };
        frame.set(CParameter::ChecksumFlag(true))?;
        frame.set_effort(Effort::of_level(encoding.level))?;
        if encoding.long_distance {
            frame.set(CParameter::EnableLongDistanceMatching(true))?;
        }
        // Long-distance matching alone makes the default window 2^27: within the limit.
        if let Some(window_log) = encoding.window_log {
            frame.set(CParameter::WindowLog(window_log.clamp(10, MAX_WRITTEN_WINDOW_LOG)))?;
        } else if encoding.level >= 20 {
            frame.set(CParameter::WindowLog(MAX_WRITTEN_WINDOW_LOG))?;
        }
        if encoding.workers > 0 {
            frame.set(CParameter::NbWorkers(encoding.workers))?;
            if let Some(size) = encoding.job_size {
                frame.set(CParameter::JobSize(size))?;
            }
            if let Some(log) = encoding.overlap_log {
                frame.set(CParameter::OverlapSizeLog(log))?;
            }
        }
        Ok(frame)
    }

    fn set(&mut self, parameter: CParameter) -> io::Result<()> {
        self.context.set_parameter(parameter).map(drop).map_err(zstd_error)
    }

    fn set_effort(&mut self, effort: Effort) -> io::Result<()> {
        self.set(CParameter::CompressionLevel(effort.level))?;
        let Tables { links_log, hash_log } = Tables::of(effort, self.reach);
        self.set(CParameter::ChainLog(links_log))?;
        self.set(CParameter::HashLog(hash_log))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            self.step(|context, output| context.compress_stream(output, &mut input))?;
        }
        Ok(())
    }

    /// Waits until all that was given is compressed and written.
    fn flush(&mut self) -> io::Result<()> {
        while self.step(|context, output| context.flush_stream(output))? > 0 {}
        Ok(())
    }

    fn compressed(&self) -> u64 {
        self.context.get_frame_progression().consumed
    }

    fn finish(mut self, progress: &dyn Fn(u64)) -> io::Result<W> {
        while self.step(|context, output| context.end_stream(output))? > 0 {
            progress(self.compressed());
        }
        Ok(self.output)
    }

    /// Does one step of zstd's, and writes what comes out of it.
    fn step(
        &mut self,
        step: impl FnOnce(&mut CCtx<'static>, &mut OutBuffer<'_, Vec<u8>>) -> zstd_safe::SafeResult,
    ) -> io::Result<usize> {
        self.buffer.clear();
        let rest = step(&mut self.context, &mut OutBuffer::around(&mut self.buffer)).map_err(zstd_error)?;
        self.output.write_all(&self.buffer)?;
        Ok(rest)
    }
}

fn zstd_error(code: zstd_safe::ErrorCode) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_long_stream_gets_the_lesser_effort() {
        let content = fixtures::contents::text(&mut fixtures::Rng::new(1), 3 * STRETCH_SIZE);
        let lesser = LesserEffort { after: 1, level: 1, table_log: 14 };
        let compress = |lesser, size: usize| {
            let encoding =
                Encoding { level: 9, workers: 2, skip_incompressible: true, lesser, ..Encoding::default() };
            let mut compressor = Compressor::new(Vec::new(), encoding).unwrap();
            compressor.write_all(&content[..size]).unwrap();
            compressor.end_stretch().unwrap();
            let full_effort = compressor.full_effort();
            let frame = compressor.finish(&|_| ()).unwrap();
            assert!(zstd::decode_all(&frame[..]).unwrap() == content[..size]);
            (full_effort, frame.len())
        };
        let (full, size) = compress(None, content.len());
        assert_eq!(full, content.len() as u64);
        let (full, lesser_size) = compress(Some(lesser), content.len());
        assert_eq!(full, STRETCH_SIZE as u64);
        assert!(lesser_size > size, "{lesser_size} {size}");
        assert_eq!(compress(Some(lesser), STRETCH_SIZE), compress(None, STRETCH_SIZE));
    }
}
