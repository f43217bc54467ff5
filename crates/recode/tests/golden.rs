//! Recipes mean the same bytes for ever: an update of a library that makes others must not pass.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;

use recode::{Codec, ENCODERS, Recipe, decode, encode, recipe};
use sha2::{Digest, Sha256};

/// The stream that a recipe makes of these plain bytes.
fn stream(recipe: &[u8], plain: &[u8]) -> Vec<u8> {
    let recipe = Recipe::parse(recipe).unwrap();
    let mut made = Vec::new();
    encode(&recipe, &mut { plain }, plain.len() as u64, &mut made).unwrap();
    made
}

/// The first bytes of the SHA-256 of some bytes, in hexadecimal.
fn hexadecimal(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..8].iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The digest of a stream of these plain bytes.
fn digest(recipe: &[u8], plain: &[u8]) -> String {
    hexadecimal(&stream(recipe, plain))
}

/// A layer that skopeo 1.9.3 compressed as zstd:chunked.
const CHUNKED: &[u8] = include_bytes!("../../../fixtures/encoders/skopeo-1.9.3-chunked.tar.zst");
/// A frame of libzstd 1.5.4, which corrections describe.
const CORRECTED: &[u8] = include_bytes!("../../../fixtures/encoders/libzstd-1.5.4-level-9.zst");
/// A frame of klauspost/compress 1.13.6, which corrections describe, too.
const CORRECTED_OF_KLAUSPOST: &[u8] =
    include_bytes!("../../../fixtures/encoders/klauspost-1.13.6-default.zst");
/// A recipe of xz for 800,000 plain bytes.
const XZ: &[u8] = &[2, 1, 4, 0x5d, 1, 0x80, 0xea, 0x30, 1, 0, 0x21, 1, 0x10, 0, 0, 0];

#[test]
fn recipes_mean_what_they_meant() {
    let mut rng = fixtures::Rng::new(11);
    let text = fixtures::contents::text(&mut rng, 400_000);
    let code = fixtures::contents::source_code(&mut rng, 400_000);
    let plain = [text, code].concat();
    let recipes: [(&[u8], &str); 10] = [
        (&[0, 1, 15, 8, 0], "7ca2cfaa521567da"),
        (&[0, 6, 15, 8, 0], "708922774c4b623e"),
        (&[0, 9, 12, 5, 1], "ad363e6f770a5491"),
        (&[5, 6], "62f61b4c495f68cc"),
        (XZ, "58084fd799801a78"),
        (&[3, 3, 0, 0], "8d8e28990299c721"),
        (&[3, 19, 3, 0], "a95f4794acebec43"),
        (&[3, 1, 6, 0], "665880898adb2056"),
        (&[4, 1], "91b6eb87ed9d38fb"),
        (&[4, 9], "e4a47b2395c8cae3"),
    ];
    let made: Vec<_> = recipes.iter().map(|(recipe, _)| digest(recipe, &plain)).collect();
    assert_eq!(made, recipes.map(|(_, expected)| expected));
}

#[test]
fn corrections_mean_what_they_meant() {
    let plain = fixtures::contents::source_code(&mut fixtures::Rng::new(12), 3000);
    assert_eq!(digest(&CORRECTIONS, &plain), "9734dc9370eb1cce");
}

const CORRECTIONS: [u8; 76] = [
    1, 1, 149, 10, 0, 34, 164, 16, 16, 15, 255, 255, 250, 148, 91, 137, 201, 33, 209, 62, 178, 197, 93, 29,
    107, 220, 201, 136, 66, 160, 5, 7, 103, 236, 131, 215, 152, 26, 71, 154, 198, 23, 185, 65, 87, 163, 167,
    199, 143, 15, 254, 113, 144, 183, 38, 18, 185, 247, 9, 220, 29, 233, 125, 246, 185, 133, 187, 149, 56,
    155, 50, 95, 63, 192, 172, 65,
];

/// The recipe of what skopeo made of these plain bytes.
#[test]
fn pgzip_means_what_it_meant() {
    let plain = fixtures::contents::source_code(&mut fixtures::Rng::new(13), 70_000);
    let recipe = [
        1, 15, 240, 132, 1, 0, 67, 127, 209, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 217, 149, 2, 150, 239, 82, 66,
        235, 94, 169, 9, 239, 206, 125, 44, 53, 32, 103, 249, 113, 246, 224, 157, 177, 166, 253, 184, 21, 46,
        169, 161, 160, 226, 152, 146, 37, 173, 182, 45, 26, 24, 56, 157, 198, 196, 48, 137, 77, 175, 149,
        233, 63, 231, 209, 86, 147, 108, 245, 52, 27, 232, 213, 88, 66, 204, 201, 33, 79, 178, 93, 77, 103,
        227, 186, 166,
    ];
    assert_eq!(digest(&recipe, &plain), "d737b7af43c86f60");
}

