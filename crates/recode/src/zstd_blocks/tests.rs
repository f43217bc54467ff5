//! Frames that are opened and made again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;

use super::{AS_IT_IS, LAST, OPENED};
use crate::{Codec, Recipe, decode, encode, recipe};

const RECIPE: [u8; 1] = [7];

/// Words, numbers and bytes of all kinds, with parts that come again.
fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut content = Vec::new();
    while content.len() < size {
        match random.u8(..6) {
            0 => content.extend((0..random.usize(..300)).map(|_| random.u8(..))),
            1 => content.extend(std::iter::repeat_n(random.u8(..), random.usize(..5000))),
            2 => content.extend((0..random.usize(..900)).map(|_| b'a' + random.u8(..4) * random.u8(..4))),
            _ if content.is_empty() => {}
            _ => {
                let start = random.usize(..content.len());
                let end = content.len().min(start + random.usize(..700));
                content.extend_from_within(start..end);
            }
        }
    }
    content
}

fn frame(plain: &[u8], level: i32, has_checksum: bool) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
    encoder.include_checksum(has_checksum).unwrap();
    // Pieces, so that blocks of many sizes are there.
    for piece in plain.chunks(70_001) {
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap()
}

fn opened(frame: &[u8]) -> Vec<u8> {
    let mut opened = Vec::new();
    let decoded = decode(Codec::ZstdBlocks, &mut &frame[..], 1 << 30, &mut opened).unwrap();
    assert_eq!((decoded.encoded_size, decoded.plain_size), (frame.len() as u64, opened.len() as u64));
    opened
}

fn made(opened: &[u8]) -> crate::Result<Vec<u8>> {
    let mut made = Vec::new();
    let recipe = Recipe::parse(&RECIPE)?;
    encode(&recipe, &mut &opened[..], opened.len() as u64, &mut made).map(|()| made)
}

#[test]
fn frames_of_all_levels_are_opened_and_made_again() {
    for (level, seed) in [-5, 1, 3, 7, 12, 19, 22].into_iter().zip(0..) {
        let frame = frame(&content(seed, 400_000), level, seed % 2 == 0);
        let opened = opened(&frame);
        // Most of it is open: a frame that is kept as it is would not be larger.
        assert!(opened.len() > frame.len() * 5 / 4, "level {level}: {} of {}", opened.len(), frame.len());
        assert_eq!(made(&opened).unwrap(), frame, "level {level}");
        assert_eq!(recipe(Codec::ZstdBlocks, &frame, &opened).unwrap().as_bytes(), RECIPE);
    }
}

#[test]
fn frames_without_blocks_to_open_are_kept() {
    for plain in [Vec::new(), vec![7; 300_000], content(9, 90)] {
        let frame = frame(&plain, 3, true);
        assert_eq!(made(&opened(&frame)).unwrap(), frame);
    }
}

#[test]
fn a_changed_word_changes_little_of_the_opened_form() {
    let plain = content(20, 300_000);
    let mut other = plain.clone();
    other[2000..2006].copy_from_slice(b"kernel");
    let frames = [&plain, &other].map(|plain| frame(plain, 3, true));
    let unknown = |[left, right]: [&[u8]; 2]| {
        let known: std::collections::HashSet<&[u8]> = left.windows(16).collect();
        right.windows(16).filter(|window| !known.contains(window)).count()
    };
    let of_frames = unknown([&frames[0], &frames[1]]);
    let of_forms = unknown([&opened(&frames[0]), &opened(&frames[1])]);
    assert!(of_forms * 10 < of_frames, "{of_forms}, and {of_frames} of the frames");
}

#[test]
fn a_block_that_says_the_same_otherwise_is_kept() {
    // Three literals as they are, in a header of two bytes where one has room.
    let block = [0x34, 0, b'a', b'b', b'c', 0];
    let head = (block.len() << 3 | 2 << 1 | 1).to_le_bytes();
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x58][..], &head[..3], &block].concat();
    assert_eq!(opened(&frame)[6], OPENED | LAST, "the form of the header is kept, too");
    assert_eq!(made(&opened(&frame)).unwrap(), frame);
    // No sequences, in two bytes.
    let block = [0x18, b'a', b'b', b'c', 0x80, 0];
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x58][..], &head[..3], &block].concat();
    assert_eq!(opened(&frame)[6], AS_IT_IS | LAST);
    assert_eq!(made(&opened(&frame)).unwrap(), frame);
}

#[test]
fn broken_frames_and_forms_end_in_an_error_or_a_frame() {
    let frame = frame(&content(30, 60_000), 12, true);
    let form = opened(&frame);
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..3000 {
        let mut bytes = frame.clone();
        let place = if random.bool() { random.usize(..bytes.len()) } else { random.usize(..200) };
        bytes[place] = random.u8(..);
        bytes.truncate(if random.u8(..8) == 0 { random.usize(..bytes.len()) } else { bytes.len() });
        let mut opened = Vec::new();
        if let Ok(decoded) = decode(Codec::ZstdBlocks, &mut bytes.as_slice(), 1 << 20, &mut opened) {
            let size = usize::try_from(decoded.encoded_size).unwrap();
            assert_eq!(made(&opened).unwrap(), bytes[..size]);
        }
        let mut bytes = form.clone();
        let place = if random.bool() { random.usize(..bytes.len()) } else { random.usize(..300) };
        bytes[place] = random.u8(..);
        bytes.truncate(if random.u8(..8) == 0 { random.usize(..bytes.len()) } else { bytes.len() });
        let _ = made(&bytes);
    }
}
