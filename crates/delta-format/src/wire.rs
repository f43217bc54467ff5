//! Every number of the format: magics, op codes, limits and the integer encoding.
//!
//! The limits are those of the appliers in the field. [`OpReader`](crate::OpReader) enforces them
//! and [`OpWriter`](crate::OpWriter) never writes past them.

use std::io::{self, BufRead};

/// Size of the magic, in bytes. It is not compressed.
pub const MAGIC_SIZE: usize = 8;
/// Magic of tardf1.
pub const MAGIC_V1: [u8; MAGIC_SIZE] = *b"tardf1\n\0";
/// Magic of tardf2.
pub const MAGIC_V2: [u8; MAGIC_SIZE] = *b"tardf2\n\0";
/// Magic of tardf3.
pub const MAGIC_V3: [u8; MAGIC_SIZE] = *b"tardf3\n\0";

/// Op code: `size` payload bytes are emitted.
pub const OP_DATA: u8 = 0;
/// Op code: the payload is the path of the source to read from.
pub const OP_OPEN: u8 = 1;
/// Op code: `size` bytes of the source are emitted.
pub const OP_COPY: u8 = 2;
/// Op code: `size` payload bytes are added to source bytes and emitted.
pub const OP_ADD_DATA: u8 = 3;
/// Op code: `size` is the absolute position to read the source from.
pub const OP_SEEK: u8 = 4;
/// Op code (tardf2): the payload is a zstd frame with the source as its prefix.
pub const OP_ZSTD_DICT: u8 = 5;
/// Op code (tardf3): the payload is the path of a source and the streams of it to read decoded.
pub const OP_OPEN_VIEW: u8 = 6;
/// Op code (tardf3): the payload is a list of stretches that are encoded once they are emitted.
pub const OP_REENCODE: u8 = 7;
/// Op code (tardf3): the payload makes a file of the whole source, with what moved in it predicted.
pub const OP_RELOCATED: u8 = 8;

/// Op code (tardf3): the payload is a list of tar headers.
pub const OP_HEADERS: u8 = 9;
/// Op code (tardf3): the next headers of the list are emitted, with the content of some.
pub const OP_ENTRIES: u8 = 10;

/// Longest source path, in bytes: the Go tar-patch refuses more.
pub const MAX_PATH_SIZE: u64 = 4096;
/// Largest `AddData` op, in bytes: the Go tar-patch and the `oci-delta` crate refuse more.
pub const MAX_ADD_DATA_SIZE: u64 = 100 << 20;
/// Largest `Data` op that is written, in bytes. Appliers stream `Data`, so the value only bounds
/// what a writer holds in memory.
pub const MAX_WRITTEN_DATA_SIZE: usize = 1 << 20;
/// Largest `AddData` op that is written, in bytes: appliers may hold an op's payload in memory.
pub const MAX_WRITTEN_ADD_SIZE: usize = 1 << 20;
/// Base-2 logarithm of the largest zstd window of a delta that is written: flatpak refuses more.
pub const MAX_WRITTEN_WINDOW_LOG: u32 = 27;
/// Base-2 logarithm of the largest zstd window that is read, for the op stream and for
/// `ZstdDict` frames: the limit of upstream's tardf2.
pub const MAX_WINDOW_LOG: u32 = 29;
/// Largest source of a `ZstdDict` op, in bytes: the applier holds it in memory.
pub const MAX_DICT_SIZE: u64 = 1 << 29;
/// Largest payload of an `OpenView`, `Reencode` or `Headers` op, in bytes: the applier holds it in memory.
pub const MAX_VIEW_PAYLOAD: u64 = 16 << 20;
/// Most streams, or stretches, of one op: a file of the archives in the field has fewer.
pub const MAX_VIEW_STREAMS: usize = 1 << 17;
/// The greatest depth of streams in streams: a compressed file in a compressed archive.
pub const MAX_VIEW_DEPTH: usize = 2;
/// Most bytes that are encoded as one stretch: the applier holds them in memory.
pub const MAX_REENCODED_SIZE: u64 = 64 << 20;
/// Most memory that the encoder of a stretch may take, in bytes: several may run at once. `xz -9`
/// takes three times as much, and nothing that lies in layers in numbers is made that way.
pub const MAX_ENCODER_MEMORY: u64 = 256 << 20;
/// Most bytes that a source is read as through a view.
pub const MAX_VIEW_SIZE: u64 = 256 << 20;
/// Largest payload of a `Relocated` op, in bytes: the applier holds it in memory.
pub const MAX_RELOCATED_PAYLOAD: u64 = 1 << 28;
/// Largest source of a `Relocated` op, and the largest file that it makes, in bytes: the applier holds the source in
/// memory.
pub const MAX_RELOCATED_SIZE: u64 = program::MAX_SIZE as u64;
/// The first byte of an xz stream, in which the op stream of a tardf3 may be: no zstd frame starts with it.
pub const XZ_START: u8 = 0xfd;
/// Base-2 logarithm of the largest dictionary of an xz stream that is read, in bytes: the largest window of a
/// zstd frame that is written.
pub const MAX_XZ_DICTIONARY_LOG: u32 = MAX_WRITTEN_WINDOW_LOG;
/// Most bytes of an xz stream in a row that decode to none. A chunk of LZMA2 has 64 KiB at most, and decodes to some.
pub const MAX_IDLE_XZ: usize = 256 << 10;
/// Most ops in a row that emit nothing. A writer needs three (`Open`, `Seek`, an empty op); the
/// limit keeps a delta that decompresses to endless empty ops from taking time without end.
pub const MAX_IDLE_OPS: u64 = 1 << 16;
/// Longest encoding of an integer, in bytes: 64 bits in groups of 7.
pub const MAX_UVARINT_SIZE: usize = 10;

/// Appends `value` in LEB128: groups of 7 bits, least significant first, high bit = more follows.
#[expect(clippy::cast_possible_truncation, reason = "masked to 7 bits")]
pub fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads one LEB128 integer.
///
/// # Errors
/// `InvalidData` if the value does not fit in 64 bits, `UnexpectedEof` if the input ends inside.
pub fn read_uvarint(input: &mut impl BufRead) -> io::Result<u64> {
    let mut value = 0u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = read_byte(input)?;
        let bits = u64::from(byte & 0x7f);
        if bits != 0 && bits > (u64::MAX >> shift) {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "integer over 64 bits"))
}

fn read_byte(input: &mut impl BufRead) -> io::Result<u8> {
    let mut byte = [0];
    input.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uvarint_round_trips_at_the_edges() {
        for value in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_uvarint(&mut bytes, value);
            assert!(bytes.len() <= MAX_UVARINT_SIZE);
            assert_eq!(read_uvarint(&mut bytes.as_slice()).unwrap(), value);
        }
    }

    #[test]
    fn uvarint_refuses_overflow_and_truncation() {
        let over: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        let endless: &[u8] = &[0x80; 16];
        for mut bytes in [over, endless] {
            assert_eq!(read_uvarint(&mut bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        let mut short: &[u8] = &[0x80, 0x80];
        assert_eq!(read_uvarint(&mut short).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
