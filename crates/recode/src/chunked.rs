//! zstd:chunked, as podman, buildah and skopeo push layers: a zstd frame for each part of the tar that may be
//! fetched alone, and skippable frames with a table of contents behind them (containers/storage,
//! `pkg/chunked`).
//!
//! All of it is one stream here: the encoder goes on from frame to frame, and the table names the digests of
//! plain bytes and the places of frames, which need not be carried.

mod body;
mod decode;
mod search;
mod stretches;
mod template;

use std::io::Write;

pub(crate) use self::decode::{TAIL_SIZE, decode, is_chunked};
pub(crate) use self::search::find;

use self::body::{Body, Frame, Skippable};
use self::template::Facts;
use crate::compare::{Plain, put};
use crate::klauspost::{FrameWriter, Settings};
use crate::wire::{Fields, put_number};
use crate::{EncodingWork, Error, Result};

/// Most bytes of the body of a recipe, and of the texts that are made by it.
const MAX_SIZE: u64 = 64 << 20;
/// Most frames of a blob, skippable ones, and runs of frames whose digests are told.
const MAX_FRAMES: usize = 1 << 18;
const MAX_SKIPPABLE: u64 = 16;
const MAX_RUNS: usize = 1 << 18;
/// Most stretches of plain bytes that tar-split tells: two for each file.
const MAX_STRETCHES: usize = 1 << 19;
/// Bytes of memory beside those of the encoder, the body and the texts: those of frames and digests.
const OTHER_MEMORY: u64 = 56 << 20;
/// Units of work for a byte of the body and of the texts.
const BODY_WORK: u64 = 64;
/// Units of work for a frame beside its bytes: its tables, and its share of counting all places anew.
const FRAME_WORK: u64 = 128 << 10;
/// Units of work for a byte of plain bytes beside the encoder: its digests.
const DIGEST_WORK: u64 = 24;

const MISMATCH: Error = Error::Mismatch { reason: "the frames have other plain bytes" };

/// The parameters that make the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    settings: &'static Settings,
    /// Bytes of the body and of the texts.
    body_size: u64,
    text_size: u64,
    /// The body, compressed with zstd.
    packed: Vec<u8>,
}

impl Plan {
    pub(crate) fn parse(mut fields: Fields<'_>) -> Result<Self> {
        let settings = Settings::parse(&mut fields)?;
        let (body_size, text_size) = (fields.number()?, fields.number()?);
        if body_size > MAX_SIZE || text_size > MAX_SIZE {
            return Err(Error::BadRecipe { reason: "its body is too large" });
        }
        Ok(Self { settings, body_size, text_size, packed: fields.rest().to_vec() })
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        self.settings.write(bytes);
        put_number(bytes, self.body_size);
        put_number(bytes, self.text_size);
        bytes.extend_from_slice(&self.packed);
    }

    /// Returns the plan that makes what a body says.
    fn of_body(settings: &'static Settings, body: &Body) -> Option<Self> {
        const LEVEL: i32 = 19;
        let bytes = body.write();
        let (body_size, text_size) = (bytes.len() as u64, body.text_size());
        let packed = zstd::bulk::compress(&bytes, LEVEL).ok()?;
        let is_small = body_size <= MAX_SIZE && text_size <= MAX_SIZE;
        is_small.then_some(Self { settings, body_size, text_size, packed })
    }

    /// Returns the body.
    fn body(&self) -> Result<Body> {
        /// Base-2 logarithm of the largest window: that of level 19.
        const MAX_WINDOW_LOG: u32 = 23;
        const BROKEN: Error = Error::BadRecipe { reason: "its body cannot be read" };
        let mut decoder = zstd::stream::read::Decoder::new(&self.packed[..]).map_err(|_| BROKEN)?;
        decoder.window_log_max(MAX_WINDOW_LOG).map_err(|_| BROKEN)?;
        let mut bytes = Vec::new();
        let mut reader = std::io::Read::take(decoder, self.body_size + 1);
        std::io::Read::read_to_end(&mut reader, &mut bytes).map_err(|_| BROKEN)?;
        if bytes.len() as u64 != self.body_size {
            return Err(BROKEN);
        }
        let body = Body::read(Fields::new(&bytes))?;
        // Memory and work were told by it before the body was read.
        if body.text_size() != self.text_size {
            return Err(Error::BadRecipe { reason: "its texts have another size" });
        }
        Ok(body)
    }

    pub(crate) const fn memory(&self) -> u64 {
        self.settings.memory() + OTHER_MEMORY + 4 * self.body_size + 3 * self.text_size
    }

    /// Returns the cost of encoding, in units of about a nanosecond.
    pub(crate) const fn encoding_work(&self) -> EncodingWork {
        let (setup, byte) = self.settings.work();
        let setup = setup + BODY_WORK * (self.body_size + self.text_size);
        EncodingWork { setup, byte: byte + DIGEST_WORK }
    }

    pub(crate) fn encode(&self, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
        let body = self.body()?;
        let mut writer = FrameWriter::new(self.settings);
        let mut facts = Facts::new(body.wanted()?);
        let mut output = Counted { output, written: 0 };
        for frame in &body.frames {
            plain.charge(FRAME_WORK)?;
            let start = output.written;
            match frame {
                Frame::Made { plain_size } => {
                    writer.write(plain, *plain_size, &mut output, &mut |bytes| facts.update(bytes))?;
                }
                Frame::Carried { plain_size, bytes } => {
                    let mut left = *plain_size;
                    let mut buffer = vec![0; 64 << 10];
                    while left > 0 {
                        let size = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                        if plain.read(&mut buffer[..size])? < size {
                            return Err(MISMATCH);
                        }
                        facts.update(&buffer[..size]);
                        left -= size as u64;
                    }
                    put(&mut output, bytes)?;
                }
            }
            facts.end_frame(start, frame.plain_size());
        }
        facts.end(output.written);
        if plain.left() > 0 {
            return Err(MISMATCH);
        }
        let mut text_left = self.text_size;
        for Skippable { magic, content } in &body.skippable {
            let content = match content {
                body::Content::Carried(bytes) => bytes.clone(),
                body::Content::Text(template) => {
                    plain.charge(FRAME_WORK)?;
                    let text = template.text(&facts, text_left)?;
                    text_left -= text.len() as u64;
                    writer.frame_of(&text)?
                }
            };
            let size = u32::try_from(content.len()).map_err(|_| MISMATCH)?;
            put(&mut output, &[*magic, 0x2a, 0x4d, 0x18])?;
            put(&mut output, &size.to_le_bytes())?;
            put(&mut output, &content)?;
        }
        Ok(())
    }
}

/// An output whose bytes are counted.
struct Counted<'o> {
    output: &'o mut dyn Write,
    written: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.flush()
    }
}
