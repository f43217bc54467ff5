//! A search costs what it is granted, also for files that are made to cost more.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::io::Write;

use recode::{
    Budget, Codec, Recipe, Refused, encode, encode_charged, find_within, measured_recipe_within, recipe,
    recipe_within,
};

const MEMORY: u64 = u64::MAX;
const MAX_PLAIN: usize = 256 << 20;

fn deflate(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A gzip file whose stream decodes to `size` bytes and then breaks.
fn broken_bomb(size: usize) -> Vec<u8> {
    let mut stream = deflate(&vec![0; size], 9);
    stream.truncate(stream.len() - 8);
    // A block of the type that RFC 1951 reserves.
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &stream, &[0xff; 8]].concat()
}

/// Asserts that a search of the file ends when the units are spent, and returns the plain bytes that it found.
fn spend(file: &[u8], units: u64) -> usize {
    let budget = Budget::new(units, MEMORY);
    let found = find_within(file, MAX_PLAIN, &budget);
    assert!(budget.is_spent());
    found.iter().map(|found| found.plain.len()).sum()
}

/// Returns the units that a search of the file takes, with as many as it wants.
fn cost(file: &[u8]) -> u64 {
    let budget = Budget::new(u64::MAX, MEMORY);
    find_within(file, MAX_PLAIN, &budget);
    u64::MAX - budget.work()
}

#[test]
fn streams_that_break_are_charged_like_whole_ones() {
    let size = 1 << 20;
    assert!(cost(&broken_bomb(size)) > size as u64 / 2);
    assert_eq!(spend(&broken_bomb(size), 100_000), 0);
}

#[test]
fn no_more_is_decoded_than_is_granted() {
    let whole = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &deflate(&vec![7; 1 << 20], 9), &[0; 8]].concat();
    let both = [&whole[..], &whole].concat();
    assert!(cost(&both) < 12 << 20);
    assert_eq!(spend(&both, 6 << 20), 1 << 20);
}

#[test]
fn bytes_that_decode_to_nothing_are_charged() {
    // Empty stored blocks, without end.
    let blocks = [0, 0, 0, 0xff, 0xff].repeat(200_000);
    let file = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &blocks].concat();
    assert!(cost(&file) >= blocks.len() as u64);
    assert_eq!(spend(&file, 100_000), 0);
}

#[test]
fn headers_are_charged() {
    let frames = b"\x50\x2a\x4d\x18\0\0\0\0".repeat(100_000);
    assert!(cost(&frames) >= 800_000);
    assert_eq!(spend(&frames, 1000), 0);
    let empty = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0].repeat(1000);
    assert!(cost(&empty) >= 1_000_000, "each sets up a decoder");
}

#[test]
fn a_long_name_in_a_gzip_header_is_not_read_to_its_end() {
    let stream = deflate(b"plain", 6);
    let of_name = |size: usize| {
        let header = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..], &vec![b'n'; size], &[0]].concat();
        let file = [&header[..], &stream, &[0; 8]].concat();
        find_within(&file, MAX_PLAIN, &Budget::of_file(file.len() as u64)).len()
    };
    assert_eq!([of_name(0), of_name(4095), of_name(4096), of_name(1 << 20)], [1, 1, 0, 0]);
}

#[test]
fn entries_of_a_zip_directory_are_charged() {
    let local = [&b"PK\x03\x04"[..], &[0; 26]].concat();
    let entry = [&b"PK\x01\x02"[..], &[0; 42]].concat();
    let count = 10_000_u16;
    let mut end = [&b"PK\x05\x06"[..], &[0; 18]].concat();
    end[10..12].copy_from_slice(&count.to_le_bytes());
    end[16] = u8::try_from(local.len()).unwrap();
    let file = [&local[..], &entry.repeat(usize::from(count)), &end].concat();
    assert!(cost(&file) >= 64 * u64::from(count));
    assert_eq!(spend(&file, 200_000), 0);
}

#[test]
fn encoders_that_fail_at_the_end_are_charged() {
    // Every level of zlib makes the same of zeros, but not of the last block.
    let plain = vec![0; 4 << 20];
    let mut stream = deflate(&plain, 9);
    let budget = Budget::new(1 << 22, MEMORY);
    let found = recipe_within(Codec::Deflate, &stream, &plain, &budget);
    assert!(matches!(found, Err(Refused::OverBudget)), "{found:?}");
    assert!(budget.is_spent());
    assert!(recipe(Codec::Deflate, &stream, &plain).is_ok(), "the usual budget is enough");
    stream.extend([3, 0]);
    let found = recipe(Codec::Deflate, &stream, &plain);
    assert!(matches!(found, Err(Refused::OverBudget)), "that of a few kilobytes is not: {found:?}");
}

#[test]
fn encoders_of_too_much_memory_are_not_set_up() {
    let plain = fixtures::contents::text(&mut fixtures::Rng::new(2), 50_000);
    let frame = zstd::encode_all(&*plain, 19).unwrap();
    let within = |memory| {
        let budget = Budget::of_file(frame.len() as u64).with_memory(memory);
        recipe_within(Codec::Zstd, &frame, &plain, &budget).map(|recipe| recipe.memory() <= memory)
    };
    assert_eq!(within(1 << 20), Err(Refused::TooMuchMemory));
    assert_eq!(within(256 << 20), Ok(true));
}

