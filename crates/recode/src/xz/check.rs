//! The integrity checks of xz blocks (xz file format 1.2.1, section 3.4).

use flate2::Crc;
use sha2::{Digest, Sha256};

use crate::checksum::crc64_table;

/// The check of one block while its plain bytes go by.
pub(super) enum Check {
    None,
    Crc32(Crc),
    Crc64(u64),
    Sha256(Sha256),
}

impl Check {
    /// The check with this number in the header; others have no definition.
    pub(super) fn new(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Crc32(Crc::new())),
            4 => Some(Self::Crc64(!0)),
            10 => Some(Self::Sha256(Sha256::new())),
            _ => None,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Crc32(crc) => crc.update(bytes),
            Self::Crc64(crc) => {
                for byte in bytes {
                    let [low, ..] = crc.to_le_bytes();
                    *crc = CRC64[usize::from(low ^ byte)] ^ (*crc >> 8);
                }
            }
            Self::Sha256(hash) => hash.update(bytes),
        }
    }

    /// The bytes that follow the block.
    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Crc32(crc) => crc.sum().to_le_bytes().to_vec(),
            Self::Crc64(crc) => (!crc).to_le_bytes().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
        }
    }
}

pub(super) fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

/// The CRC of each byte (ECMA-182).
static CRC64: [u64; 256] = crc64_table(0xc96c_5795_d787_0f42);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_have_their_known_values() {
        let known: [(u8, &[u8]); 3] = [
            (0, &[]),
            (1, &[0x26, 0x39, 0xf4, 0xcb]),
            (4, &[0xfa, 0x39, 0x19, 0xdf, 0xbb, 0xc9, 0x5d, 0x99]),
        ];
        for (id, bytes) in known {
            let mut check = Check::new(id).unwrap();
            check.update(b"1234");
            check.update(b"56789");
            assert_eq!(check.finish(), bytes, "check {id}");
        }
    }
}
