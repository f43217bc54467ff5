//! Stretches of plain bytes that follow one another: those between the files of a tar, and the files, of
//! which tar-split keeps a CRC alone.

use super::template::Stretch;
use crate::checksum::crc64_table;

/// The stretches, and what is known of them.
pub(super) struct Stretches {
    wanted: Vec<Stretch>,
    /// The bytes of stretches and the CRCs of the others, and where each of them ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Bytes that are left of the next one, and the CRC of those before.
    left: u64,
    crc: u64,
}

impl Stretches {
    pub(super) fn new(wanted: Vec<Stretch>) -> Self {
        let left = wanted.first().map_or(0, |stretch| stretch.size);
        let mut stretches = Self { wanted, bytes: Vec::new(), ends: Vec::new(), left, crc: !0 };
        stretches.pass_ends();
        stretches
    }

    /// Passes the stretches that have no more bytes.
    fn pass_ends(&mut self) {
        while self.left == 0
            && let Some(stretch) = self.wanted.get(self.ends.len())
        {
            if stretch.is_crc {
                self.bytes.extend((!self.crc).to_be_bytes());
            }
            self.ends.push(self.bytes.len());
            self.crc = !0;
            self.left = self.wanted.get(self.ends.len()).map_or(0, |stretch| stretch.size);
        }
    }

    /// Takes plain bytes.
    pub(super) fn update(&mut self, mut plain: &[u8]) {
        while let Some(stretch) = self.wanted.get(self.ends.len()).filter(|_| !plain.is_empty()) {
            let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(plain.len());
            let (taken, rest) = plain.split_at(size);
            if stretch.is_crc {
                self.crc = crc(self.crc, taken);
            } else {
                self.bytes.extend_from_slice(taken);
            }
            self.left -= size as u64;
            plain = rest;
            self.pass_ends();
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let start = index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.bytes.get(start..*self.ends.get(index)?)
    }
}

/// The CRC of each byte (ISO 3309).
static TABLE: [u64; 256] = crc64_table(0xd8 << 56);

fn crc(crc: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(crc, |crc, byte| TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ crc >> 8)
}