#[test]
fn a_measured_recipe_tells_all_that_encoding_charges() {
    // Of two letters: each string stands in thousands of places, and the parser looks at them all.
    let letters: Vec<u8> = fixtures::Rng::new(5).bytes(60_000).iter().map(|byte| b'a' + (byte & 1)).collect();
    for (plain, costs_more) in [(letters, true), (b"a line of text\n".repeat(4000), false)] {
        let encoded = deflate(&plain, 9);
        let budget = Budget::new(u64::MAX, MEMORY);
        let measured = measured_recipe_within(Codec::Deflate, &encoded, &plain, &budget).unwrap();
        let estimate = measured.recipe.encoding_work(plain.len() as u64);
        let charged = Cell::new(estimate.setup);
        let charge = |units| {
            charged.set(charged.get() + units);
            Ok(())
        };
        let mut made = Vec::new();
        let size = plain.len() as u64;
        encode_charged(&measured.recipe, &mut &plain[..], size, &mut made, &charge).unwrap();
        assert!(made == encoded);
        assert_eq!(measured.work, charged.get());
        let of_bytes = estimate.setup + estimate.byte * (plain.len() + encoded.len()) as u64;
        assert_eq!(measured.work > 3 * of_bytes, costs_more, "{} of {of_bytes}", measured.work);
    }
}

/// The proof of a recipe makes the stream once. What else a search does concerns the start of the stream.
#[test]
fn a_stream_of_a_slow_encoder_is_made_once_while_its_recipe_is_found() {
    let plain = fixtures::contents::source_code(&mut fixtures::Rng::new(31), 3 << 20);
    // The best level of zstd of klauspost/compress, and level 9 of Go 1.26 and 1.27 and of klauspost/compress 1.15.12.
    let recipes: [(Codec, &[u8]); 4] = [
        (Codec::Zstd, &[9, 4, 0, 0]),
        (Codec::Deflate, &[6, 41]),
        (Codec::Deflate, &[6, 25]),
        (Codec::Deflate, &[6, 233]),
    ];
    for (codec, bytes) in recipes {
        let mut made = Vec::new();
        let mut bytes = bytes.to_vec();
        if codec == Codec::Deflate {
            // With another size, the stream comes out and is then refused.
            let _ = encode(&recipe_of_size(&bytes, plain.len()), &mut &*plain, plain.len() as u64, &mut made);
            bytes = recipe_of_size(&bytes, made.len()).as_bytes().to_vec();
        } else {
            encode(&Recipe::parse(&bytes).unwrap(), &mut &*plain, plain.len() as u64, &mut made).unwrap();
        }
        let budget = Budget::new(u64::MAX, MEMORY);
        let found = measured_recipe_within(codec, &made, &plain, &budget).unwrap();
        assert_eq!(found.recipe.as_bytes(), bytes);
        let spent = u64::MAX - budget.work();
        // What else is searched is a little more than the proof where most of its work is strings that are compared.
        assert!(spent < found.work * 9 / 4, "{bytes:?}: {spent} for {}", found.work);
        let charged = Cell::new(found.recipe.encoding_work(plain.len() as u64).setup);
        let charge = |units| {
            charged.set(charged.get() + units);
            Ok(())
        };
        encode_charged(&found.recipe, &mut &*plain, plain.len() as u64, &mut Vec::new(), &charge).unwrap();
        assert_eq!(charged.get(), found.work, "{bytes:?}");
    }
}

/// Modules of a kernel are many such frames. The tables of the slow levels of klauspost/compress would take longer than
/// everything else.
#[test]
fn a_small_frame_that_needs_corrections_is_searched_without_large_tables() {
    let plain = fixtures::contents::source_code(&mut fixtures::Rng::new(31), 12_000);
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.set_pledged_src_size(Some(plain.len() as u64)).unwrap();
    // No encoder is known that ends a block here.
    let (first, second) = plain.split_at(5000);
    encoder.write_all(first).unwrap();
    encoder.flush().unwrap();
    encoder.write_all(second).unwrap();
    let frame = encoder.finish().unwrap();
    let budget = Budget::new(u64::MAX, MEMORY);
    let found = recipe_within(Codec::Zstd, &frame, &plain, &budget).unwrap();
    assert_eq!(found.encoder_name(), "corrections to libzstd 1.5.7");
    let spent = u64::MAX - budget.work();
    assert!(spent < 60_000_000, "{spent}");
}

/// Zeros are a thousand times as large as their stream, and what is granted follows the stream.
#[test]
fn long_runs_of_zeros_have_recipes_within_what_their_streams_grant() {
    let mut rng = fixtures::Rng::new(41);
    let stretch = [vec![0; 1 << 20], rng.bytes(300), (0..=199).collect::<Vec<u8>>().repeat(3)].concat();
    let (zeros, between) = (vec![0; 24 << 20], stretch.repeat(12));
    // libdeflate at the levels 1 and 6, igzip at 1 and 3, pigz at 1 and 6.
    for number in [161, 166, 193, 195, 209, 214] {
        for plain in [&zeros, &between] {
            let (mut made, size) = (Vec::new(), plain.len() as u64);
            let _ = encode(&recipe_of_size(&[6, number], plain.len()), &mut &**plain, size, &mut made);
            let expected = recipe_of_size(&[6, number], made.len());
            let found = recipe(Codec::Deflate, &made, plain).unwrap();
            // Other levels of the encoder make the same of zeros.
            assert_eq!(found.encoder_name(), expected.encoder_name(), "{number}");
            assert_eq!(found.as_bytes().len(), expected.as_bytes().len(), "{number}");
        }
    }
}

fn recipe_of_size(start: &[u8], size: usize) -> Recipe {
    let mut bytes = start.to_vec();
    let mut left = size;
    while left >= 0x80 {
        bytes.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    bytes.push(left.to_le_bytes()[0]);
    Recipe::parse(&bytes).unwrap()
}
