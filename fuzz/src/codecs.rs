//! Compressed streams: decoded, found, and made again.

use std::io::{self, Read, Write};

use layer::Compression;
use recode::{Codec, Found, Recipe, encode, find};

use crate::Input;
use crate::ops::Bounded;

/// Most plain bytes of a stream here.
const MAX_PLAIN: usize = 1 << 20;
/// Most memory of an encoder in bytes: what an applier allows.
const MAX_ENCODER_MEMORY: u64 = 256 << 20;

/// Every decoder ends within its bound, whatever bytes it is given, and decodes the stream that it
/// took again, to the same bytes, if nothing follows.
pub fn decode(data: &[u8]) {
    let mut input = Input::new(data);
    let codec = Codec::from_code(input.within(0..=6));
    let encoded = input.rest();
    let Some(codec) = codec else { return decode_layer(encoded) };
    let Some((decoded, plain)) = decode_one(codec, encoded) else { return };
    let (again, same) = decode_one(codec, &encoded[..decoded]).expect("it was decoded before");
    assert!((again, same) == (decoded, plain));
}

/// The size of the stream at the start, and its plain bytes.
fn decode_one(codec: Codec, mut encoded: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (all, mut plain) = (encoded.len(), Vec::new());
    let decoded = recode::decode(codec, &mut encoded, MAX_PLAIN as u64, &mut plain);
    assert!(plain.len() <= MAX_PLAIN);
    let decoded = decoded.ok()?;
    assert_eq!(decoded.plain_size, plain.len() as u64);
    let size = usize::try_from(decoded.encoded_size).expect("of the input");
    assert!(size <= all);
    Some((size, plain))
}

/// As a layer comes: whatever its magic says.
fn decode_layer(encoded: &[u8]) {
    let compression = Compression::detect(&encoded[..encoded.len().min(Compression::MAGIC_SIZE)]);
    if let Ok(decoder) = compression.decoder(encoded) {
        let _ = io::copy(&mut decoder.take(4 * MAX_PLAIN as u64), &mut io::sink());
    }
}

/// What is found in a file lies in it, in order, within the bound, and decodes to what was found; a
/// recipe makes the same stream.
pub fn recode(data: &[u8]) {
    let mut input = Input::new(data);
    let (kind, level, edits) = (input.byte(), input.byte(), input.within(0..=3));
    let edits: Vec<_> = (0..edits).map(|_| (input.word(), input.byte())).collect();
    let mut file = try_compress(kind, level, input.rest());
    let size = file.len().max(1);
    for (place, byte) in edits {
        if let Some(at) = file.get_mut(usize::from(place) % size) {
            *at ^= byte;
        }
    }
    let (mut end, mut sum) = (0, 0);
    for Found { codec, encoded, plain } in find(&file, MAX_PLAIN) {
        assert!(end <= encoded.start && encoded.start <= encoded.end && encoded.end <= file.len());
        (end, sum) = (encoded.end, sum + plain.len());
        assert!(sum <= MAX_PLAIN);
        let stream = &file[encoded];
        assert!(decode_one(codec, stream).expect("it was found") == (stream.len(), plain.clone()));
        let Ok(recipe) = recode::recipe(codec, stream, &plain) else { continue };
        assert_eq!(Recipe::parse(recipe.as_bytes()).expect("as it was written"), recipe);
        assert_eq!(recipe.codec(), codec);
        let mut made = Vec::new();
        encode(&recipe, &mut plain.as_slice(), plain.len() as u64, &mut made).expect("it was proved");
        assert!(made == stream, "another stream");
    }
}

/// The kind of [`try_compress`] that makes xz streams.
pub(crate) const XZ: u8 = 2;

/// A file with these bytes compressed, in one of several ways; the bytes themselves for other kinds.
pub fn try_compress(kind: u8, level: u8, plain: &[u8]) -> Vec<u8> {
    let level = u32::from(level);
    let made = match kind {
        1 => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level % 10));
            writer.write_all(plain).and_then(|()| writer.finish())
        }
        XZ => {
            let mut writer = liblzma::write::XzEncoder::new(Vec::new(), level % 4);
            writer.write_all(plain).and_then(|()| writer.finish())
        }
        3 => zstd::bulk::compress(plain, i32::try_from(1 + level % 19).unwrap_or(1)),
        4 => {
            let level = bzip2::Compression::new(1 + level % 9);
            let mut writer = bzip2::write::BzEncoder::new(Vec::new(), level);
            writer.write_all(plain).and_then(|()| writer.finish())
        }
        5 => zstd::encode_all(plain, i32::try_from(1 + level % 5).unwrap_or(1)),
        // Two members.
        6 => {
            let (first, second) = plain.split_at(plain.len() / 2);
            let of = |part| try_compress(1, level.to_le_bytes()[0], part);
            Ok([of(first), of(second)].concat())
        }
        _ => Ok(plain.to_vec()),
    };
    made.expect("a vector takes all")
}

/// Whatever bytes a recipe has, it is refused, or it is read as it is written; encoding with it ends
/// within the bounds of an applier.
pub fn recipe(data: &[u8]) {
    let mut input = Input::new(data);
    let plain = input.sized();
    let Ok(recipe) = Recipe::parse(input.rest()) else { return };
    assert_eq!(recipe.as_bytes(), input.rest());
    if recipe.memory() > MAX_ENCODER_MEMORY {
        return;
    }
    let mut output = Bounded { bytes: Vec::new(), max: 2 * plain.len() + (1 << 20) };
    let _ = encode(&recipe, &mut &plain[..], plain.len() as u64, &mut output);
}
