//! bzip2 streams, by libbz2-rs, which makes the bytes of bzip2 1.0.

use std::io::Write;

use bzip2::{Action, Compress, Compression, Status};

use crate::compare::{Plain, put};
use crate::wire::Fields;
use crate::{Codec, EncodingWork, Error, Refused, Result};

const BUFFER_SIZE: usize = 64 << 10;

/// The parameters that make a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// 1 to 9: blocks of so many times 100 kB.
    level: u8,
}

impl Plan {
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Result<Self> {
        let level = fields.byte()?;
        if !(1..=9).contains(&level) {
            return Err(Error::BadRecipe { reason: "no such level of bzip2" });
        }
        fields.end()?;
        Ok(Self { level })
    }

    pub(crate) fn write(self, bytes: &mut Vec<u8>) {
        bytes.push(self.level);
    }

    /// Most memory that the encoder takes, in bytes ("Memory management" in the manual of bzip2).
    pub(crate) fn memory(self) -> u64 {
        (400 << 10) + u64::from(self.level) * 800_000
    }

    /// Returns the cost of encoding, in units of about a nanosecond.
    pub(crate) fn encoding_work(self) -> EncodingWork {
        EncodingWork { setup: u64::from(self.level) * 600_000, byte: 200 }
    }

    pub(crate) fn encode(self, plain: &mut Plain<'_>, output: &mut dyn Write) -> Result<()> {
        let mut encoder = Compress::new(Compression::new(u32::from(self.level)), 0);
        let (mut input, mut encoded) = (vec![0; BUFFER_SIZE], vec![0; BUFFER_SIZE]);
        let (mut start, mut end) = (0, 0);
        loop {
            if start == end {
                (start, end) = (0, plain.read(&mut input)?);
            }
            // What is held is not yet in when the end is called.
            let action = if start == end { Action::Finish } else { Action::Run };
            let (taken, given) = (encoder.total_in(), encoder.total_out());
            let status = encoder
                .compress(&input[start..end], &mut encoded, action)
                .map_err(|error| Error::Encoder { codec: Codec::Bzip2, reason: error.to_string() })?;
            start += usize::try_from(encoder.total_in() - taken).unwrap_or(0);
            let made = usize::try_from(encoder.total_out() - given).unwrap_or(0);
            put(output, &encoded[..made])?;
            if status == Status::StreamEnd {
                return Ok(());
            }
        }
    }
}

/// The plan of a stream, whose header tells all.
pub(crate) fn find(start: &[u8]) -> Result<Plan, Refused> {
    match start {
        [b'B', b'Z', b'h', level @ b'1'..=b'9', ..] => Ok(Plan { level: level - b'0' }),
        _ => Err(Refused::NotTheStream),
    }
}