/// The recipe of what klauspost/pgzip 1.2.6 on klauspost/compress 1.11.3 made of these plain bytes, with parts as umoci
/// asks for them.
#[test]
fn umoci_means_what_it_meant() {
    let plain = fixtures::contents::source_code(&mut fixtures::Rng::new(14), 300_000);
    let recipe = [
        6, 149, 145, 171, 4, 0, 167, 122, 68, 0, 204, 191, 152, 134, 249, 68, 72, 247, 75, 180, 174, 153,
        213, 47, 189, 98, 77, 65, 195, 131, 23, 228, 43, 160, 2, 156, 103, 192, 252, 157, 73, 89, 173, 205,
        110, 25, 82, 108, 155, 163, 43, 210, 217, 51, 61, 18, 231, 199, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 188, 151, 224,
        242, 64, 15, 75, 153, 99, 141, 73,
    ];
    assert_eq!(digest(&recipe, &plain), "527a46874ef797c7");
}

/// Streams of every encoder and every version that a recipe can name, and recipes that were found. Whoever remembers
/// what recipes made compares [`ENCODERS`]: it has to change whenever one of them makes other bytes.
#[test]
fn the_name_of_the_encoders_is_that_of_what_they_make() {
    let mut rng = fixtures::Rng::new(15);
    let code = fixtures::contents::source_code(&mut rng, 100_000);
    let plain = [&code[..], &rng.bytes(70_000), &vec![0; 50_000], &code[..80_000]].concat();
    let size = plain.len() as u64;
    let mut hash = Sha256::new();

    let of_levels = |level| (0..16).map(move |version| vec![9, level, version, 0]);
    let of_klauspost = (0..16).map(|version| vec![8, version, 0]).chain((0..16).flat_map(of_levels));
    let of_zlib = (1..=9).map(|level| vec![0, level, 15, 8, 0]).chain((1..=9).map(|level| vec![5, level]));
    for recipe in of_zlib.chain(of_klauspost).filter(|recipe| Recipe::parse(recipe).is_ok()) {
        hash.update(stream(&recipe, &plain));
    }
    for number in 16..=u8::MAX {
        // The size of the stream is part of the recipe: too long a one tells it.
        let Ok(longer) = Recipe::parse(&[6, number, 0xff, 0xff, 0x7f]) else { continue };
        let mut made = Vec::new();
        let _ = encode(&longer, &mut plain.as_slice(), size, &mut made);
        assert!(made.len() > 50_000, "{number}");
        hash.update(made);
    }
    hash.update(stream(&CORRECTIONS, &fixtures::contents::source_code(&mut fixtures::Rng::new(12), 3000)));
    let for_xz = code.repeat(8);
    for recipe in [XZ, &[3, 3, 0, 0], &[3, 19, 3, 0], &[4, 9]] {
        hash.update(stream(recipe, &for_xz));
    }
    let frame = stream(&[3, 3, 0, 0], &for_xz);
    let found = [
        (Codec::ZstdBlocks, &frame[..]),
        (Codec::ZstdChunked, CHUNKED),
        (Codec::Zstd, CORRECTED),
        (Codec::Zstd, CORRECTED_OF_KLAUSPOST),
    ];
    for (codec, encoded) in found {
        let mut plain = Vec::new();
        decode(codec, &mut { encoded }, u64::MAX, &mut plain).unwrap();
        let recipe = recipe(codec, encoded, &plain).unwrap();
        assert!(codec != Codec::Zstd || recipe.encoder_name().starts_with("corrections"));
        hash.update(recipe.as_bytes());
    }
    assert_eq!(hexadecimal(&hash.finalize()), ENCODERS);
}

/// A longer match is looked for behind the first byte of one whose size does not fit a byte. The digests are of streams
/// of libdeflate 1.14.
#[test]
fn matches_of_over_255_bytes_have_longer_ones_behind_them() {
    let mut state = 7_u64;
    let mut noise = |size: usize| -> Vec<u8> {
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..size).map(next).collect()
    };
    noise(300);
    let other = noise(2000);
    let mut plain = Vec::new();
    for size in [256, 257] {
        let block = noise(600);
        plain.extend_from_slice(&block);
        plain.extend(noise(1));
        plain.extend_from_slice(&block[100..100 + size]);
        plain.extend(noise(50));
    }
    plain.extend(other);
    let recipes: [(&[u8], &str); 2] =
        [(&[6, 168, 154, 26], "3ceb2cb67c1fd3ea"), (&[6, 169, 154, 26], "3ceb2cb67c1fd3ea")];
    for (recipe, expected) in recipes {
        assert_eq!(digest(recipe, &plain), expected, "{recipe:?}");
    }
}
