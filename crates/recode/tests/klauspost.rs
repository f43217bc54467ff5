//! The encoder of klauspost/compress makes the same frames here as there: digests of what real ones made.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;

use fixtures::Rng;
use recode::{Budget, Codec, Recipe, encode, measured_recipe_within, recipe};
use sha2::{Digest, Sha256};

/// Sizes of plain bytes: all of them, those around whole blocks, and frames of one block.
const SIZES: [usize; 18] = [
    usize::MAX,
    0,
    1,
    15,
    16,
    17,
    255,
    256,
    1023,
    1024,
    1025,
    70_000,
    131_071,
    131_072,
    131_073,
    131_090,
    262_144,
    400_000,
];

/// Number of the version in recipes, and the digests of what the writer and `EncodeAll` of a version made of
/// all sizes of all contents, one behind the other, without checksums.
const VERSIONS: [(u8, &str, &str, &str); 4] = [
    (0, "1.19.0", "9a56289a78d15994", "250f0ad957d60503"),
    (1, "1.17.7", "537c2846f9721f59", "3bf71a8dddf124bf"),
    (2, "1.16.7", "48bdbb2ccd210f7b", "e7e2f077f2853fff"),
    (3, "1.16.3", "7a9f19619c39393f", "090aa9b0eb0627e1"),
];

/// Level and number of the version in recipes, and the digests of what the writer and `EncodeAll` of a
/// version made of the contents of [`few`], one behind the other, without checksums.
const LEVELS: [(u8, u8, &str, &str, &str); 20] = [
    (1, 0, "1.19.1", "7cb0baa3e5d028eb", "923d42f2037d830c"),
    (1, 1, "1.17.7", "21e73a2f3675e334", "0fd852bcda5e12d4"),
    (1, 2, "1.16.7", "21e73a2f3675e334", "0fd852bcda5e12d4"),
    (1, 3, "1.16.3", "21e73a2f3675e334", "0fd852bcda5e12d4"),
    (3, 0, "1.19.1", "c33103e523b63152", "a5682ba3642e7492"),
    (3, 1, "1.17.7", "f84ad2f37475e4d3", "4bae969258693757"),
    (3, 2, "1.17.4", "5996424cdf530c5d", "4bae969258693757"),
    (3, 3, "1.17.2", "b76b926eccb26b5a", "4ceac92548597493"),
    (3, 4, "1.16.7", "b76b926eccb26b5a", "4ceac92548597493"),
    (3, 5, "1.16.3", "b76b926eccb26b5a", "4ceac92548597493"),
    (3, 6, "1.15.9", "3df259e6f2667e30", "ef8032bd359c8928"),
    (4, 0, "1.19.1", "8da8f7f3934b973b", "118e0c786463c9a9"),
    (4, 1, "1.17.7", "105d80e77ac47954", "270f8bbbc7832e5e"),
    (4, 2, "1.17.5", "896dc78ad62708c6", "d8b4f522fe3a5973"),
    (4, 3, "1.17.4", "b370db2559eea351", "d8b4f522fe3a5973"),
    (4, 4, "1.17.2", "5ca2e97bd65e136b", "0dd62971f8daa803"),
    (4, 5, "1.16.7", "5ca2e97bd65e136b", "0dd62971f8daa803"),
    (4, 6, "1.15.12", "b852d284ac541156", "4f1b557f3a472b2c"),
    (4, 7, "1.16.0", "4439db9dfc43add1", "698602a11f4a3f1c"),
    (4, 8, "1.16.3", "f6d7754735baf01d", "6a628e5444ed7a11"),
];

