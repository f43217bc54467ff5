//! Compresses the op stream.

use std::io::{self, Write};

use zstd::zstd_safe::{self, CCtx, CParameter, InBuffer, OutBuffer};

use crate::wire::MAX_WRITTEN_WINDOW_LOG;

/// The compression of the op stream. It is always one frame with a checksum.
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
    /// Spends no effort on stretches of several MiB where it gains nothing: the content of
    /// compressed files. Only where there are workers.
    pub skip_incompressible: bool,
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
            skip_incompressible: false,
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

/// Compresses to one frame.
pub(crate) struct Compressor<W: Write> {
    frame: Frame<W>,
    trial: Option<Trial>,
}

/// The frame that is being written.
struct Frame<W: Write> {
    context: CCtx<'static>,
    buffer: Vec<u8>,
    output: W,
}

/// Chooses the level of each stretch.
struct Trial {
    compressors: [zstd::bulk::Compressor<'static>; 2],
    /// The bytes that are not given to the encoder yet.
    stretch: Vec<u8>,
    level: i32,
    /// The level that the encoder has.
    current: i32,
}

impl<W: Write> Compressor<W> {
    /// # Errors
    /// If zstd refuses the parameters.
    pub(crate) fn new(output: W, encoding: Encoding) -> io::Result<Self> {
        let level = encoding.level;
        let trial = if encoding.skip_incompressible && encoding.workers > 0 && level > TRIAL_LEVELS[1] {
            let [fast, better] = TRIAL_LEVELS.map(zstd::bulk::Compressor::new);
            let stretch = Vec::with_capacity(STRETCH_SIZE);
            Some(Trial { compressors: [fast?, better?], stretch, level, current: level })
        } else {
            None
        };
        Ok(Self { frame: Frame::new(output, encoding)?, trial })
    }

    pub(crate) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(trial) = &mut self.trial else { return self.frame.write_all(bytes) };
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(bytes.len().min(STRETCH_SIZE - trial.stretch.len()));
            trial.stretch.extend_from_slice(fits);
            bytes = rest;
            if trial.stretch.len() == STRETCH_SIZE {
                trial.end_stretch(&mut self.frame)?;
            }
        }
        Ok(())
    }

    /// Bytes that are compressed: those that wait for a thread are not.
    pub(crate) fn compressed(&self) -> u64 {
        self.frame.compressed()
    }

    /// Ends the frame and gives back the output. `progress` is told the bytes that are compressed so
    /// far, again and again.
    pub(crate) fn finish(mut self, progress: &dyn Fn(u64)) -> io::Result<W> {
        if let Some(trial) = &mut self.trial {
            trial.end_stretch(&mut self.frame)?;
        }
        self.frame.finish(progress)
    }
}

impl Trial {
    fn end_stretch<W: Write>(&mut self, frame: &mut Frame<W>) -> io::Result<()> {
        let level = if self.effort_pays()? { self.level } else { TRIAL_LEVELS[1] };
        if level != self.current {
            // What came before keeps its level: zstd takes the new one from the next job on.
            frame.flush()?;
            frame.set(CParameter::CompressionLevel(level))?;
            self.current = level;
        }
        frame.write_all(&self.stretch)?;
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
        let mut frame = Self { context, buffer: Vec::with_capacity(OUTPUT_SIZE), output };
        frame.set(CParameter::ChecksumFlag(true))?;
        frame.set(CParameter::CompressionLevel(encoding.level))?;
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
