//! Frames of libzstd versions that are not the one at hand: corrections say how they differ.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;

use fixtures::Rng;
use recode::{Budget, Codec, Recipe, encode, encode_charged, recipe, recipe_within};

/// Source code, of which parts come again with a few changes, so that the frames are small.
fn content() -> Vec<u8> {
    let mut rng = Rng::new(31);
    let mut content = fixtures::contents::source_code(&mut rng, 16_000);
    while content.len() < 400_000 {
        let start = rng.below(content.len() - 4000);
        let end = start + 500 + rng.below(3500);
        content.extend_from_within(start..end);
        let changed = content.len() - 1 - rng.below(400);
        content[changed] = b'a' + u8::try_from(rng.below(26)).unwrap();
    }
    content
}

/// The recipe of the frame of 1.5.4 at level 3.
const RECIPE: [u8; 91] = [
    11, 3, 2, 0, 18, 223, 59, 4, 88, 31, 235, 250, 17, 0, 127, 255, 128, 0, 0, 39, 16, 125, 58, 0, 0, 36, 65,
    103, 121, 216, 120, 92, 107, 88, 239, 57, 51, 35, 198, 141, 56, 178, 128, 4, 86, 163, 42, 242, 95, 105,
    49, 156, 150, 115, 113, 229, 73, 86, 116, 135, 113, 107, 149, 253, 102, 220, 27, 186, 93, 147, 6, 8, 97,
    139, 62, 55, 52, 39, 178, 3, 148, 179, 138, 236, 227, 131, 240, 170, 25, 113, 28,
];

/// The recipe of the frame of klauspost/compress 1.13.6.
const RECIPE_OF_KLAUSPOST: [u8; 42] = [
    12, 2, 0, 23, 0, 191, 61, 4, 104, 31, 235, 250, 17, 0, 164, 63, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 223, 129, 31, 192, 13, 8, 177, 48, 239, 95, 226, 108,
];

/// Frames that other versions made of the content (`fixtures/encoders`), and the most bytes of their recipes.
const FRAMES: [(&str, &[u8], usize); 4] = [
    ("1.5.4, level 3", include_bytes!("../../../fixtures/encoders/libzstd-1.5.4-level-3.zst"), 100),
    ("1.5.4, level 9", include_bytes!("../../../fixtures/encoders/libzstd-1.5.4-level-9.zst"), 80),
    ("1.5.5, level 19", include_bytes!("../../../fixtures/encoders/libzstd-1.5.5-level-19.zst"), 600),
    ("program 1.5.4", include_bytes!("../../../fixtures/encoders/zstd-1.5.4-level-3.zst"), 100),
];

/// Frames that versions of klauspost/compress made of the content whose encoders are not known.
const FRAMES_OF_KLAUSPOST: [(&str, &[u8], usize); 3] = [
    ("1.13.6", include_bytes!("../../../fixtures/encoders/klauspost-1.13.6-default.zst"), 60),
    ("1.13.6, at once", include_bytes!("../../../fixtures/encoders/klauspost-1.13.6-whole.zst"), 60),
    ("1.11.3, better", include_bytes!("../../../fixtures/encoders/klauspost-1.11.3-better.zst"), 900),
];

fn unbounded() -> Budget {
    Budget::new(u64::MAX, u64::MAX)
}

fn made(recipe: &[u8], plain: &[u8]) -> recode::Result<Vec<u8>> {
    let mut made = Vec::new();
    encode(&Recipe::parse(recipe)?, &mut { plain }, plain.len() as u64, &mut made)?;
    Ok(made)
}

#[test]
fn frames_of_other_versions_have_small_recipes() {
    let plain = content();
    for (name, frame, most) in FRAMES {
        let found = recipe_within(Codec::Zstd, frame, &plain, &unbounded()).unwrap();
        let bytes = found.as_bytes();
        assert_eq!((bytes[0], found.encoder_name()), (11, "corrections to libzstd 1.5.7"), "{name}");
        assert!(bytes.len() <= most, "{name}: {}", bytes.len());
        assert!(made(bytes, &plain).unwrap() == frame, "{name}");
    }
}

#[test]
fn frames_of_other_versions_of_klauspost_have_small_recipes() {
    let plain = content();
    for (name, frame, most) in FRAMES_OF_KLAUSPOST {
        let found = recipe(Codec::Zstd, frame, &plain).unwrap();
        let bytes = found.as_bytes();
        assert_eq!(
            (bytes[0], found.encoder_name()),
            (12, "corrections to klauspost/compress zstd"),
            "{name}"
        );
        assert!(bytes.len() <= most, "{name}: {}", bytes.len());
        assert!(made(bytes, &plain).unwrap() == frame, "{name}");
    }
}

/// A writer of any window, and one that flushes, so that blocks end anywhere.
#[test]
fn frames_of_klauspost_of_any_window_are_made_again() {
    let plain = &content()[..200_000];
    for level in [1, 2, 3, 4] {
        let number: &[u8] = if level == 2 { &[8, 0, 0] } else { &[9, level, 0, 0] };
        let mut frame = made(number, plain).unwrap();
        // A window of 512 KiB is enough.
        frame[5] = 9 << 3;
        let found = recipe(Codec::Zstd, &frame, plain).unwrap();
        let bytes = found.as_bytes();
        assert_eq!((&bytes[..2], bytes[3]), (&[12, level][..], 19), "level {level}");
        assert!(bytes.len() < 40, "level {level}: {}", bytes.len());
        assert!(made(bytes, plain).unwrap() == frame, "level {level}");
    }
}