/// Contents that make the encoder choose in each way that it has.
fn contents() -> Vec<Vec<u8>> {
    let mut rng = Rng::new(21);
    let code = fixtures::contents::source_code(&mut rng, 300_000);
    let log = fixtures::contents::log(&mut rng, 100_000);
    let letters: Vec<u8> =
        (0..150_000).map(|_| rng.pick(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH")).collect();
    let noise = rng.bytes(150_000);
    let mixed = [&code[..], &letters, &noise, &vec![0; 200_000], &log, &code[..200_000]].concat();
    // Blocks that are nearly one match, with a few literals that may be coded.
    let mut copies = noise[..131_072].to_vec();
    for change in 0..40_usize {
        let mut copy = copies[copies.len() - 131_072..].to_vec();
        for index in 0..change {
            copy[1000 + index * 200] = rng.pick(b"aaab");
        }
        copies.extend(copy);
    }
    // Noise in which matches save about what they have to.
    let mut margin = Vec::new();
    for repeated in 0..24_usize {
        let start = margin.len();
        while margin.len() - start < 131_072 {
            let size = 131_072 - (margin.len() - start);
            margin.extend(rng.bytes(size.min(2000)));
            let size = (131_072 - (margin.len() - start)).min(repeated * 4);
            margin.extend_from_within(start..start + size);
        }
    }
    // Pieces of all sizes from near and far, so that all codes of sequences come.
    let mut pieces = Vec::new();
    while pieces.len() < 1_500_000 {
        match rng.below(6) {
            0 => {
                let size = rng.below(300);
                pieces.extend(rng.bytes(size));
            }
            1 => pieces.extend(vec![rng.pick(b"xyz"); rng.below(5000)]),
            2 => pieces.extend((0..rng.below(900)).map(|_| rng.pick(b"aaaabbcdefgh"))),
            _ if pieces.is_empty() => {}
            _ => {
                let start = rng.below(pieces.len());
                let size = 1_usize << rng.below(12);
                pieces.extend_from_within(start..pieces.len().min(start + size));
            }
        }
    }
    vec![mixed, copies, margin, pieces, vec![7; 500_000], log]
}

/// Contents for each level: the starts of some, and sizes around those of blocks and of literals that are coded.
fn few() -> Vec<Vec<u8>> {
    let contents = contents();
    let starts =
        [(0, 330_000), (1, 280_000), (3, 300_000), (2, 131_072), (4, 65_537), (5, 65_536), (5, 65_535)];
    let sizes = [0, 1, 9, 10, 15, 16, 17, 31, 32, 36, 40, 47, 48, 200, 1023, 1024, 6000];
    let starts = starts.into_iter().chain(sizes.map(|size| (5, size))).chain(sizes.map(|size| (0, size)));
    starts.map(|(content, size)| contents[content][..size].to_vec()).collect()
}

/// Contents that are larger than the window, and repeat what is about as far away as the window reaches.
fn far() -> Vec<u8> {
    let mut rng = Rng::new(22);
    let mut far = Vec::new();
    while far.len() < 19 << 20 {
        let (near, size) = (rng.below(20_000), rng.between(20, 3000));
        far.extend((0..rng.below(4000)).map(|_| rng.pick(b"aaaabbcdefghijklmnopqrst")));
        if let Some(start) = far.len().checked_sub((8 << 20) + 10_000 - near) {
            far.extend_from_within(start..start + size);
        } else {
            far.extend(rng.bytes(size));
        }
    }
    far
}

/// The recipe of a frame that has no checksum.
fn of_version(version: u8, is_whole: bool) -> Vec<u8> {
    vec![8, version, u8::from(is_whole)]
}

fn made(recipe: &[u8], plain: &[u8]) -> Vec<u8> {
    let (recipe, mut made) = (Recipe::parse(recipe).unwrap(), Vec::new());
    encode(&recipe, &mut { plain }, plain.len() as u64, &mut made).unwrap();
    made
}

fn digest(frames: impl Iterator<Item = Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    frames.for_each(|frame| hash.update(frame));
    hash.finalize()[..8].iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn frames_are_those_of_klauspost() {
    let contents = contents();
    let plains = || {
        let of = |content: &'_ Vec<u8>| SIZES.map(|size| content[..size.min(content.len())].to_vec());
        contents.iter().flat_map(of)
    };
    for (version, name, of_writer, of_whole) in VERSIONS {
        // The writer has what is less than a block at once.
        let is_whole = |size: usize| size > 0 && size < 128 << 10;
        let frames = plains().map(|plain| made(&of_version(version, is_whole(plain.len())), &plain));
        assert_eq!(digest(frames), of_writer, "the writer of {name}");
        let frames = plains().map(|plain| made(&of_version(version, true), &plain));
        assert_eq!(digest(frames), of_whole, "EncodeAll of {name}");
    }
}

#[test]
fn frames_are_those_of_klauspost_at_each_level() {
    let few = few();
    for (level, version, name, of_writer, of_whole) in LEVELS {
        let of = |plain: &[u8], is_whole: bool| made(&[9, level, version, u8::from(is_whole)], plain);
        // The writer has what is less than a block at once.
        let block_size = if level == 1 { 64 << 10 } else { 128 << 10 };
        let is_whole = |plain: &[u8]| (1..block_size).contains(&plain.len());
        let frames = few.iter().map(|plain| of(plain, is_whole(plain)));
        assert_eq!(digest(frames), of_writer, "the writer of {name} at level {level}");
        let frames = few.iter().map(|plain| of(plain, true));
        assert_eq!(digest(frames), of_whole, "EncodeAll of {name} at level {level}");
    }
}

#[test]
fn the_level_of_a_frame_is_found() {
    let content = &contents()[3][..200_000];
    for (level, ..) in LEVELS.into_iter().filter(|(_, version, ..)| *version == 0) {
        for is_whole in [false, true] {
            let expected = [9, level, 0, u8::from(is_whole)];
            let frame = made(&expected, content);
            assert_eq!(zstd::decode_all(&frame[..]).unwrap(), content, "level {level}");
            assert_eq!(recipe(Codec::Zstd, &frame, content).unwrap().as_bytes(), expected);
        }
    }
    for broken in [&[9, 2, 0, 0][..], &[9, 0, 0, 0], &[9, 5, 0, 0], &[9, 1, 5, 0], &[9, 4, 9, 0], &[9, 4, 0]]
    {
        assert!(Recipe::parse(broken).is_err(), "{broken:?}");
    }
}

#[test]
fn matches_reach_as_far_as_those_of_klauspost() {
    assert_eq!(digest(std::iter::once(made(&of_version(0, false), &far()))), "8527800160a84a87");
}

/// A layer of the writer with its recipe and the one that skopeo made, which writes the first eight bytes alone.
#[test]
fn the_recipe_of_a_layer_is_a_few_bytes() {
    let of_writer: &[u8] = include_bytes!("../../../fixtures/encoders/klauspost-1.19.0.tar.zst");
    let of_skopeo: &[u8] = include_bytes!("../../../fixtures/encoders/skopeo-1.9.3.tar.zst");
    let start_of_skopeo = b"\0\x08\x08\x40\0\0usr/\0\0\0\0";
    for (frame, carried) in [(of_writer, &b""[..]), (of_skopeo, start_of_skopeo)] {
        let plain = zstd::decode_all(frame).unwrap();
        let found = recipe(Codec::Zstd, frame, &plain).unwrap();
        let checksum = &frame[frame.len() - 4..];
        assert_eq!(found.as_bytes(), [&[8, 0, 2], checksum, carried].concat());
        assert_eq!(made(found.as_bytes(), &plain), frame);
    }
    // A layer of one small file.
    let plain =
        [&b"usr/\0\0\0\0"[..], &[0; 504], &fixtures::contents::text(&mut Rng::new(1), 200), &[0; 1336]]
            .concat();
    let small = [&[8, 0, 0], &start_of_skopeo[..]].concat();
    let frame = made(&small, &plain);
    assert_eq!(recipe(Codec::Zstd, &frame, &plain).unwrap().as_bytes(), small);
}

#[test]
fn each_version_and_manner_is_found() {
    let contents = contents();
    for (version, name, ..) in VERSIONS {
        // Blocks around the margin, and literals alone, tell the versions apart.
        for content in [&contents[0][..400_000], &contents[1], &contents[2], &contents[4], &contents[5]] {
            for is_whole in [false, true] {
                let frame = made(&of_version(version, is_whole), content);
                let found = recipe(Codec::Zstd, &frame, content).unwrap();
                // The first version that makes the frame is taken.
                assert!(found.as_bytes()[1] <= version, "{name}");
                assert_eq!(found.as_bytes().len(), 3, "{name}");
                assert_eq!(zstd::decode_all(&frame[..]).unwrap(), content, "{name}");
            }
        }
    }
}

/// Versions that make most blocks alike are told apart by the first block that differs.
#[test]
fn versions_that_do_not_make_a_frame_are_soon_left() {
    let mut rng = Rng::new(25);
    let plain = fixtures::contents::source_code(&mut rng, 3_000_000);
    for (level, version, ..) in LEVELS {
        let frame = made(&[9, level, version, 0], &plain);
        let budget = Budget::new(u64::MAX, u64::MAX);
        let measured = measured_recipe_within(Codec::Zstd, &frame, &plain, &budget).unwrap();
        let spent = u64::MAX - budget.work();
        assert!(spent < 6 * measured.work, "{level} {version}: {spent} of {}", measured.work);
    }
}

#[test]
fn blocks_of_another_encoder_are_carried() {
    let content = &contents()[3][..340_000];
    let noise = Rng::new(9).bytes(723_928);
    let plain = [&content[..300_000], &noise, &content[300_000..]].concat();
    // A raw block that is not full behind two that are predicted, and a last one that could have been compressed.
    let raw = |plain: &[u8], is_last: bool| {
        let header = plain.len() << 3 | usize::from(is_last);
        [&header.to_le_bytes()[..3], plain].concat()
    };
    let number = |number: usize| vec![number.to_le_bytes()[0] | 0x80, u8::try_from(number >> 7).unwrap()];
    let mut carried = of_version(0, false);
    let start = 2 * 131_072;
    let rest = plain.len() - start - 3000;
    let last = rest % 131_072;
    assert!(last < 1 << 14, "{last}");
    for (before, plain, is_last) in
        [(2, &plain[start..start + 3000], false), (rest / 131_072, &plain[plain.len() - last..], true)]
    {
        let size = number(plain.len());
        carried.extend([&[u8::try_from(before).unwrap()], &size[..], &size, &raw(plain, is_last)].concat());
    }
    let frame = made(&carried, &plain);
    assert_eq!(zstd::decode_all(&frame[..]).unwrap(), plain);
    // Corrections say the same in fewer bytes.
    let found = recipe(Codec::Zstd, &frame, &plain).unwrap();
    assert!(found.as_bytes()[0] == 12 && found.as_bytes().len() < 100, "{}", found.as_bytes().len());
    assert_eq!(made(found.as_bytes(), &plain), frame);
    // Those that libzstd compressed are carried, too, and what they leave is known.
    let by_libzstd = zstd::bulk::compress(&plain[..100_000], 3).unwrap();
    assert!(recipe(Codec::Zstd, &by_libzstd, &plain[..100_000]).unwrap().as_bytes()[0] == 3);
}

#[test]
fn a_frame_of_other_plain_bytes_is_refused() {
    let content = &contents()[5];
    let recipe = |bytes: &[u8]| Recipe::parse(bytes);
    let fails = |bytes: &[u8], plain: &[u8]| {
        encode(&recipe(bytes).unwrap(), &mut { plain }, plain.len() as u64, &mut Vec::new()).is_err()
    };
    // A block that is the last one, and one that needs more than there is.
    let last = [8, 0, 0, 0, 2, 2, 17, 0, 0, b'a', b'b'];
    assert!(fails(&last, content) && !fails(&last, b"ab") && fails(&last, b"a"));
    // A block behind the end.
    assert!(fails(&[8, 0, 0, 9, 2, 2, 17, 0, 0, b'a', b'b'], content));
    for broken in
        [&[8, 4, 0][..], &[8, 0, 4], &[8, 0, 2, 1, 2, 3], &[8, 0, 0, 1], &[8, 0, 0, 0, 2, 3, 1, 0, 0, 1, 2]]
    {
        assert!(recipe(broken).is_err(), "{broken:?}");
    }
    // More than a block has.
    assert!(recipe(&[8, 0, 0, 0, 0x81, 0x80, 8, 0, 0, 0, 0]).is_err());
}
