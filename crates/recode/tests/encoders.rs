//! The encoders of Go make the same bytes here as there: digests of what real ones made.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;

use recode::{Codec, Recipe, encode, recipe};
use sha2::{Digest, Sha256};

/// Sizes of plain bytes: all of them, whole chunks, and the ends that are coded in ways of their own.
const SIZES: [usize; 17] = [
    usize::MAX,
    0,
    1,
    16,
    17,
    32,
    33,
    127,
    128,
    129,
    131_070,
    131_080,
    131_090,
    131_110,
    131_190,
    131_198,
    400_000,
];

/// Number in recipes, and the digest of the streams of all sizes, one behind the other, by compress/flate of the
/// version of Go and the level.
const ENCODERS: [(u8, &str, &str); 20] = [
    (17, "go1.27.0, level 1", "c4b9389669ed9a9a"),
    (18, "go1.27.3, level 2", "c136533522f372e5"),
    (19, "go1.27.3, level 3", "688871c258354f33"),
    (20, "go1.27.3, level 4", "3ac6ca0319b75530"),
    (21, "go1.27.0, level 5", "6f99c0a437fe2f1e"),
    (22, "go1.27.0, level 6", "bf09427cca58a0fb"),
    (23, "go1.27.0, level 7", "1552849b80782a89"),
    (24, "go1.27.0, level 8", "f5feed268f87962a"),
    (25, "go1.27.0, level 9", "bbf1fe61a17e8b10"),
    (26, "go1.27.0, level -2", "19c977817fec3147"),
    (33, "go1.26.0, level 1", "f0e40bebcef273dd"),
    (34, "go1.26.0, level 2", "fbf6b1c3977addd8"),
    (35, "go1.26.0, level 3", "d6d1b1b0ddb61c0a"),
    (36, "go1.26.0, level 4", "f53031a5dd9ff3bf"),
    (37, "go1.26.0, level 5", "884bebd848f9f2dd"),
    (38, "go1.26.0, level 6", "3d8e6e7e66712e25"),
    (39, "go1.26.0, level 7", "f1cc5787a3772b81"),
    (40, "go1.26.0, level 8", "e8744d617a7b7524"),
    (41, "go1.26.0, level 9", "d0059ac6a4f5c0c7"),
    (42, "go1.26.0, level -2", "4b5a49d6f4cd2a08"),
];

/// Source code, a log and zeros, noise that is stored, and letters for which Huffman codes are all that helps.
fn contents() -> Vec<u8> {
    let mut rng = fixtures::Rng::new(20);
    let code = fixtures::contents::source_code(&mut rng, 300_000);
    let letters: Vec<u8> =
        (0..150_000).map(|_| rng.pick(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH")).collect();
    let noise = rng.bytes(150_000);
    let log = fixtures::contents::log(&mut rng, 100_000);
    [&code[..], &letters, &noise, &vec![0; 200_000], &log, &code[..200_000]].concat()
}

/// The recipe of a stream that an encoder makes without corrections.
fn of_number(number: u8, mut size: usize) -> Vec<u8> {
    let mut bytes = vec![6, number];
    while size >= 0x80 {
        bytes.push(size.to_le_bytes()[0] | 0x80);
        size >>= 7;
    }
    bytes.push(size.to_le_bytes()[0]);
    bytes
}

/// Makes the stream of an encoder. Its size is not known before: the output tells by ending too early.
fn stream(number: u8, plain: &[u8]) -> Vec<u8> {
    let (mut size, mut made) = (0, Vec::new());
    loop {
        made.clear();
        let parsed = Recipe::parse(&of_number(number, size)).unwrap();
        if encode(&parsed, &mut { plain }, plain.len() as u64, &mut made).is_ok() {
            return made;
        }
        size = if size == 0 { plain.len() + 100 } else { made.len() };
    }
}

#[test]
fn streams_are_those_of_go() {
    let contents = contents();
    for (number, name, expected) in ENCODERS {
        let mut hash = Sha256::new();
        for size in SIZES {
            hash.update(stream(number, &contents[..size.min(contents.len())]));
        }
        let digest = hash.finalize()[..8].iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        assert_eq!(digest, expected, "{name}");
    }
}

#[test]
fn the_recipe_of_a_stream_of_go_is_its_number_and_size() {
    let contents = contents();
    for (number, name, _) in ENCODERS {
        let stream = stream(number, &contents);
        let found = recipe(Codec::Deflate, &stream, &contents).unwrap();
        assert_eq!(found.as_bytes(), of_number(number, stream.len()), "{name}");
    }
}
