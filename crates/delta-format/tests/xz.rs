//! Op streams of tardf3 that are xz streams.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::io::Write;

use delta_format::{CorruptKind, Encoding, Error, Op, OpReader, OpWriter, Result, Version, wire};
use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use liblzma::write::XzEncoder;

const CONTENT: &[u8] = b"bytes that the delta carries, that the delta carries and no source has";

fn delta() -> Vec<u8> {
    let encoding = Encoding { xz_dictionary: Some(1 << 16), ..Encoding::default() };
    let mut writer = OpWriter::new(Vec::new(), Version::V3, encoding).unwrap();
    writer.literal(CONTENT).unwrap();
    let (delta, stats) = writer.finish().unwrap();
    assert_eq!(stats.full_effort_size, stats.stream_size);
    delta
}

/// The payload of the only op.
fn read(delta: &[u8]) -> Result<Vec<u8>> {
    let mut reader = OpReader::new(delta)?;
    let mut payload = Vec::new();
    while let Some(op) = reader.next_op()? {
        let Op::Data { size } = op else { panic!("{op:?}") };
        payload.resize(usize::try_from(size).unwrap().min(1 << 20), 0);
        reader.read_payload(&mut payload)?;
    }
    Ok(payload)
}

/// An op stream that carries [`CONTENT`], encoded with a dictionary of `dictionary` bytes, and what precedes LZMA2.
fn encoded(dictionary: u32, filter: impl FnOnce(&mut Filters)) -> Vec<u8> {
    let mut options = LzmaOptions::new_preset(0).unwrap();
    options.dict_size(dictionary);
    let mut filters = Filters::new();
    filter(&mut filters);
    filters.lzma2(&options);
    let stream = Stream::new_stream_encoder(&filters, Check::Crc64).unwrap();
    let mut encoder = XzEncoder::new_stream(wire::MAGIC_V3.to_vec(), stream);
    let head = [wire::OP_DATA, u8::try_from(CONTENT.len()).unwrap()];
    encoder.write_all(&[&head, CONTENT].concat()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_xz_stream_is_an_op_stream_of_tardf3_alone() {
    let mut delta = delta();
    assert_eq!(delta[wire::MAGIC_SIZE], wire::XZ_START);
    assert_eq!(read(&delta).unwrap(), CONTENT);
    for magic in [wire::MAGIC_V1, wire::MAGIC_V2] {
        delta[..wire::MAGIC_SIZE].copy_from_slice(&magic);
        assert!(matches!(read(&delta), Err(Error::Stream { op_index: 0, .. })));
    }
}

#[test]
fn dictionaries_up_to_the_limit_are_read() {
    let limit = 1 << wire::MAX_XZ_DICTIONARY_LOG;
    assert_eq!(read(&encoded(limit, |_| ())).unwrap(), CONTENT);
    assert!(matches!(read(&encoded(limit + limit / 2, |_| ())), Err(Error::Stream { .. })));
}

#[test]
fn a_stream_that_is_cut_off_or_followed_by_something_is_refused() {
    let delta = delta();
    for end in wire::MAGIC_SIZE + 1..delta.len() {
        let error = read(&delta[..end]).unwrap_err();
        assert!(matches!(error, Error::Corrupt { kind: CorruptKind::Truncated, .. }), "{end}: {error:?}");
    }
    for more in [&b"x"[..], &[0; 4], &delta[wire::MAGIC_SIZE..]] {
        let error = read(&[&delta, more].concat()).unwrap_err();
        assert!(matches!(error, Error::Stream { .. }), "{error:?}");
    }
}

#[test]
fn blocks_of_no_bytes_end_early() {
    // The .xz File Format, 2.1.1 and 3.1: a stream without checks, and blocks with nothing but the end of LZMA2.
    let with_crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        [bytes, &crc.sum().to_le_bytes()].concat()
    };
    let block = |dictionary| [with_crc(&[2, 0, 0x21, 1, dictionary, 0, 0, 0]), vec![0; 4]].concat();
    let pair = [block(30), block(29)].concat();
    let start = [&wire::MAGIC_V3[..], b"\xfd7zXZ\0", &with_crc(&[0, 0])].concat();
    let error = read(&[start, pair.repeat(1 << 15)].concat()).unwrap_err();
    assert!(
        matches!(&error, Error::Stream { source, .. } if source.to_string().contains("nothing")),
        "{error:?}"
    );
}

#[test]
fn a_stream_with_a_byte_changed_is_refused() {
    let delta = delta();
    for place in wire::MAGIC_SIZE..delta.len() {
        for bit in [1, 0x10, 0x80] {
            let mut damaged = delta.clone();
            damaged[place] ^= bit;
            assert!(read(&damaged).is_err(), "{place}");
        }
    }
}
