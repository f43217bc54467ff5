//! The encoders of Go, klauspost/compress, klauspost/pgzip, zlib-rs, zlib-ng, libdeflate, igzip and pigz make the same
//! bytes here as there: digests of what real ones made.

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

/// Tells whether a number is that of klauspost/pgzip.
fn is_pgzip(number: u8) -> bool {
    matches!(number, 64..96 | 112..160 | 240..)
}

/// Sizes that klauspost/pgzip is tried with: more than a part of 1 MiB, less, and just one.
const PGZIP_SIZES: [usize; 5] = [usize::MAX, 0, 20, 100, 1 << 20];

/// Sizes that libdeflate is tried with: those up to which it stores at levels 9 and 1, those from which short matches
/// depend on the literals, and those from which level 1 makes a second block.
const LIBDEFLATE_SIZES: [usize; 11] = [usize::MAX, 0, 1, 19, 20, 51, 52, 511, 512, 70_534, 70_535];

/// Sizes that igzip is tried with: all, one byte, those with fewer hashes, and a MiB, which it reads at a time.
const IGZIP_SIZES: [usize; 7] = [usize::MAX, 1, 20, 300, 3000, 1 << 20, (1 << 20) + 100];

/// Sizes that pigz is tried with: all, parts of 128 KiB that are whole and that are not, and less.
const PIGZ_SIZES: [usize; 7] = [usize::MAX, 0, 1, 20, 131_072, 131_073, 400_000];

/// Number in recipes, and the digest of the streams of all sizes, one behind the other, by compress/flate of the
/// version of Go, or by the library that is named, and the level. zlib-rs was given all plain bytes and 1 KiB for its
/// output at a time, and told of the end when it had no more output; zlib-ng 2.2.5 and 2.3.3 make the same.
/// klauspost/compress 1.11 has codes of its own, which corrections tell: 133 and 149 are what they are corrections to.
const ENCODERS: [(u8, &str, &str); 89] = [
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
    (49, "klauspost/compress 1.15.12, level 1", "daf89dd803c7a78c"),
    (50, "klauspost/compress 1.15.12, level 2", "b6fb468c63368f26"),
    (51, "klauspost/compress 1.15.12, level 3", "7ea21bdb5aefd6f4"),
    (52, "klauspost/compress 1.15.12, level 4", "9a23ab3071a0424f"),
    (53, "klauspost/compress 1.15.12, level 5", "183e5da27f2e8845"),
    (54, "klauspost/compress 1.15.12, level 6", "f6f4274b672fabd3"),
    (55, "klauspost/compress 1.18.0, level 7", "717c8c2601d53286"),
    (56, "klauspost/compress 1.18.0, level 8", "e881fb2b1a8a7871"),
    (65, "klauspost/pgzip 1.2.6 on 1.19.1, level 1", "4e5d583b7e379581"),
    (66, "klauspost/pgzip 1.2.6 on 1.19.1, level 2", "29ef0da07b4d1ef5"),
    (67, "klauspost/pgzip 1.2.6 on 1.19.1, level 3", "f8dd61793bded292"),
    (68, "klauspost/pgzip 1.2.6 on 1.19.1, level 4", "ac8e2b266e7ae009"),
    (69, "klauspost/pgzip 1.2.6 on 1.19.1, level 5", "d1948fb9bcb71415"),
    (70, "klauspost/pgzip 1.2.6 on 1.19.1, level 6", "9a006beda2fcde4a"),
    (71, "klauspost/pgzip 1.2.6 on 1.19.1, level 7", "422f0b1bf69a3dcc"),
    (72, "klauspost/pgzip 1.2.6 on 1.19.1, level 8", "42b0eeb1516eb969"),
    (73, "klauspost/pgzip 1.2.6 on 1.19.1, level 9", "35489ef79ec03079"),
    (81, "klauspost/pgzip 1.2.6 on 1.15.12, level 1", "326f17734ab3c95e"),
    (82, "klauspost/pgzip 1.2.6 on 1.15.12, level 2", "8c4793b23133d3dd"),
    (83, "klauspost/pgzip 1.2.6 on 1.15.12, level 3", "1091f7c03302912c"),
    (84, "klauspost/pgzip 1.2.6 on 1.15.12, level 4", "959c2ca51e8dd4fe"),
    (85, "klauspost/pgzip 1.2.6 on 1.15.12, level 5", "0ca68a5972ee6fca"),
    (86, "klauspost/pgzip 1.2.6 on 1.15.12, level 6", "5d9a14453e187aeb"),
    (87, "klauspost/pgzip 1.2.6 on 1.18.0, level 7", "0adac8e6346c32e5"),
    (88, "klauspost/pgzip 1.2.6 on 1.18.0, level 8", "5acebc1fc7b8f256"),
    (97, "zlib-rs 0.6.8, level 1", "dbf528d69d59d1cb"),
    (98, "zlib-rs 0.6.8, level 2", "7ce2be4a0f5d7432"),
    (99, "zlib-rs 0.6.8, level 3", "cb05cfe58a6aea0a"),
    (100, "zlib-rs 0.6.8, level 4", "2ae9f9dc16fe2ebb"),
    (101, "zlib-rs 0.6.8, level 5", "9fb5ecb1b064df5d"),
    (102, "zlib-rs 0.6.8, level 6", "c399734021eb4b06"),
    (103, "zlib-rs 0.6.8, level 7", "27963984efe1a5af"),
    (104, "zlib-rs 0.6.8, level 8", "59839608fca11daf"),
    (105, "zlib-ng 2.3.3, level 9", "fe6297a6e7f31316"),
    (117, "klauspost/pgzip 1.2.6 on 1.15.9, level 5", "6f88f996e801e741"),
    (133, "klauspost/pgzip 1.2.6 on 1.11.3, level 5", "444491ba5ae16135"),
    (149, "klauspost/pgzip 1.2.6 on 1.11.3, level 5, with parts of 256 KiB", "13ab4a5a124ee06d"),
    (161, "libdeflate 1.25, level 1", "13949b0bd93d65d6"),
    (162, "libdeflate 1.25, level 2", "1f5e2bf5f4a7fba6"),
    (163, "libdeflate 1.25, level 3", "3e49005e5fde36b8"),
    (164, "libdeflate 1.25, level 4", "3f9b25c7f254a1fc"),
    (165, "libdeflate 1.25, level 5", "38bc31af68581e6a"),
    (166, "libdeflate 1.25, level 6", "6a1d7fcd809da84c"),
    (167, "libdeflate 1.25, level 7", "74b70d1c9191046f"),
    (168, "libdeflate 1.25, level 8", "6f9551b6c45ee948"),
    (169, "libdeflate 1.25, level 9", "afb5528bb11980cc"),
    (177, "libdeflate 1.14, level 1", "13949b0bd93d65d6"),
    (182, "libdeflate 1.14, level 6", "53c34c69ff7b8b7d"),
    (185, "libdeflate 1.14, level 9", "b2edbfc951680a33"),
    (192, "isa-l 2.30, igzip -0", "adb94cb476907598"),
    (193, "isa-l 2.30, igzip -1", "fa393accbe5567da"),
    (194, "isa-l 2.30, igzip -2", "471d0b1bd104ffb1"),
    (195, "isa-l 2.30, igzip -3 with AVX-512", "7dcf3a1cb85794e3"),
    (196, "isa-l 2.30, igzip -3 with AVX2", "11af6bd3998f402c"),
    (209, "pigz 2.6 on zlib 1.2.13, level 1", "0f8b2b913c41bfde"),
    (210, "pigz 2.6 on zlib 1.2.13, level 2", "f999554dd3008243"),
    (211, "pigz 2.6 on zlib 1.2.13, level 3", "0c9066887fb3a181"),
    (212, "pigz 2.6 on zlib 1.2.13, level 4", "0661dab29cbd5203"),
    (213, "pigz 2.6 on zlib 1.2.13, level 5", "2b091c30664a842f"),
    (214, "pigz 2.6 on zlib 1.2.13, level 6", "bf8334580e8fe764"),
    (215, "pigz 2.6 on zlib 1.2.13, level 7", "21ed20b5076b2d46"),
    (216, "pigz 2.6 on zlib 1.2.13, level 8", "08d8df6877cc6c52"),
    (217, "pigz 2.6 on zlib 1.2.13, level 9", "14ef002034ff3b1d"),
    (231, "klauspost/compress 1.15.12, level 7", "3d611568ae05d942"),
    (232, "klauspost/compress 1.15.12, level 8", "58b4ccab3ba57287"),
    (233, "klauspost/compress 1.15.12, level 9", "7290ba9903c81796"),
    (247, "klauspost/pgzip 1.2.5 on 1.15.12, level 7", "dd1897673e8836c5"),
    (248, "klauspost/pgzip 1.2.5 on 1.15.12, level 8", "bd9f3b9e68791473"),
    (249, "klauspost/pgzip 1.2.5 on 1.15.12, level 9", "8bef7cd817d6fc27"),
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
        size = if size == 0 { plain.len() + 200 } else { made.len() };
    }
}