#[test]
fn corrections_mean_what_they_meant() {
    assert!(made(&RECIPE, &content()).unwrap() == FRAMES[0].1);
    assert!(made(&RECIPE_OF_KLAUSPOST, &content()).unwrap() == FRAMES_OF_KLAUSPOST[0].1);
}

/// Frames whose blocks are cut at other places by flushes, at each level that is fast enough.
#[test]
fn frames_of_any_blocks_are_made_again() {
    let plain = content();
    let mut rng = Rng::new(7);
    for level in [1, 3, 5, 7, 12] {
        for has_checksum in [false, true] {
            let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
            encoder.include_checksum(has_checksum).unwrap();
            let mut rest = &plain[..150_000];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(1 + rng.below(40_000)));
                encoder.write_all(piece).unwrap();
                encoder.flush().unwrap();
                rest = behind;
            }
            let frame = encoder.finish().unwrap();
            let found = recipe(Codec::Zstd, &frame, &plain[..150_000]).unwrap();
            assert_eq!(found.as_bytes()[0], 11, "level {level}");
            assert!(found.as_bytes().len() * 8 < frame.len(), "level {level}: {}", found.as_bytes().len());
        }
    }
}

#[test]
fn a_block_that_says_the_same_otherwise_is_carried() {
    // Three literals as they are, in a header of two bytes, and no sequences, in two bytes.
    let block = [0x34, 0, b'a', b'b', b'c', 0x80, 0];
    let head = (block.len() << 3 | 2 << 1 | 1).to_le_bytes();
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x58][..], &head[..3], &block].concat();
    assert_eq!(zstd::decode_all(&frame[..]).unwrap(), b"abc");
    let found = recipe(Codec::Zstd, &frame, b"abc").unwrap();
    assert!([11, 12].contains(&found.as_bytes()[0]));
    assert_eq!(made(found.as_bytes(), b"abc").unwrap(), frame);
}

/// Real writers make no block that is larger than the window; corrections may tell any of both.
#[test]
fn blocks_that_are_larger_than_the_window_end_in_an_error_or_a_frame() {
    let plain = content();
    for (level, window_log) in [(1, 10), (2, 10), (2, 16), (3, 14), (4, 10), (4, 16)] {
        let mut bytes = RECIPE_OF_KLAUSPOST;
        (bytes[1], bytes[3]) = (level, window_log);
        let made = made(&bytes, &plain);
        assert!(made.map_or(true, |made| made.len() < plain.len()), "level {level}, window {window_log}");
    }
}

/// Whatever the corrections say, an encoder comes to an end, within the work that it charges.
#[test]
fn broken_corrections_end_in_an_error_or_a_frame() {
    let plain = &content()[..60_000];
    let mut rng = Rng::new(3);
    let mut frames = 0;
    for turn in 0..300 {
        let mut bytes = if turn % 2 == 0 { RECIPE.to_vec() } else { RECIPE_OF_KLAUSPOST.to_vec() };
        for _ in 0..=rng.below(3) {
            let place = 5 + rng.below(bytes.len() - 5);
            bytes[place] = u8::try_from(rng.below(256)).unwrap();
        }
        bytes.truncate(bytes.len() - rng.below(20));
        let Ok(recipe) = Recipe::parse(&bytes) else { continue };
        let work = std::cell::Cell::new(0);
        let charge = |units| {
            work.set(work.get() + units);
            if work.get() > 1 << 32 { Err(std::io::Error::other("too much")) } else { Ok(()) }
        };
        let mut output = Vec::new();
        let size = plain.len() as u64;
        frames += u32::from(encode_charged(&recipe, &mut { plain }, size, &mut output, &charge).is_ok());
        assert!(output.len() < 5 * plain.len() + (128 << 10));
    }
    assert!(frames < 300);
}

#[test]
fn a_recipe_of_another_form_is_refused() {
    let whole = RECIPE;
    // No such level, flag, window, strategy, and a dictionary.
    for (place, byte) in [(1, 0), (1, 23), (2, 8), (3, 200), (4, 0), (4, 10), (7, 1)] {
        let mut bytes = whole.to_vec();
        bytes[place] = byte;
        assert!(Recipe::parse(&bytes).is_err(), "{place}: {byte}");
    }
    for size in 1..12 {
        assert!(Recipe::parse(&whole[..size]).is_err(), "{size}");
        assert!(Recipe::parse(&RECIPE_OF_KLAUSPOST[..size]).is_err(), "{size}");
    }
    // No such level, version, window, flag, and a dictionary.
    for (place, byte) in [(1, 0), (1, 5), (2, 9), (3, 9), (3, 26), (4, 2), (7, 1)] {
        let mut bytes = RECIPE_OF_KLAUSPOST.to_vec();
        bytes[place] = byte;
        assert!(Recipe::parse(&bytes).is_err(), "{place}: {byte}");
    }
    // Other plain bytes.
    let mut other = content();
    other[1000] ^= 1;
    assert!(made(&whole, &other).map_or(true, |made| made != FRAMES[0].1));
}