fn sizes(number: u8) -> &'static [usize] {
    match number {
        _ if is_pgzip(number) => &PGZIP_SIZES,
        208..224 => &PIGZ_SIZES,
        192..208 => &IGZIP_SIZES,
        160..192 => &LIBDEFLATE_SIZES,
        _ => &SIZES,
    }
}

#[test]
fn streams_are_those_of_go() {
    let contents = contents();
    for (number, name, expected) in ENCODERS {
        let mut hash = Sha256::new();
        for size in sizes(number) {
            hash.update(stream(number, &contents[..contents.len().min(*size)]));
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
    // Of the versions of klauspost/compress that Go does not have, of pgzip, and of zlib-ng, some levels are enough.
    let is_tried = |number: u8| {
        number < 48
            || [
                50, 55, 65, 69, 84, 87, 97, 102, 117, 161, 166, 168, 192, 193, 195, 196, 105, 209, 214, 217,
                231, 233, 248,
            ]
            .contains(&number)
    };
    for (number, name, _) in ENCODERS.into_iter().filter(|(number, ..)| is_tried(*number)) {
        let stream = stream(number, &contents);
        let found = recipe(Codec::Deflate, &stream, &contents).unwrap();
        assert_eq!(found.as_bytes(), of_number(number, stream.len()), "{name}");
    }
}

#[test]
fn tiny_streams_of_earlier_libdeflate_have_recipes_of_a_few_bytes() {
    let text = contents();
    for (number, plain) in [(182, &text[..300]), (185, &text[..500])] {
        let stream = stream(number, plain);
        let found = recipe(Codec::Deflate, &stream, plain).unwrap();
        let size = of_number(number, stream.len()).len();
        assert!(found.as_bytes().len() <= size, "{number}: {:?}", found.as_bytes());
    }
}

/// The start of the stream is so few bytes that other levels need hardly any corrections of it.
#[test]
fn the_level_of_a_stream_that_begins_with_many_zeros_is_found() {
    let plain = [&vec![0; 4 << 20][..], &contents()].concat();
    for number in [161, 166] {
        let stream = stream(number, &plain);
        let found = recipe(Codec::Deflate, &stream, &plain).unwrap();
        assert_eq!(found.as_bytes(), of_number(number, stream.len()));
    }
}
